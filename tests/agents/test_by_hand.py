"""People who measure by hand: ask and tell, with an engine at work and without."""

from __future__ import annotations

from pathlib import Path

import pytest

from idds_core import Loop, Real, Space, chain
from idds_core.errors import IddsError
from idds_core.states import LoopState
from idds_learners import MaxPoints, Sobol
from tests.agents.cli_kit import Cli, Runs, until

BENCH = """
from idds_core import Loop, Real, Space, chain
from idds_learners import MaxPoints, Sobol
bench = Loop("bench", space=Space(x=Real(0, 1), y=Real(0, 1)), body=chain(), learner=Sobol("cls"), until=MaxPoints(4),
             first=3, batch=2)
"""


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    file = tmp_path / "bench" / "bench.py"
    file.parent.mkdir()
    file.write_text(BENCH, encoding="utf-8")
    return file


def test_a_whole_loop_is_measured_by_hand_without_any_engine(cli: Cli, bench: Path) -> None:
    asked = cli("ask", bench, "--json").json
    assert [p["number"] for p in asked["points"]] == [1, 2, 3]
    assert asked["points"][0]["path"] == "bench/bench/it/1/p/1"
    assert [p["number"] for p in cli("ask", "-n", "2", "--json").json["points"]] == [1, 2]
    assert cli("tell", "bench", 1, "cls=0.2", "cls_sigma=0.01").code == 0
    assert "nothing to do" in cli("tell", "bench", 1, "cls=0.2", "cls_sigma=0.01").out
    assert cli("tell", 2, "--infeasible", "too heavy").code == 0
    assert cli("tell", "bench/bench/it/1/p/3", "cls=0.4").code == 0
    assert [p["number"] for p in cli("ask", "bench", "--json").json["points"]] == [4]
    assert cli("tell", "bench", 4, "cls=0.5").code == 0
    ended = cli("ask", "bench", "--json")
    assert (ended.code, ended.json["state"], ended.json["points"]) == (2, "EXHAUSTED", [])
    shown = cli("show", "bench", "--json").json
    assert shown["points"] == {"INFEASIBLE": 1, "MEASURED": 3}
    assert cli("show", "bench/p/1", "--json").json["observation"]["sigmas"] == {"cls": 0.01}
    assert cli("verify").code == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("bench", 9, "cls=1"), "E-TELL-001"),
        (("bench", 1, "cl=1"), "E-POINT-004"),
        (("bench", 1, "cls=nan"), "E-POINT-007"),
        (("bench", 1, "cls=one"), "E-POINT-007"),
        (("bench", 1, "cls"), "E-POINT-007"),
        (("bench", "cls=1"), "E-USAGE-007"),
        (("bench", 1), "E-USAGE-007"),
        (("bench", 1, "cls=1", "--infeasible", "no"), "E-USAGE-007"),
    ],
)
def test_what_cannot_be_told_is_said_in_one_line(cli: Cli, bench: Path, words: tuple[object, ...], code: str) -> None:
    cli("ask", bench)
    done = cli("tell", *words)
    assert (done.code, len(done.lines)) == (4, 1)
    assert done.err.startswith(code)
    assert len(cli("ask", "bench", "--json").json["points"]) == 3


def test_what_is_told_never_changes(cli: Cli, bench: Path) -> None:
    cli("ask", bench)
    cli("tell", 1, "cls=0.2")
    assert cli("tell", 1, "cls=0.3").err.startswith("E-TELL-002")
    assert cli("tell", 1, "--infeasible", "no").err.startswith("E-TELL-002")


def test_a_loop_with_steps_is_not_asked(cli: Cli, finished: Path) -> None:
    done = cli("ask", "plane", "--workdir", finished)
    assert (done.code, done.err[:10]) == (4, "E-TELL-003")


def test_people_measure_while_an_engine_is_at_work(cli: Cli, runs: Runs, bench: Path) -> None:
    process = runs.call("run", bench, "--quiet")
    until(lambda: cli("ls", "bench", "--json").code == 0, "the workflow")
    for number, expected in ((1, [1, 2, 3]), (2, [2, 3]), (3, [3]), (4, [4])):
        assert [p["number"] for p in cli("ask", "bench", "--json").json["points"]] == expected
        told = cli("tell", "bench", number, "cls=0.2", "--json").json
        assert told["by"] == "engine"
    done = process.wait()
    assert done.code == 2
    assert "measured by hand" in done.err


def test_a_loop_is_asked_and_told_from_python(tmp_path: Path) -> None:
    loop = Loop("bench", Space(x=Real(0, 1)), chain(), Sobol("cls"), MaxPoints(3), first=2, batch=2)
    points = loop.ask(workdir=tmp_path)
    assert [p.number for p in points] == [1, 2]
    assert len(loop.ask(1, workdir=tmp_path)) == 1
    assert loop.tell(1, cls=0.1, workdir=tmp_path) is LoopState.ACTIVE
    assert loop.tell(2, infeasible="no", workdir=tmp_path) is LoopState.ACTIVE
    with pytest.raises(IddsError, match="E-TELL-001"):
        loop.tell(9, cls=0.1, workdir=tmp_path)
    (point,) = loop.ask(workdir=tmp_path)
    assert loop.tell(point.number, cls=0.1, workdir=tmp_path) is LoopState.EXHAUSTED
    assert loop.ask(workdir=tmp_path) == []
