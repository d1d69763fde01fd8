"""What the tests of real processes share: workloads, commands, kills at moments that the run itself gives, the record.

``IDDS_CHAOS=full`` is the long version.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import re
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from idds_agents.catalog import Catalog
from idds_agents.learner_host import LearnerHost
from idds_agents.replay import replay
from idds_core.store import Store, open_store
from tests.agents.cli_kit import until
from tests.chaos.scan.telling_run import acknowledged, told

__all__ = ["CI_KILLS", "FULL", "SCANS", "TARGETS", "WORKLOADS", "Workload", "descendants", "digests", "disturbed",
    "document", "done", "facts", "idds", "jobs", "killed_at", "lost", "opened", "physics", "reading", "replayed",
    "state_of", "stopped_at", "violations"]  # fmt: skip

SCANS = Path(__file__).parent / "scan"
FULL = os.environ.get("IDDS_CHAOS") == "full"
PATIENCE_S = 300.0
TARGETS = ("group", "engine", "workers")
#: of one run in CI; four workloads share twenty
CI_KILLS = 5


# ---------------------------------------------------------------------- commands
def idds(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "idds_agents", *map(str, arguments)]


def done(command: Sequence[str], *codes: int, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it to the end, which must be one of these codes (0 when none is given)."""
    ran = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env={**os.environ, **environment})
    assert ran.returncode in (codes or (0,)), ran.stdout + ran.stderr
    return ran


def document(*arguments: object, codes: tuple[int, ...] = (0,)) -> Any:
    """What a verb says with --json."""
    return json.loads(done(idds(*arguments, "--json"), *codes).stdout.splitlines()[-1])


@dataclass(frozen=True)
class Workload:
    """A scan to be disturbed.

    ends_the_same : whether its history is promised to be that of a run that nobody disturbed; without a barrier it is
    only promised to be whole, and `replay` to find each answer again.
    """

    scan: str
    sets: tuple[str, ...] = ()
    ends_the_same: bool = True

    def run(self, workdir: Path, *more: object, told: Path | None = None) -> list[str]:
        """The command that runs it, and tells each commit in a file, beside the work folder by default."""
        given = [word for text in self.sets for word in ("--set", text)]
        words = ["run", SCANS / self.scan, "--workdir", workdir, "--seed", "5", "--quiet", *given, *more]
        return [sys.executable, str(SCANS / "telling_run.py"), str(told or told_file(workdir)), *map(str, words)]


#: name -> what is disturbed
WORKLOADS: Mapping[str, Workload] = {
    "batch": Workload("chaos_scan.py"),
    "steady": Workload("chaos_scan.py", ("mode=steady",), ends_the_same=False),
    "campaign": Workload("study_scan.py", ("kind=campaign",)),
    "nested": Workload("study_scan.py", ("kind=nested",)),
}


def told_file(workdir: Path) -> Path:
    return workdir.with_name(f"{workdir.name}.told")


# ---------------------------------------------------------------------- the record
@contextlib.contextmanager
def reading(workdir: Path) -> Iterator[sqlite3.Connection]:
    with contextlib.closing(sqlite3.connect(workdir / "idds.db")) as raw:
        yield raw


@contextlib.contextmanager
def opened(workdir: Path) -> Iterator[Store]:
    store = open_store(workdir / "idds.db", "read")
    try:
        yield store
    finally:
        store.close()


def physics(workdir: Path) -> list[tuple[Any, ...]]:
    """All points of the newest revision by the name of their loop, whatever iteration a point around it is in.

    Of the observation what is not sealed: a seal differs each time.
    """
    query = """SELECT l.name, p.number, p.parameters, p.state, p.failure_class, p.observation, p.adds, p.given
        FROM point p JOIN loop l ON l.id = p.loop_id WHERE l.workflow_id = (SELECT max(id) FROM workflow)"""
    found = []
    with reading(workdir) as raw:
        for name, number, parameters, state, failure, text, *rest in raw.execute(query):
            seen = json.loads(text) if text else {}
            sealed = bool(seen.pop("sealed", None))
            shown = json.dumps(seen, sort_keys=True)
            found.append((re.sub(r"/it/\d+/", "/", name), number, parameters, state, failure, shown, sealed, *rest))
    return sorted(found, key=lambda row: row[:2])


def digests(workdir: Path) -> dict[str, str]:
    """The history digest of each loop."""
    with opened(workdir) as store:
        catalog = Catalog(store, workdir)
        found = {}
        for workflow in store.workflows.all():
            for loop in store.workflows.loops(workflow.id):
                plan = catalog.plan(loop.id)
                found[plan.path] = store.iterations.history(loop.id, plan.loop, plan.seed).digest
    return found


def jobs(workdir: Path) -> list[tuple[Any, ...]]:
    """How the jobs ended. A payload that somebody kills has failed like one that died of itself, and runs again."""
    query = "SELECT step, variant, chunk, state, count(*) FROM job GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3"
    with reading(workdir) as raw:
        return sorted(raw.execute(query).fetchall(), key=repr)


def lost(workdir: Path, file: Path | None = None) -> list[str]:
    """What was acknowledged before anything went wrong, and is not on record as it was."""
    return sorted(set(told(file or told_file(workdir))) - set(acknowledged(str(workdir / "idds.db"))))


def violations(workdir: Path) -> dict[str, list[str]]:
    """What `verify` finds."""
    with opened(workdir) as store:
        return {name: lines for name, lines in store.audit.verify().items() if lines}


def replayed(workdir: Path) -> int:
    """Ask each question of the first loop again; returns how many there were."""
    with opened(workdir) as store:
        plan = Catalog(store, workdir).plan(1)
        host = LearnerHost(workdir / "replay.log", 300.0, 2 * 10**9)
        try:
            found = replay(store, plan, 1, host)
        finally:
            host.close()
    assert found.differences == ()
    return found.questions


# ---------------------------------------------------------------------- stops and kills
@contextlib.contextmanager
def stopped_at(
    edge: str, count: int, command: Sequence[str], **environment: str
) -> Iterator[subprocess.Popen[str] | None]:
    """A command that has stopped itself at an edge (see `stopping_run.py`), or None when it has ended without.

    It is killed in the end, with all that it started.
    """
    words = [sys.executable, str(SCANS / "stopping_run.py"), edge, str(count), *command[3:]]
    process = subprocess.Popen(words, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env={**os.environ, **environment})  # fmt: skip
    try:
        state = until(lambda: found if (found := state_of(process.pid)) in "TZ" else "", f"it stops {edge} {count}")
        yield process if state == "T" else None
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def killed_at(edge: str, count: int, command: Sequence[str]) -> bool:
    """Kill it, and all that it started, at an edge; False when it has ended without."""
    with stopped_at(edge, count, command) as process:
        return process is not None


def descendants(pid: int) -> list[int]:
    """All processes below one: workers, runners, payloads, the learner's child."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
    found: list[int] = []
    front = [pid]
    while front:
        front = [child for child, parent in parents.items() if parent in front]
        found.extend(front)
    return found


def state_of(pid: int) -> str:
    """Its state as proc(5) has it: R, S, D, T (stopped), Z (dead and not waited for); X when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return "X"


def facts(workdir: Path) -> int:
    """How many results and ends of points have been acknowledged so far."""
    return sum(line.startswith(('["result"', '["point"')) for line in told(told_file(workdir)))


class _Disturber:
    """Runs a workload and kills what it is told to, again and again."""

    def __init__(self, workload: Workload, workdir: Path, rng: random.Random) -> None:
        self._workload, self._workdir, self._rng = workload, workdir, rng
        self._err = workdir.with_name(f"{workdir.name}.err")
        self.process = self._start()

    def _start(self) -> subprocess.Popen[bytes]:
        with self._err.open("ab") as err:
            return subprocess.Popen(self._workload.run(self._workdir), start_new_session=True, stdout=err, stderr=err)

    def reached(self, moment: int, target: str) -> bool:
        """Wait until so much is acknowledged, and a little longer; False when the run has ended before.

        One kill in five comes while the engine starts, whatever has been acknowledged.
        """
        if target != "workers" and self._rng.random() < 0.2:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=self._rng.uniform(0.05, 1.2))
        else:
            until(lambda: facts(self._workdir) >= moment or self.process.poll() is not None, f"fact {moment}")
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(timeout=self._rng.uniform(0.0, 0.04))
        return self.process.poll() is None

    def kill(self, target: str) -> None:
        if target == "workers":
            victims = until(lambda: descendants(self.process.pid) or self.process.poll() is not None, "a worker")
            if victims is not True:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._rng.choice(victims), signal.SIGKILL)
            return
        if target == "group":
            os.killpg(self.process.pid, signal.SIGKILL)
        else:
            self.process.kill()
        self.process.wait()
        self.process = self._start()

    def finish(self) -> None:
        try:
            code = self.process.wait(timeout=PATIENCE_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        assert code == 2, self._err.read_text()


def disturbed(workload: Workload, workdir: Path, most: int, kills: int, seed: int) -> Counter[str]:
    """Run a workload to its end, however often its parts are killed; how many kills of each kind hit it.

    most : number of facts that a run without kills acknowledges; the kills are spread over them.
    """
    rng = random.Random(seed)
    hit: Counter[str] = Counter()
    disturber = _Disturber(workload, workdir, rng)
    try:
        for number, moment in enumerate(sorted(rng.randrange(most) for _ in range(kills))):
            target = TARGETS[(number + seed) % len(TARGETS)]
            if not disturber.reached(moment, target):
                break
            disturber.kill(target)
            hit[target] += 1
    finally:
        disturber.finish()
    return hit
