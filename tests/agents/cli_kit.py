"""What the tests of the command line share: scans, the command line here and in processes, waiting for conditions."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from idds_agents.cli import main

PATIENCE_S = 60.0

SCANS = {
    # Two targets, a forbidden corner, a region that is infeasible and one that fails.
    "plane": """
import math
from idds_core import Infeasible, Loop, Real, Retry, Space, chain, step
from idds_learners import BoundaryConverged, LevelSet, MaxPoints

@step(retry=Retry(attempts=2))
def measure(m_zp: float, m_a: float) -> dict:
    x, y = (m_zp - 400) / 2400, (m_a - 200) / 1000
    if y > 0.8:
        raise Infeasible("too heavy")
    if x > 0.7 and y < 0.3:
        print("a \\x1b[31mred\\x1b[0m word")
        raise ValueError("no \\x1b[31mluck")
    r = math.hypot(x - 0.3, y - 0.2)
    obs, exp = (0.5 / (1 + math.exp(-9 * (r - edge))) for edge in (0.4, 0.5))
    return {"obs": obs, "exp": exp, "exp_sigma": 0.004}

def define(max_points: int = 26):
    space = Space(m_zp=Real(400, 2800, unit="GeV"), m_a=Real(200, 1200, unit="GeV"), constraints=["m_zp > m_a + 125"])
    return Loop("plane", space=space, body=chain(measure), learner=LevelSet(["obs", "exp"], level=0.05),
                until=BoundaryConverged(0.0001) | MaxPoints(max_points), hold_after=100)
""",
    "curve": """
import math
from pathlib import Path
from idds_core import File, Loop, Log, Space, chain, step
from idds_learners import BoundaryConverged, LevelSet, MaxPoints

@step
def count(ctx, g: float) -> File:
    Path(ctx.file("n.txt")).write_text(str(math.log10(g)))
    return ctx.file("n.txt")

@step
def limit(events: File) -> dict:
    return {"mu": 10 ** (1.5 * float(Path(events).read_text()) + 0.5)}

def define():
    return Loop("curve", space=Space(g=Log(0.01, 1.0)), body=chain(count, limit), first=5, batch=4,
                learner=LevelSet("mu", level=1.0, transform="log", excluded="above"),
                until=BoundaryConverged(0.05) | MaxPoints(40))
""",
    "cube": """
from idds_core import Loop, Real, Space, chain, step
from idds_learners import MaxPoints, Sobol

@step
def measure(x: float, y: float, z: float) -> dict:
    return {"cls": (x + y + z) / 10}

loop = Loop("cube", space=Space(x=Real(0, 1), y=Real(0, 1), z=Real(0, 1)), body=chain(measure), first=6,
            learner=Sobol(["cls"]), until=MaxPoints(6))
""",
    # Four parameters, one of each kind, and a forbidden corner.
    "wide": """
import math
from idds_core import Categorical, Infeasible, Integer, Log, Loop, Real, Space, chain, step
from idds_learners import BoundaryConverged, LevelSet, MaxPoints

@step
def measure(m_x: float, g: float, n: int, decay: str) -> dict:
    x, y = (m_x - 400) / 2400, math.log(g / 0.1) / math.log(30)
    if x > 0.9:
        raise Infeasible("too heavy")
    r = math.hypot(x - 0.3, y - 0.6) + 0.03 * n - (decay == "bb") * 0.1
    return {target: 0.5 / (1 + math.exp(-9 * (r - edge))) for target, edge in (("obs", 0.4), ("exp", 0.5))}

def define():
    space = Space(m_x=Real(400, 2800, unit="GeV"), g=Log(0.1, 3), n=Integer(1, 4), decay=Categorical(["bb", "tautau"]),
                  constraints=["m_x > 300 * n"])
    return Loop("wide", space=space, body=chain(measure), learner=LevelSet(["obs", "exp"], level=0.05), first=12,
                batch=8, until=BoundaryConverged(0.0001) | MaxPoints(36))
""",
    "broken": """
from idds_core import Loop, Real, Space, chain, step
from idds_learners import MaxPoints, Sobol

@step
def measure(x: float) -> dict:
    raise RuntimeError("the licence server is away")

loop = Loop("broken", space=Space(x=Real(0, 1)), body=chain(measure), learner=Sobol(["y"]), until=MaxPoints(40),
            hold_after=2)
""",
    # Every job says that it has started, then waits until somebody opens the gate for writing.
    "gated": """
from pathlib import Path
from idds_core import Loop, Real, Requirements, Space, chain, step
from idds_learners import MaxPoints, Sobol

@step(requires=Requirements(memory="1GB"))
def measure(x: float, y: float, gate: str) -> dict:
    print("started", flush=True)
    with open(gate) as file:
        file.read()
    print("released")
    return {"cls": x * y / 2}

@step
def double(cls: float) -> dict:
    return {"cls": 2 * cls}

def define(gate: Path):
    return Loop("gated", space=Space(x=Real(0, 1), y=Real(0, 1)), body=chain(measure, double), first=3, batch=3,
                learner=Sobol(["cls"], level=0.5), until=MaxPoints(6))
""",
}


def until(condition: Callable[[], Any], what: str) -> Any:
    """The first true value of a condition; an assertion names what never came."""
    tick, end = threading.Event(), time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < end, f"in {PATIENCE_S:g} s this never came: {what}"
        tick.wait(0.03)
    return found


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on the last line."""
        return json.loads(self.out.splitlines()[-1])

    @property
    def lines(self) -> list[str]:
        """Lines on stderr."""
        return self.err.splitlines()


class Cli:
    """The command line in this process."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: object) -> Done:
        self._capsys.readouterr()
        code = main([str(a) for a in arguments])
        seen = self._capsys.readouterr()
        assert "Traceback" not in seen.err
        return Done(code, seen.out, seen.err)


class Process:
    """The command line in a process of its own; its output goes to files, so that nobody has to read along."""

    def __init__(self, folder: Path, name: str, arguments: tuple[object, ...]) -> None:
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "idds_agents", *map(str, arguments)],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> str:
        return self._out.read_text(encoding="utf-8")

    def wait(self) -> Done:
        code = self.process.wait(timeout=PATIENCE_S)
        return Done(code, self.out, self._err.read_text(encoding="utf-8"))


class Runs:
    """Processes in one folder, with the scans beside them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.gate = folder / "gate"
        self._made: list[Process] = []

    def scan(self, name: str) -> Path:
        """The scan's file, in a folder of its own."""
        file = self.folder / "scans" / name / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            file.write_text(SCANS[name], encoding="utf-8")
        return file

    def call(self, *arguments: object) -> Process:
        self._made.append(Process(self.folder, f"call{len(self._made)}", arguments))
        return self._made[-1]

    def run(self, name: str, *arguments: object) -> Process:
        return self.call("run", self.scan(name), *arguments)

    def shut_gate(self) -> None:
        """Jobs of "gated" wait from now on."""
        self.gate.unlink(missing_ok=True)
        os.mkfifo(self.gate)

    def open_gate(self) -> None:
        """Jobs of "gated" no longer wait."""
        self.gate.unlink(missing_ok=True)
        self.gate.write_text("", encoding="utf-8")

    def let_one_pass(self) -> None:
        """The job that waits at the gate goes on."""

        def opened() -> int | None:
            try:
                return os.open(self.gate, os.O_WRONLY | os.O_NONBLOCK)
            except OSError:  # nobody waits there yet
                return None

        os.close(until(opened, "a job at the gate"))

    def close(self) -> None:
        for made in self._made:
            if made.process.poll() is None:
                made.process.kill()
                made.process.wait()
