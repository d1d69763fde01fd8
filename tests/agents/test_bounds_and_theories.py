"""Values that are only bounds, and levels that are a theory's: from a step's result to what people take away."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from idds_agents.report.plot import draw_surface
from idds_agents.report.surface import GRID, need_surrogate, surface_of
from idds_agents.result import open_result
from idds_core.history import Observation
from tests.agents.cli_kit import Cli, Runs

# A limit on a cross section, known up to 1 pb, and a theory with its uncertainty.
SCAN = """
import math
from idds_core import Loop, Real, Space, chain, step
from idds_learners import LevelSet, MaxPoints

@step
def measure(m: float, w: float) -> dict:
    limit = (0.02 + 2.0 * math.exp(-m / 250)) * (1 + w)
    return {"limit": min(limit, 1.0), "limit_censored": "above" if limit > 1.0 else None}

THEORY = "8 * exp(-m / 180)"

def define(theory: str = THEORY):
    levels = {"nominal": theory, "up": f"1.3 * {theory}", "down": f"0.75 * {theory}"}
    return Loop("xs", space=Space(m=Real(200, 1200, unit="GeV"), w=Real(0, 1)), body=chain(measure),
                learner=LevelSet("limit", level={"limit": levels}, transform="log"), until=MaxPoints(26))
"""
TEXT = """
name: xs
space: {m: {real: [200, 1200]}}
steps: {measure: {run: "cat {m}", result: out.json}}
learner: {level-set: {targets: [limit], transform: log, level: {limit: {up: "exp(-mass / 100)", down: 0.1}}}}
until: MaxPoints(10)
"""


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a limit that was compared with a theory; only ever read."""
    made = Runs(tmp_path_factory.mktemp("xs"))
    file = made.folder / "scans" / "xs.py"
    file.parent.mkdir()
    file.write_text(SCAN, encoding="utf-8")
    done = made.call("run", file).wait()
    made.close()
    assert done.code == 2, done.err
    return made.folder / "xs-run"


def mass(w: float, factor: float) -> float:
    """Where the limit is at the theory times a factor."""
    m = np.linspace(200, 1200, 20001)
    off = (0.02 + 2.0 * np.exp(-m / 250)) * (1 + w) - factor * 8 * np.exp(-m / 180)
    return float(m[np.argmin(np.abs(off))])


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_the_contour_of_each_theory_is_where_the_limit_is_at_it(cli: Cli, scanned: Path) -> None:
    found = rows(cli("export", "xs", "--workdir", scanned, "--format", "csv").out)
    for name, factor in (("nominal", 1.0), ("up", 1.3), ("down", 0.75)):
        line = [r for r in found if r["target"] == f"limit.{name}" and r["curve"] == "central"]
        assert len(line) > 10
        assert max(abs(float(r["m"]) - mass(float(r["w"]), factor)) for r in line) < 30


def test_what_is_exported_says_the_levels_and_which_values_are_bounds(cli: Cli, scanned: Path, tmp_path: Path) -> None:
    document = json.loads(cli("export", "xs", "--workdir", scanned, "--format", "json").out)
    assert document["level"]["limit.up"] == "1.3 * 8 * exp(-m / 180)"
    points = rows(cli("export", "xs", "--workdir", scanned, "--what", "points").out)
    cut = [p for p in points if p["limit_censored"]]
    assert cut
    assert {(float(p["limit"]), p["limit_censored"]) for p in cut} == {(1.0, "above")}
    assert cli("export", "xs", "--workdir", scanned, "--format", "hepdata", "-o", tmp_path / "hep").code == 0
    tables = list(yaml.safe_load_all((tmp_path / "hep" / "submission.yaml").read_text(encoding="utf-8")))
    assert "Contour limit.down" in {t.get("name") for t in tables}
    measured = yaml.safe_load((tmp_path / "hep" / "measured_points.yaml").read_text(encoding="utf-8"))
    told = {v["header"]["name"]: [e["value"] for e in v["values"]] for v in measured["dependent_variables"]}
    assert told["limit censored"].count("above") == len(cut)


def test_a_bound_is_shown_as_one(cli: Cli, scanned: Path) -> None:
    points = rows(cli("export", "xs", "--workdir", scanned, "--what", "points").out)
    number = next(p["number"] for p in points if p["limit_censored"])
    shown = cli("show", f"xs/p/{number}", "--workdir", scanned)
    assert "limit > 1" in shown.out
    assert cli("show", f"xs/p/{number}", "--workdir", scanned, "--json").json["observation"]["censored"] == {
        "limit": "above"
    }
    assert cli("report", "--workdir", scanned, "-o", "report.html").code == 0
    assert "limit &gt; 1" in Path("report.html").read_text(encoding="utf-8")
    assert cli("verify", "--workdir", scanned).code == 0
    assert cli("why", f"xs/p/{number}", "--workdir", scanned).code == 0


def test_contours_are_predicted_and_read_by_their_names(cli: Cli, scanned: Path) -> None:
    Path("points.csv").write_text("m,w\n500,0.5\n", encoding="utf-8")
    found = rows(cli("predict", "xs", "--points", "points.csv", "--workdir", scanned).out)[0]
    assert float(found["limit.up_p_excluded"]) > float(found["limit.down_p_excluded"])
    result = open_result(scanned)
    assert result.contour("limit.up").excluded_share > result.contour("limit.down").excluded_share
    assert "1.3 * 8" in repr(result.contour("limit.up"))


def test_the_picture_is_shaded_between_up_and_down(scanned: Path, cli: Cli) -> None:
    view = open_result(scanned).view
    surface = surface_of(view.plan.loop.space, need_surrogate(view), GRID)
    assert surface.bands == {"limit": ("limit.up", "limit.down")}
    inside = surface.between("limit") > 0
    x = surface.grid.axes[0]
    edges = [float(x[inside[0]].min()), float(x[inside[0]].max())]
    assert edges == pytest.approx(sorted([mass(0, 0.75), mass(0, 1.3)]), abs=30)
    legend = draw_surface(view, surface).legends[0]
    words = [t.get_text() for t in legend.get_texts()]
    assert "limit: up to down" in words
    for kind in ("contour", "profile", "pairs", "parallel", "convergence", "slices"):
        done = cli("plot", "--workdir", scanned, "--kind", kind, "-o", f"{kind}.png")
        assert done.code == 0, done.err
    assert cli("plot", "--workdir", scanned, "--target", "limit.up", "-o", "up.png").code == 0
    refused = cli("plot", "--workdir", scanned, "--target", "limit", "-o", "no.png")
    assert "limit.nominal, limit.up, limit.down" in refused.err


@pytest.mark.parametrize(
    ("theory", "text"),
    [
        ("8 * exp(-mass / 180)", "unknown name 'mass', known are m, w"),
        ("1 - m / 300", "level '1 - m / 300' of limit.nominal has no log: it is -3 at m = 1200"),
    ],
)
def test_a_theory_that_cannot_be_used_is_refused_in_a_line(cli: Cli, tmp_path: Path, theory: str, text: str) -> None:
    (tmp_path / "xs.py").write_text(SCAN, encoding="utf-8")
    refused = cli("validate", "xs.py", "--set", f"theory={theory}")
    assert refused.code == 4
    assert text in refused.err


def test_yaml_has_the_same_levels(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "xs.yaml").write_text(TEXT, encoding="utf-8")
    refused = cli("validate", "xs.yaml")
    assert "of limit.up cannot be used: unknown name 'mass'" in refused.err
    (tmp_path / "xs.yaml").write_text(TEXT.replace("mass", "m"), encoding="utf-8")
    assert cli("validate", "xs.yaml").code == 0, cli("validate", "xs.yaml").err


CURVE = """
import math
from idds_core import Loop, Real, Space, chain, step
from idds_learners import LevelSet, MaxPoints

@step
def measure(m: float) -> dict:
    return {"limit": 0.02 + 2.0 * math.exp(-m / 250)}

def define():
    levels = {"up": "10 * exp(-m / 180)", "fixed": 0.3}
    return Loop("one", space=Space(m=Real(200, 1200)), body=chain(measure), first=5, batch=3,
                learner=LevelSet("limit", level={"limit": levels}, transform="log"), until=MaxPoints(11))
"""


def test_in_one_dimension_the_theory_is_drawn_as_a_curve(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text(CURVE, encoding="utf-8")
    assert cli("run", "one.py", "--quiet").code == 2
    view = open_result(tmp_path / "one-run").view
    figure = draw_surface(view, surface_of(view.plan.loop.space, need_surrogate(view), 61))
    curve = next(line for line in figure.axes[0].lines if line.get_label() == "level of limit.up")
    x, y = (np.asarray(v, dtype=float) for v in curve.get_data())
    assert y == pytest.approx(10 * np.exp(-x / 180))
    assert cli("report", "-o", "one.html", "--workdir", "one-run").code == 0
    assert cli("plot", "-o", "one.png", "--workdir", "one-run").code == 0


class _Box:
    """A seal that writes down what it is given."""

    def __init__(self) -> None:
        self.given: Any = None

    def text(self, value: Any) -> str:
        self.given = value
        return "sealed"


def test_on_which_side_a_blind_value_lies_is_sealed_too() -> None:
    from idds_agents.outcomes import sealed

    box: Any = _Box()
    seen = Observation({"obs": 1.0, "exp": 2.0}, censored={"obs": "above", "exp": "below"})
    shown, _ = sealed(seen, {}, ["obs"], box)
    assert json.loads(shown)["censored"] == {"exp": "below"}
    assert "above" not in shown


BENCH = """
from idds_core import Loop, Real, Space, chain
from idds_learners import LevelSet, MaxPoints
loop = Loop("bench", space=Space(x=Real(0, 1)), body=chain(), learner=LevelSet("mu", level=1.0, transform="log"),
            until=MaxPoints(6), first=4, batch=2)
"""


def test_bounds_come_in_by_hand_and_from_tables(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "bench.py").write_text(BENCH, encoding="utf-8")
    assert cli("ask", "bench.py").code == 0
    assert cli("tell", "bench", 1, "mu=100", "mu_censored=above").code == 0
    assert cli("show", "bench/p/1", "--json").json["observation"]["censored"] == {"mu": "above"}
    wrong = cli("tell", "bench", 2, "mu=100", "mu_censored=beyond")
    assert "E-POINT-004" in wrong.err
    assert "mu_censored is 'beyond', neither above nor below" in wrong.err
    (tmp_path / "more.csv").write_text("x,mu,mu_censored\n0.111,100,above\n0.222,0.3,\n", encoding="utf-8")
    assert cli("import", "bench", "more.csv").code == 0
    points = {p["x"]: p for p in rows(cli("export", "bench", "--what", "points").out)}
    assert (points["0.111"]["mu_censored"], points["0.222"]["mu_censored"]) == ("above", "")


@pytest.mark.parametrize(("given", "censored"), [({}, {}), ({"censored": {"mu": "below"}}, {"mu": "below"})])
def test_observations_of_older_stores_are_read_as_before(given: dict[str, Any], censored: dict[str, str]) -> None:
    data = {"values": {"mu": 1.0}, "sigmas": {}, "extras": {}, **given}
    seen = Observation.from_json(data)
    assert dict(seen.censored) == censored
    assert seen.to_json() == data
