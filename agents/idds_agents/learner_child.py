"""The learner's own process: one JSON line in, one JSON line out.

``{"loop": ..., "history": ..., "bundle": ...}`` -> ``{"points", "chosen", "diagnostics", "state", "reason", "verdict",
"asked", "took", "versions"}`` or ``{"error": ...}``. A learner in another language is the same thing behind the same
lines.
"""

from __future__ import annotations

import json
import os
import platform
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["answer", "main"]

#: what learners compute with: another version may give another answer
_LIBRARIES = ("numpy", "scipy", "sklearn", "skopt", "optuna", "torch")


def answer(request: Mapping[str, Any], clock: Callable[[], float] = time.perf_counter) -> dict[str, Any]:
    """What learner and conditions say of a history, and what it took in seconds by the clock."""
    from idds_core.history import History
    from idds_core.plugins import CONDITIONS, LEARNERS, build
    from idds_core.ports import Verdict
    from idds_core.stopwatch import listening, part

    loop = request["loop"]
    history = History.from_json(request["history"])
    learner = build(loop["learner"], LEARNERS)
    condition = build(loop["until"], CONDITIONS)
    if history.iterations:
        wanted = loop["batch"] - len(history.pending)  # none pends in batch mode
    else:  # what was measured elsewhere takes the place of a part of the first design
        wanted = max(loop["first"] - len(history.measured), min(loop["batch"], loop["first"]))
    left = getattr(condition, "remaining", lambda _: None)(history)
    n = max(0, wanted if left is None else min(wanted, left))
    with listening(clock) as took, part("ask"):
        proposal = learner.ask(history, n)
    if len(proposal.chosen) not in (0, len(proposal.points)):
        raise ValueError(
            f"it says of {len(proposal.chosen)} points why they were chosen, and proposes {len(proposal.points)}"
        )
    if history.iterations:
        verdict = condition.check(history.with_diagnostics(proposal.diagnostics, proposal.state))
    else:
        verdict = Verdict()
    return {
        "points": [] if verdict.stop else [dict(p) for p in proposal.points],
        "chosen": [] if verdict.stop else [dict(c) for c in proposal.chosen],
        "asked": n,
        "diagnostics": dict(proposal.diagnostics),
        "state": dict(proposal.state),
        "reason": proposal.reason,
        "verdict": {"kind": str(verdict.kind), "reason": verdict.reason},
        "versions": _versions(learner),
        "took": {name: float(f"{seconds:.3g}") for name, seconds in sorted(took.items())},
    }


def _versions(learner: object) -> dict[str, str]:
    """Of Python and of what the learner is made of."""
    own = type(learner).__module__.partition(".")[0]
    loaded = {name: getattr(sys.modules.get(name), "__version__", None) for name in ("idds_core", own, *_LIBRARIES)}
    return {"python": platform.python_version()} | {n: v for n, v in loaded.items() if isinstance(v, str)}


def _respond(line: str) -> dict[str, Any]:
    try:
        request = json.loads(line)
        bundle = request.get("bundle")
        if bundle and bundle not in sys.path:
            sys.path.insert(0, bundle)
        if bundle:  # where a learner that is a command runs
            os.environ["IDDS_BUNDLE"] = bundle
        return answer(request)
    except BaseException as error:  # noqa: BLE001 - the user's code; whatever it does is an answer
        traceback.print_exc()
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename != __file__]
        where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else ""
        return {"error": f"{type(error).__name__}: {error}", "where": where}


def _end_with(file: int) -> None:
    """A thread: when the engine has gone nobody wants the answer, however long the learner still thinks."""
    end = select.poll()
    end.register(file, select.POLLRDHUP)
    end.poll()
    os.killpg(0, signal.SIGKILL)  # and what the learner has started; the group is our own


def main(file: int) -> None:
    """Serve until the other end closes; `file` is a socket, so that prints of a learner go elsewhere."""
    threading.Thread(target=_end_with, args=(file,), daemon=True).start()
    with os.fdopen(file, "r+b", buffering=0) as raw:
        reader = os.fdopen(os.dup(file), "r", encoding="utf-8")
        for line in reader:
            try:
                text = json.dumps(_respond(line), allow_nan=False)
            except (TypeError, ValueError) as error:
                text = json.dumps({"error": f"its answer is no JSON: {error}", "where": ""})
            data = memoryview(text.encode() + b"\n")
            while data:
                data = data[raw.write(data) or 0 :]


if __name__ == "__main__":
    main(int(sys.argv[1]))
