"""A detached run that reports and prunes, killed again and again: the same points are pruned, the same history ends."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import textwrap
from pathlib import Path

from tests.agents.cli_kit import until
from tests.chaos.chaos_kit import FULL, document, idds, violations

KILLS = 40 if FULL else 4

SCAN = """
    import hashlib
    from idds_core import Loop, Real, Space, chain, step
    from idds_learners import MaxPoints, MedianRule, Sobol

    @step
    def train(ctx, rate: float) -> dict[str, float]:
        for epoch in range(int(ctx.load("epoch") or b"0"), 6):
            text = b"x"
            for _ in range(60_000):
                text = hashlib.sha256(text).digest()
            ctx.save("epoch", str(epoch + 1))
            ctx.report(epoch, (rate - 0.3) ** 2 + 1.0 / (epoch + 2))
            ctx.progress(epoch / 6, f"epoch {epoch}")
        return {"loss": (rate - 0.3) ** 2}

    scan = Loop("fit", space=Space(rate=Real(0, 1)), body=chain(train), learner=Sobol(["loss"]),
                until=MaxPoints(36), first=12, batch=12, prune=MedianRule(least=3, after=2))
"""


def test_a_detached_run_that_prunes_ends_the_same_however_often_it_is_killed(tmp_path: Path) -> None:
    (tmp_path / "scan").mkdir()
    file = tmp_path / "scan" / "fit.py"
    file.write_text(textwrap.dedent(SCAN), encoding="utf-8")
    calm = document("run", file, "--workdir", tmp_path / "calm", codes=(2,))
    assert calm["points"]["PRUNED"] >= 3
    rng = random.Random(3)
    workdir = tmp_path / "killed"
    hit = 0
    pids: list[int] = []
    try:
        for _ in range(KILLS):
            started = subprocess.run(
                idds("run", file, "--workdir", workdir, "--detach", "--json"), capture_output=True, text=True
            )
            if started.returncode == 2:  # it has concluded
                break
            pids.append(json.loads(started.stdout)["pid"])
            with contextlib.suppress(subprocess.TimeoutExpired):
                subprocess.run(idds("attach", workdir), capture_output=True, timeout=rng.uniform(0.3, 1.5))
            with contextlib.suppress(ProcessLookupError):
                os.kill(pids[-1], signal.SIGKILL)
                hit += 1
        again = subprocess.run(idds("run", file, "--workdir", workdir, "--detach"), capture_output=True, text=True)
        assert again.returncode in (0, 2), again.stderr
        pids += [int(again.stdout.split()[1])] if again.returncode == 0 else []
        killed = until(
            lambda: (shown := document("show", "--workdir", workdir))["state"] == "EXHAUSTED" and shown, "the end"
        )
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    assert hit >= 3
    assert killed["digest"] == calm["digest"]
    assert killed["points"] == calm["points"]
    assert violations(workdir) == {}
