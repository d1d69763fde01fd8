import csv
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onelbb_model
import pytest

Cls = Callable[..., tuple[float, float]]
Table = list[dict[str, float]]

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "onelbb"


@pytest.fixture(scope="module")
def data() -> Path:
    folder = Path(os.environ.get("IDDS_DATA") or ROOT.parent / "shared" / "data" / "1lbb").resolve()
    if not (folder / "signal_and_cls.csv").is_file():
        say = pytest.fail if os.environ.get("CI") else pytest.skip
        say(f"no 1Lbb tables in {folder}: put background.csv and signal_and_cls.csv there, or set IDDS_DATA")
    return folder


@pytest.fixture(scope="module")
def published(data: Path) -> Table:
    with (data / "signal_and_cls.csv").open(newline="") as file:
        return [{name: float(value) for name, value in row.items()} for row in csv.DictReader(file)]


def test_the_space_holds_all_published_points_and_asks_for_a_higgs_boson_on_shell(
    published: Table,
) -> None:
    code = (
        "import json, sys; from scan import SPACE; points = json.loads(sys.argv[1])\n"
        "print(*map(SPACE.point_problem, points), sep='|')"
    )
    points = [{"m_c1n2": row["m_c1n2"], "m_n1": row["m_n1"]} for row in published]
    off_shell = {"m_c1n2": 400.0, "m_n1": 280.0}
    done = subprocess.run(
        [sys.executable, "-c", code, repr([*points, off_shell]).replace("'", '"')],
        cwd=EXAMPLE, capture_output=True, text=True, check=True,
    )  # fmt: skip
    problems = done.stdout.strip().split("|")
    assert len(points) == 125
    assert problems[:-1] == [""] * 125
    assert "m_c1n2 > m_n1 + 125" in problems[-1]


def test_published_yields_come_back_at_the_published_points(data: Path) -> None:
    signal = onelbb_model.signal(data)
    np.testing.assert_allclose(signal.at(signal.masses), signal.yields, atol=1e-9)


def test_yields_between_points_are_between_in_acceptance_and_outside_the_hull_are_those_of_its_rim(data: Path) -> None:
    signal = onelbb_model.signal(data)
    rng = np.random.default_rng(0)
    masses = np.stack([rng.uniform(*onelbb_model.M_C1N2, 4000), rng.uniform(*onelbb_model.M_N1, 4000)], axis=1)
    yields = signal.at(masses)  # a fifth of them below the diagonal, outside the hull
    acceptance = yields / onelbb_model.cross_section(masses[:, :1])
    highest = (signal.yields / onelbb_model.cross_section(signal.masses[:, :1])).max(axis=0)
    assert np.isfinite(yields).all()
    assert (acceptance >= 0).all()
    assert (acceptance <= highest + 1e-12).all()
    across = signal.at(np.array([[450.0, 315.4], [450.0, 315.6]]))  # the hull's rim is near (450, 315.5)
    np.testing.assert_allclose(across[0], across[1], atol=0.02)


def test_the_cross_section_is_the_tabulated_one_and_falls() -> None:
    masses = np.array([*onelbb_model.CROSS_SECTION], float)
    np.testing.assert_allclose(onelbb_model.cross_section(masses), [*onelbb_model.CROSS_SECTION.values()])
    assert (np.diff(onelbb_model.cross_section(np.linspace(*onelbb_model.M_C1N2, 200))) < 0).all()


def test_decisions_at_the_published_points_are_those_of_the_full_likelihood(
    data: Path, published: Table, closed_form_cls: Cls
) -> None:
    """124 of 125 observed and 120 of 125 expected: what nine counts can tell of the full likelihood."""
    counts, signal = onelbb_model.counts(data), onelbb_model.signal(data)

    def own(yields: list[float]) -> tuple[float, float]:
        quick = closed_form_cls(yields, counts.expected, counts.uncertainty, counts.observed)
        close = any(0.02 < cls < 0.1 for cls in quick)  # elsewhere pyhf cannot decide otherwise, and is slow
        return onelbb_model.cls(counts, yields) if close else quick

    found = np.array([own(yields) for yields in signal.at(signal.masses).tolist()]) < 0.05
    full = np.array([[row["CLs_obs_full"], row["CLs_exp_med"]] for row in published]) < 0.05
    assert (found == full).sum(axis=0).tolist() == [124, 120]


@pytest.mark.parametrize("masses", [(260.0, 110.0), (520.0, 270.0), (680.0, 120.0), (790.0, 230.0), (990.0, 390.0)])
def test_cls_agrees_with_the_closed_form(masses: tuple[float, float], data: Path, closed_form_cls: Cls) -> None:
    counts = onelbb_model.counts(data)
    yields = onelbb_model.signal(data).at(np.array([masses]))[0].tolist()
    truth = closed_form_cls(yields, counts.expected, counts.uncertainty, counts.observed)
    assert onelbb_model.cls(counts, yields) == pytest.approx(truth, rel=0.01, abs=1e-6)


def test_cls_goes_to_one_smoothly_as_the_signal_vanishes(data: Path) -> None:
    counts = onelbb_model.counts(data)
    assert onelbb_model.cls(counts, [0.0] * 9) == (1, 1)
    shape = onelbb_model.signal(data).yields[0]
    found = np.array(
        [onelbb_model.cls(counts, (shape * size).tolist()) for size in (1e-6, 1e-3, 0.01, 0.03, 0.1, 0.3, 1)]
    )
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=0) < 0).all()


def test_a_missing_table_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"background\.csv is missing.*--set data="):
        onelbb_model.counts(tmp_path)


def test_the_dense_truth_has_as_many_rows_as_asked_and_is_the_same_every_time(data: Path, tmp_path: Path) -> None:
    def truth(points: int, jobs: int) -> list[dict[str, str]]:
        out = tmp_path / f"{points}-{jobs}.csv"
        argv = ["--data", str(data), "--points", str(points), "--out", str(out), "--jobs", str(jobs)]
        subprocess.run([sys.executable, str(EXAMPLE / "truth.py"), *argv], check=True)
        with out.open(newline="") as file:
            return list(csv.DictReader(file))

    rows = truth(5, 2)
    assert list(rows[0]) == ["m_c1n2", "m_n1", "obs", "exp"]
    assert len(rows) == 5
    assert all(float(row["m_c1n2"]) > float(row["m_n1"]) + 125 for row in rows)
    assert all(0 <= float(row[target]) <= 1 for row in rows for target in ("obs", "exp"))
    assert truth(2, 1) == rows[:2]
