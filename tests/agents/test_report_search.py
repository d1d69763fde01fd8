"""A loop that looks for an optimum: what show, plot, report and a result say of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from idds_agents.report.best import bests, front_of, progress, sought, volumes
from idds_agents.report.page import make_report
from idds_agents.result import open_result
from tests.agents.cli_kit import Cli
from tests.agents.report_kit import opened

SCAN = """
from idds_core import Categorical, Integer, Loop, Real, Space, chain, step
from idds_learners import MaxPoints, Optimum, Random

@step
def train(kind: str, x: float, depth: int) -> dict:
    loss = (x - 0.3) ** 2 + 0.1 * (depth - 2) ** 2 + (0.5 if kind == "b" else 0.0)
    return {"loss": loss, "cost": depth + x, "gain": 1.0 - loss}

def define(learner: str = "one"):
    made = {"one": Optimum("loss"), "most": Optimum("gain", "max"), "two": Optimum(("loss", "cost")), "none": Random()}
    space = Space(kind=Categorical(["a", "b"]), x=Real(0, 1), depth=Integer(1, 5, when="kind == 'a'", default=1))
    return Loop("search", space, chain(train), made[learner], MaxPoints(14), first=8, batch=6,
                targets=("loss", "cost", "gain"))
"""


@pytest.fixture(scope="session")
def searches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work folders of searches with one objective, a largest one, two, and a random sweep."""
    from idds_agents.cli import main

    folder = tmp_path_factory.mktemp("searches")
    (folder / "scan.py").write_text(SCAN)
    for name in ("one", "most", "two", "none"):
        arguments = ["run", folder / "scan.py", "--set", f"learner={name}", "--workdir", folder / name, "--quiet"]
        assert main([str(a) for a in arguments]) == 2
    return folder


@pytest.mark.parametrize(("name", "wanted"), [("one", {"loss": "min"}), ("most", {"gain": "max"}),
                                              ("two", {"loss": "min", "cost": "min"})])  # fmt: skip
def test_the_best_point_of_each_objective_is_shown(searches: Path, cli: Cli, name: str, wanted: dict[str, str]) -> None:
    store, view = opened(searches / name)
    store.close()
    assert sought(view) == wanted
    for best in bests(view):
        values = view.history.values(best.target)
        assert best.value == (values.min() if best.direction == "min" else values.max())
        assert progress(view, best.target, best.direction)[1][-1] == best.value
    document = cli("show", "--workdir", searches / name, "--json").json
    assert [b["target"] for b in document["best"]] == list(wanted)
    assert document.get("front", []) == [p.number for p in front_of(view)]
    grown = [v for _, v in volumes(view)]
    assert document.get("hypervolume") == (grown[-1] if len(wanted) > 1 else None)
    text = cli("show", "--workdir", searches / name).out
    assert all(f"{'smallest' if way == 'min' else 'largest'} {target} " in text for target, way in wanted.items())


def test_a_search_tells_which_parameters_matter(searches: Path, cli: Cli, tmp_path: Path) -> None:
    cli("plot", "--workdir", searches / "two", "--kind", "importance", "-o", tmp_path / "a.png", "--data",
        tmp_path / "a.json")  # fmt: skip
    tables = json.loads((tmp_path / "a.json").read_text(encoding="utf-8"))["tables"]
    assert set(tables["importance"]["target"]) == {"loss", "cost"}
    assert all(0 <= main <= total + 0.05 for main, total in zip(
        tables["importance"]["main"], tables["importance"]["total"], strict=True))  # fmt: skip
    store, view = opened(searches / "two")
    text = make_report(view, store).text
    store.close()
    assert "Which parameters matter" in text
    assert "share of the variance" in text


def test_a_sweep_without_a_map_shows_the_smallest_values(searches: Path) -> None:
    store, view = opened(searches / "none")
    store.close()
    assert sought(view) == {"loss": "min", "cost": "min", "gain": "min"}


@pytest.mark.parametrize("name", ["one", "most", "two", "none"])
def test_the_page_has_the_best_points_and_how_they_were_found(searches: Path, name: str) -> None:
    store, view = opened(searches / name)
    text = make_report(view, store).text
    store.close()
    assert "no map" not in text
    assert '<h2 id="h-map">Best</h2>' in text
    assert "so far</figcaption>" in text.replace(" </figcaption>", "</figcaption>")
    assert ("the front" in text) == (name in ("two", "none"))
    if name != "none":
        assert "Contour" not in text


def test_the_plot_is_that_of_the_search(searches: Path, cli: Cli) -> None:
    for name, ending in (("one", "svg"), ("two", "svg"), ("none", "png")):
        done = cli("plot", "--workdir", searches / name, "-o", f"{name}.{ending}")
        assert done.code == 0, done.err
    assert "best so far" in Path("one.svg").read_text()
    assert "on the front" in Path("two.svg").read_text()
    done = cli("plot", "--workdir", searches / "one", "--target", "cost")
    assert (done.code, done.err[:12]) == (4, "E-PLOT-003 c")


def test_a_result_knows_its_best_point_and_its_front(searches: Path) -> None:
    one, most, two = (open_result(searches / name) for name in ("one", "most", "two"))
    for result, target, best in ((one, "loss", min), (most, "gain", max), (two, "loss", min)):
        assert result.best is not None
        assert result.best.observation is not None
        assert result.best.observation.values[target] == best(result.history.values(target))
    assert one.front == ()
    assert len(two.front) >= 2
    cheapest = two.best_of("cost")
    assert cheapest is not None
    lowest = [p.observation.values["cost"] for p in two.front if p.observation]
    assert min(lowest) == two.history.values("cost").min()


def test_tables_are_exported_and_a_contour_is_not_there(searches: Path, cli: Cli) -> None:
    assert cli("export", "--workdir", searches / "one", "--what", "points", "--format", "csv").code == 0
    done = cli("export", "--workdir", searches / "one", "--format", "csv")
    assert done.err.startswith("E-REPORT-002")
    assert "--what points" in done.err
    assert json.loads(cli("show", "--workdir", searches / "one", "--json").out)["state"] == "EXHAUSTED"


def test_the_plot_of_a_search_has_its_numbers_too(cli: Cli, searches: Path, tmp_path: Path) -> None:
    work = searches / "two"
    for name in ("x.png", "x.csv", "x.json"):
        assert cli("plot", "search", "--workdir", work, "-o", tmp_path / name).code == 0
    head, first = (tmp_path / "x.csv").read_text().splitlines()[:2]
    assert head == "evaluation,number,loss,loss.best,cost,cost.best"
    assert first.startswith("1,1,")
    tables = json.loads((tmp_path / "x.json").read_text())["tables"]
    assert tables["search"]["loss.best"][-1] == min(tables["search"]["loss"])
    assert len(tables["points"]["number"]) == 14
