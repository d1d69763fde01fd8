"""A learner in any language: a command that reads a question as one line of JSON and writes its answer as another."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from idds_core.errors import IddsError
from idds_core.history import History, strict_json
from idds_core.ports import Proposal

__all__ = ["CommandLearner"]

_TAIL = 400
_FIELDS = ("points", "diagnostics", "state", "reason")


@dataclass(frozen=True)
class CommandLearner:
    """A command as a learner: ``CommandLearner("./mylearner.sh", "loss")``, in YAML ``command: ./mylearner.sh``.

    It runs in the folder of the scan's copy, without a shell, once for each question, and gets one line on its standard
    input::

        {"protocol": 1, "n": 4, "seed": 17, "iteration": 3, "targets": ["f"], "space": {"parameters": {"x":
         {"kind": "real", "low": 0, "high": 1, ...}}, "constraints": []}, "points": [{"number": 1, "iteration": 1,
         "state": "MEASURED", "parameters": {"x": 0.5}, "values": {"f": 0.3}, "sigmas": {}}, ...], "state": {}}

    Points are in the order of their numbers; those that were not measured (OPEN, FAILED, INFEASIBLE, PRUNED) have no
    `values`. `seed` is another one at each question, the same when it is asked again; `state` is what it answered last
    as its state. It answers with one line, of which only ``points`` is needed::

        {"points": [{"x": 0.25}], "diagnostics": {}, "state": {}, "reason": ""}

    What it writes to its standard error is in the learner's log. It shares the learner's limits of time and memory.

    Parameters
    ----------
    command : a command line, split like a shell would do it, or its words
    objective, direction : told to whoever looks at the loop; the command knows itself what it is after

    """

    command: str | Sequence[str] = ()
    objective: str | Sequence[str] = ()
    direction: str | Mapping[str, str] = "min"

    def __post_init__(self) -> None:
        for name in ("command", "objective"):
            given = getattr(self, name)
            if not isinstance(given, str):
                object.__setattr__(self, name, tuple(given))

    @property
    def targets(self) -> tuple[str, ...]:
        """What an observation must have."""
        return (self.objective,) if isinstance(self.objective, str) else tuple(self.objective)

    def problems(self) -> list[str]:
        """Everything that is wrong with the learner's fields."""
        try:
            words = self._words()
        except ValueError as error:
            return [f"command={self.command!r} cannot be split: {error}"]
        return [] if words and all(isinstance(w, str) for w in words) else ["it has no command"]

    def _words(self) -> list[str]:
        return shlex.split(self.command) if isinstance(self.command, str) else list(self.command)

    def ask(self, history: History, n: int) -> Proposal:
        """What the command answers.

        Raises
        ------
        IddsError
            When it cannot be started, fails, or writes no answer.

        """
        line = strict_json(_question(history, n)) + "\n"
        try:
            done = subprocess.run(self._words(), input=line, capture_output=True, text=True, check=False,
                                  cwd=os.environ.get("IDDS_BUNDLE") or None)  # fmt: skip
        except OSError as error:
            raise self._failed("cannot be started", error.strerror or str(error)) from error
        if done.stderr:
            print(done.stderr, end="" if done.stderr.endswith("\n") else "\n", flush=True)
        if done.returncode:
            raise self._failed(f"ended with exit code {done.returncode}", done.stderr.strip()[-_TAIL:])
        return self._answer(done.stdout)

    def _answer(self, text: str) -> Proposal:
        lines = [line for line in text.splitlines() if line.strip()]
        if len(lines) != 1:
            raise self._failed(f"wrote {len(lines)} lines, not one", text.strip()[-_TAIL:])
        try:
            found = json.loads(lines[0])
        except ValueError as error:
            raise self._failed("wrote no JSON", f"{error}: {lines[0][:_TAIL]}") from error
        fine = isinstance(found, dict) and isinstance(found.get("points"), list) and not set(found) - set(_FIELDS)
        if not fine or not all(isinstance(p, dict) for p in found["points"]):
            raise self._failed("wrote no answer", f"it has {', '.join(_FIELDS)}: {lines[0][:_TAIL]}")
        return Proposal(tuple(found["points"]), found.get("diagnostics") or {}, found.get("state") or {},
                        str(found.get("reason") or ""))  # fmt: skip

    def _failed(self, what: str, why: str) -> IddsError:
        name = self._words()[0] if self._words() else "?"
        return IddsError.of("E-LEARNER-023", f"the learner's command {name} {what}", why, "learner.command",
                            "Try it by hand with a question on its standard input.")  # fmt: skip


def _question(history: History, n: int) -> dict[str, Any]:
    before = history.iterations[:-1]  # the last record may hold the very answer that is asked for
    return {
        "protocol": 1,
        "n": n,
        "seed": int(history.rng("command").integers(2**53)),
        "iteration": len(history.iterations) + 1,
        "targets": list(history.targets),
        "space": history.space.to_json(),
        "points": [
            {
                "number": p.number,
                "iteration": p.iteration,
                "state": str(p.state),
                "parameters": dict(p.parameters),
                "values": dict(p.observation.values) if p.observation else {},
                "sigmas": dict(p.observation.sigmas) if p.observation else {},
                **({"censored": dict(p.observation.censored)} if p.observation and p.observation.censored else {}),
            }
            for p in sorted(history.points, key=lambda p: p.number)
        ],
        "state": dict(before[-1].state) if before else {},
    }
