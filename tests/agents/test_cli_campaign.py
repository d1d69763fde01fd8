"""The verbs with which a campaign goes on, as a user gives them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from tests.agents.cli_kit import Cli, Runs, until
from tests.agents.test_by_hand import BENCH

SCAN = """
from pathlib import Path
from idds_core import Loop, Real, Space, chain, step
from idds_learners import MaxPoints, Sobol

@step
def make(x, y):
    return {{"n": x + y}}

@step
def measure(n, x):
    if x > {limit}:
        raise ValueError("no luck")
    return {{"z": {factor} * n}}

scan = Loop("toy", space=Space(x=Real(0, 1), y=Real(0, {high})), body=chain(make, measure), first=4, batch=4,
            learner=Sobol("z", transform="none"), until=MaxPoints({points}), hold_after=99)
"""


class Scan:
    """A scan file that is written anew."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "source" / "scan.py"
        self.file.parent.mkdir()
        self.values = {"limit": 2, "factor": 1, "high": 1, "points": 8}
        self.write()

    def write(self, **values: float) -> Path:
        self.values.update(values)  # type: ignore[arg-type]
        self.file.write_text(SCAN.format(**self.values), encoding="utf-8")
        return self.file


@pytest.fixture
def scan(tmp_path: Path) -> Scan:
    return Scan(tmp_path)


def attempts(path: str, workdir: str = "toy-run") -> dict[str, int]:
    """Attempts below a path, by step."""
    with closing(sqlite3.connect(Path(workdir) / "idds.db")) as raw:
        query = "SELECT j.step, count(*) FROM attempt a JOIN job j ON j.id = a.job_id WHERE a.path LIKE ? GROUP BY 1"
        return dict(raw.execute(query, (f"{path}/%",)).fetchall())


def test_extend_by_hand_and_the_same_command_goes_on(cli: Cli, scan: Scan) -> None:
    cli("run", scan.file, "--quiet")
    made = cli("extend", "toy", "--until", "MaxPoints(12)", "--json")
    assert made.code == 0
    assert made.json["path"] == "toy~2"
    assert made.json["continues"] == "toy"
    assert made.json["changes"] == ["body.toy.until: MaxPoints(n=8) -> MaxPoints(n=12)"]
    assert cli("extend", "toy", "--until", "MaxPoints(12)", "--json").json["path"] == "toy~2"
    ended = cli("run", scan.file, "--json")
    assert (ended.code, ended.json["path"], sum(ended.json["points"].values())) == (2, "toy~2/toy", 12)
    assert attempts("toy~2") == {"make": 4, "measure": 4}
    assert cli("show", "--json").json["path"] == "toy~2/toy"
    assert cli("show", "toy/toy", "--json").json["points"] == {"MEASURED": 8}
    assert (
        cli("show", "toy~2/toy/p/3", "--json").json["parameters"] == cli("show", "toy/p/3", "--json").json["parameters"]
    )
    assert len(cli("ls", "--json").json) == 2
    assert cli("verify", "--deep").code == 0


def test_a_changed_file_is_refused_with_the_difference_and_the_ways_out(cli: Cli, scan: Scan) -> None:
    cli("run", scan.file, "--quiet")
    refused = cli("run", scan.write(points=12), "--quiet")
    assert (refused.code, len(refused.lines)) == (4, 1)
    for words in (
        "MaxPoints(n=8) -> MaxPoints(n=12)",
        "no step gives anything else",
        "extend FILE",
        "amend FILE",
        "--fresh",
    ):
        assert words in refused.err
    assert cli("extend", scan.file).code == 0
    assert cli("run", scan.file, "--json").json["points"] == {"MEASURED": 12}


def test_a_file_that_nothing_depends_on_does_not_stop_a_run(cli: Cli, scan: Scan) -> None:
    cli("run", scan.file, "--quiet")
    (scan.file.parent / "notes.txt").write_text("remember", encoding="utf-8")
    again = cli("run", scan.file, "--json")
    assert (again.code, again.json["path"]) == (2, "toy/toy")


def test_extend_refuses_another_analysis_and_amend_runs_only_that(cli: Cli, scan: Scan) -> None:
    first = cli("run", scan.file, "--json").json
    refused = cli("extend", scan.write(factor=2))
    assert refused.code == 4
    assert refused.err.startswith("E-REVISE-003")
    assert "step measure gives something else" in refused.err
    dry = cli("amend", scan.file, "--dry-run", "--json").json
    assert (dry["path"], dry["jobs"], dry["reused"]) == (None, {"measure": 8}, {"make": 8})
    assert len(cli("ls", "--json").json) == 1
    assert "run again: 8 measure; taken over: 8 make" in cli("amend", scan.file).out
    assert cli("amend", scan.file).code == 0  # the same again: it is there
    ended = cli("run", scan.file, "--json").json
    assert ended["path"] == "toy~2/toy"
    assert ended["points"] == first["points"]
    assert attempts("toy~2") == {"measure": 8}
    assert cli("verify", "--deep").code == 0


def test_wider_bounds_are_amended_and_narrower_ones_refused(cli: Cli, scan: Scan) -> None:
    cli("run", scan.file, "--quiet")
    refused = cli("amend", scan.write(high=0.2))
    assert (refused.code, refused.err[:12]) == (4, "E-REVISE-006")
    assert cli("amend", scan.write(high=3, points=12), "--json").json["kept"] == 8
    assert cli("run", scan.file, "--json").json["points"] == {"MEASURED": 12}
    assert attempts("toy~2") == {"make": 4, "measure": 4}


def test_points_are_added_imported_and_tried_again(cli: Cli, scan: Scan, tmp_path: Path) -> None:
    cli("run", scan.write(limit=0.5), "--quiet")
    failed = cli("show", "--json").json["points"]["FAILED"]
    assert failed > 0
    added = cli("add", "toy", "x=0.25", "y=0.5", "--json").json
    assert added["workflow"] == "toy~2"
    assert "nothing to do" in cli("add", "x=0.25", "y=0.5").out
    table = tmp_path / "points.csv"
    table.write_text("x, y, z, z_sigma\n0.1, 0.2, 0.3, 0.01\n0.2, 0.2, 0.4,\n", encoding="utf-8")
    assert "import: 2 points are measured" in cli("import", table).out
    assert "nothing to do" in cli("import", "toy", table).out
    assert cli("retry", "toy", "--failed", "--json").json["answer"].startswith(f"retry: {failed} points")
    assert "nothing to do" in cli("retry", "toy", "--failed").out
    ended = cli("run", "toy", "--json").json
    assert sum(ended["points"].values()) == 8 + 1 + 2 + failed
    assert ended["points"]["FAILED"] == 2 * failed
    assert cli("show", "toy~2/toy/it/0/p/9", "--json").json["observation"]["sigmas"] == {"z": 0.01}
    assert len(cli("ls", "toy~2/toy/it/0", "--json").json) == 2
    assert cli("show", "toy~2/toy/it/0").code == 0
    assert cli("verify").code == 0


def test_an_added_point_reaches_an_engine_at_work(cli: Cli, runs: Runs, tmp_path: Path) -> None:
    bench = tmp_path / "bench" / "bench.py"
    bench.parent.mkdir()
    bench.write_text(BENCH, encoding="utf-8")
    process = runs.call("run", bench, "--quiet")
    until(lambda: cli("ls", "bench", "--json").code == 0, "the workflow")
    first = cli("ask", "bench", "--json").json["points"]
    assert cli("add", "x=0.25", "y=0.5", "--json").json["by"] == "engine"
    for point in first:
        cli("tell", point["number"], "cls=0.2")
    second = cli("ask", "bench", "--json").json["points"]
    assert second[0]["parameters"] == {"x": 0.25, "y": 0.5}
    for point in second:
        cli("tell", point["number"], "cls=0.2")
    assert process.wait().code == 2


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("extend", "toy"), "E-USAGE-007"),
        (("extend", "toy", "--until", "MaxPonts(3)"), "E-UNTIL-001"),
        (("extend", "toy", "--until", "__import__('os')"), "E-UNTIL-001"),
        (("extend", "toy", "--until", "BoundaryConverged(0.1)"), "E-DEF-010"),
        (("extend", "toy", "--until", "MaxPoints(8)"), "E-REVISE-002"),
        (("amend", "toy"), "E-USAGE-007"),
        (("add", "toy"), "E-USAGE-007"),
        (("add", "toy", "x=0.1"), "E-POINT-007"),
        (("add", "toy", "x=0.1", "y=0.1", "q=3"), "E-POINT-007"),
        (("add", "toy", "x=0.1", "y=7"), "E-POINT-003"),
        (("import", "toy", "no.csv"), "E-POINT-008"),
        (("retry", "toy"), "E-USAGE-007"),
        (("run", "nobody"), "E-PATH-003"),
    ],
)
def test_bad_input_is_one_line_and_writes_nothing(cli: Cli, scan: Scan, arguments: tuple[str, ...], code: str) -> None:
    cli("run", scan.write(points=4), "--quiet") if "MaxPoints(8)" not in arguments else cli("run", scan.file, "--quiet")
    done = cli(*arguments)
    assert (done.code, len(done.lines)) == (4, 1), done.err
    assert done.err.startswith(code)
    assert len(cli("ls", "--json").json) == 1


@pytest.mark.parametrize("verb", ["extend", "amend", "add", "import", "retry", "top-up", "ask", "tell"])
def test_help_has_an_example(cli: Cli, verb: str) -> None:
    done = cli(verb, "--help")
    assert done.code == 0
    assert f"Example: idds-core {verb}" in " ".join(done.out.split())
    assert "--json" in done.out
