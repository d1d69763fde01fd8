"""The protocol of submit, find, poll and reap, searched exhaustively for small bounds; and each mechanism is needed."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

MODEL = Path(__file__).parent / "protocol.pml"


def search(folder: Path, *defined: str) -> str:
    """What Spin's verifier says about all states of the model."""
    for tool in ("spin", "gcc"):
        if shutil.which(tool) is None:
            if os.environ.get("CI"):
                pytest.fail(f"{tool} is missing")
            pytest.skip(f"needs {tool} (apt-get install spin gcc libc6-dev)")
    shutil.copy(MODEL, folder)
    commands = [["spin", *defined, "-a", MODEL.name], ["gcc", "-O2", "-w", "-DSAFETY", "-o", "pan", "pan.c"]]
    for command in commands:
        made = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr
    return subprocess.run(["./pan", "-m1000000"], cwd=folder, capture_output=True, text=True, check=True).stdout


@pytest.mark.parametrize("faults", [0, 1, 2, 5])
def test_no_order_of_deaths_stalls_and_losses_doubles_or_forgets_an_attempt(tmp_path: Path, faults: int) -> None:
    said = search(tmp_path, f"-DFAULTS={faults}")
    assert "errors: 0" in said, said
    assert "max search depth too small" not in said
    states = re.search(r"(\d+) states, stored", said)
    assert states is not None
    print(f"\n{faults} faults: {states[1]} states, 0 errors")


def test_with_two_faults_every_move_of_the_model_is_made(tmp_path: Path) -> None:
    """No move stands there in vain. After a first attempt there is always another, and agents go on."""
    said = search(tmp_path)
    unreached = re.findall(r"protocol\.pml:\d+, state \d+, \"(.*)\"", said)
    assert unreached == ["job = FAILED", "job = FAILED", "-end-", "-end-"], said


@pytest.mark.parametrize(
    ("without", "then"),
    [
        ("NO_INTENT", r"rec\[a\]!="),  # a submit that the record knows nothing of
        ("NO_FIND", r"\(job=="),  # an attempt that is for ever on its way
        ("NO_LAG", r"unlisted"),  # submitted again although the provider has it
        ("NO_CAS", r"results==1"),  # two acknowledged results
        ("NO_REAPER", r"listed\[1\]"),  # a copy that runs on for nobody
    ],
)
def test_without_any_of_its_mechanisms_the_protocol_fails(tmp_path: Path, without: str, then: str) -> None:
    said = search(tmp_path, f"-D{without}")
    assert "errors: 1" in said, said
    assert re.search(rf"assertion violated.*{then}", said), said
