"""A checkpointed job whose worker, runner and engine are killed finishes with its first steps run once."""

from __future__ import annotations

import os
import signal
import subprocess
import textwrap
from pathlib import Path

import pytest

from tests.agents.cli_kit import until
from tests.chaos.chaos_kit import idds, violations

SCAN = """
    import json, os, signal
    from pathlib import Path
    from idds_core import Loop, Real, Space, chain, command, step
    from idds_learners import MaxPoints, Sobol

    @step
    def train(ctx, x: float, folder: str) -> dict[str, float]:
        for epoch in range(json.loads(ctx.load("epoch.json") or b"0"), 4):
            with open(f"{folder}/ran", "a") as ran:
                print(epoch, file=ran)
            ctx.save("epoch.json", json.dumps(epoch + 1))
            held = Path(folder, f"hold{epoch}").exists()
            Path(folder, f"saved{epoch}").write_text(str(os.getpid()))
            if held:
                signal.pause()
        return {"y": x}

    simulate = command("simulate", "./simulate.sh {folder} {checkpoint}", result="y.json")

    def define(folder: str, shell: bool = False):
        return Loop("deep", space=Space(x=Real(0, 1)), body=chain(simulate if shell else train), first=1, batch=1,
                    learner=Sobol(["y"]), until=MaxPoints(1))
"""
SHELL = """\
    #!/bin/sh
    test "$2" = "$IDDS_CHECKPOINT" || exit 9
    epoch=$(cat "$IDDS_CHECKPOINT/epoch" 2>/dev/null || echo 0)
    while [ "$epoch" -lt 4 ]; do
        echo "$epoch" >> "$1/ran"
        echo $((epoch + 1)) > "$2/epoch.tmp" && mv "$2/epoch.tmp" "$2/epoch"
        if [ -e "$1/hold$epoch" ]; then held=yes; else held=; fi
        echo $PPID > "$1/saved.tmp" && mv "$1/saved.tmp" "$1/saved$epoch"
        if [ -n "$held" ]; then sleep 1000; fi
        epoch=$((epoch + 1))
    done
    echo '{"y": 1.0}' > y.json
"""


def saved(folder: Path, epoch: int) -> int:
    """Process id of the worker (or of the runner) that has saved this epoch."""
    path = folder / f"saved{epoch}"
    return int(until(lambda: path.exists() and path.read_text().strip(), f"epoch {epoch} saved"))


@pytest.mark.parametrize("shell", [False, True], ids=["function", "command"])
def test_a_checkpointed_job_killed_three_times_runs_its_first_steps_once(tmp_path: Path, shell: bool) -> None:
    source, folder, workdir = tmp_path / "source", tmp_path / "meet", tmp_path / "work"
    source.mkdir()
    folder.mkdir()
    (source / "deep.py").write_text(textwrap.dedent(SCAN), encoding="utf-8")
    (source / "simulate.sh").write_text(textwrap.dedent(SHELL), encoding="utf-8")
    (source / "simulate.sh").chmod(0o755)
    file = source / "deep.py"
    run = idds("run", file, "--workdir", workdir, "--slots", "1", "--set", f"folder={folder}", "--set",
               f"shell={str(shell).lower()}")  # fmt: skip
    for epoch in range(3):
        (folder / f"hold{epoch}").touch()
    with (tmp_path / "out").open("wb") as out:
        engine = subprocess.Popen(run, stdout=out, stderr=out, start_new_session=True)
        for epoch in range(2):  # the worker, or the runner of the command
            pid = saved(folder, epoch)
            (folder / f"hold{epoch}").unlink()
            os.kill(pid, signal.SIGKILL)
        pid = saved(folder, 2)
        (folder / "hold2").unlink()
        engine.kill()
        engine.wait()
        if shell:  # a command outlives the engine; this one does not
            os.kill(pid, signal.SIGKILL)
        checkpoint = workdir / "deep/deep/it/1/p/1" / ("simulate" if shell else "train") / "job/0/checkpoint"
        assert list(checkpoint.iterdir())
        again = subprocess.run(run, stdout=out, stderr=out, timeout=120)
    assert again.returncode == 2, (tmp_path / "out").read_text()
    assert (folder / "ran").read_text().split() == ["0", "1", "2", "3"]
    assert not checkpoint.exists()  # the job is DONE
    assert violations(workdir) == {}
