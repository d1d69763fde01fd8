"""A folder in which the examples of all verbs run: what ``--help`` shows must be true."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import typer

from idds_agents.cli.app import app
from tests.agents.cli_kit import Runs

SCAN = """
from pathlib import Path
from idds_core import File, Loop, Real, Space, chain, step
from idds_learners import LevelSet, MaxPoints

@step
def generate(ctx, m_zp: float, m_a: float) -> File:
    if m_zp > 2600:
        raise ValueError("no luck")
    Path(ctx.file("n.txt")).write_text(str((m_zp - 400) / 2400 + (m_a - 200) / 1000))
    return ctx.file("n.txt")

@step
def limit(events: File) -> dict:
    n = float(Path(events).read_text())
    return {"obs": 0.1 * n, "exp": 0.08 * n}

def define(max_points: int = 50):
    space = Space(m_zp=Real(400, 2800, unit="GeV"), m_a=Real(200, 1200, unit="GeV"))
    return Loop("monohbb", space=space, body=chain(generate, limit), first=10, batch=10, hold_after=100,
                learner=LevelSet(["obs", "exp"], level=0.05), until=MaxPoints(max_points))
"""
BENCH = """
from idds_core import Loop, Real, Space
from idds_learners import MaxPoints, Sobol

loop = Loop("bench", space=Space(x=Real(0, 1)), body=(), learner=Sobol(["cls"]), until=MaxPoints(5), first=5)
"""
YAML = """
name: yaml
space: {x: {low: 0, high: 1}}
steps: {measure: {run: "sh mc.sh {x}", result: out.json}}
learner: {sobol: {targets: [y]}}
until: MaxPoints(4)
"""

Prepare = Callable[[Path], None]


def commands() -> Iterator[str]:
    """Every verb and verb of a group, from the command line itself."""
    group = typer.main.get_command(app)
    for name, command in sorted(getattr(group, "commands", {}).items()):
        below = getattr(command, "commands", None)
        yield from (f"{name} {part}" for part in sorted(below)) if below else [name]


def world(folder: Path) -> Path:
    """A scan of 50 points that has ended, with failures; its files beside it."""
    (folder / "scan.py").write_text(SCAN, encoding="utf-8")
    (folder / "scan.yaml").write_text(YAML, encoding="utf-8")
    (folder / "mc.sh").write_text("echo '{\"y\": 1}' > out.json\n", encoding="utf-8")
    (folder / "benchmarks.csv").write_text("m_zp,m_a\n600,300\n1200,400\n", encoding="utf-8")
    (folder / "points.csv").write_text("m_zp,m_a,obs,exp\n600,300,0.02,0.016\n", encoding="utf-8")
    runs = Runs(folder)
    done = runs.call("run", "scan.py", "--quiet").wait()
    assert done.code == 2, done.err
    return folder


# ---------------------------------------------------------------------- what some examples need beside it
def _another(folder: Path) -> None:
    shutil.copytree(folder / "monohbb-run", folder / "other-run")


def _backup(folder: Path) -> None:
    done = Runs(folder).call("db", "backup", "nightly.db").wait()
    assert done.code == 0, done.err


def _bench(folder: Path) -> None:
    shutil.rmtree(folder / "monohbb-run")
    (folder / "bench.py").write_text(BENCH, encoding="utf-8")
    done = Runs(folder).call("ask", "bench.py").wait()
    assert done.code == 0, done.err


def _sealed(folder: Path) -> None:
    shutil.rmtree(folder / "monohbb-run")
    (folder / "scan.py").write_text(SCAN.replace("first=10, ", 'first=10, blind=["obs"], '), encoding="utf-8")
    done = Runs(folder).call("run", "scan.py", "--quiet", "--set", "max_points=10").wait()
    assert done.code == 2, done.err


def _nothing_yet(folder: Path) -> None:
    shutil.rmtree(folder / "monohbb-run")


def _open(folder: Path) -> None:
    """A workflow that has not ended: handed over before anything could be measured."""
    shutil.rmtree(folder / "monohbb-run")
    runs = Runs(folder)
    done = runs.call("run", "scan.py", "--quiet", "--max-wall", "1s", "--margin", "0.99s").wait()
    assert done.code == 5, done.err


PREPARED: dict[str, Prepare] = {
    "ask": _bench,
    "cancel": _open,
    "compare": _another,
    "convert": lambda folder: (folder / "scan.yaml").unlink(),
    "db restore": _backup,
    "hold": _open,
    "resume": _open,
    "run": _nothing_yet,
    "tell": _bench,
    "unblind": _sealed,
}
#: how they end when they do not end with 0: 2 is "budget spent"
CODES = {"run": 2, "attach": 2}
