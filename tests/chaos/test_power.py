"""Power cuts: recorded calls of a real run make images of what a disk may hold; nothing acknowledged is missing.

``IDDS_CHAOS=full`` cuts the power ten times as often. The figures are printed (``pytest -s``).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import random
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from idds_core.store import check_file, open_store
from tests.chaos.chaos_kit import FULL, WORKLOADS, digests, done
from tests.chaos.power_kit import HOW, Recording, record
from tests.chaos.scan.telling_run import acknowledged

WORKLOAD = WORKLOADS["batch"]
CUTS = 400 if FULL else 40
CONTINUED = 24 if FULL else 4


def contents(folder: Path) -> dict[str, bytes]:
    """All files but the index that readers of the store share, which no disk needs to keep."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if not path.name.endswith("-shm")}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the run was recorded."""
    if shutil.which("strace") is None:
        if os.environ.get("CI"):
            pytest.fail("strace is missing")
        pytest.skip("needs strace (apt-get install strace)")
    return tmp_path_factory.mktemp("recorded")


@pytest.fixture(scope="module")
def recording(folder: Path) -> Recording:
    command = WORKLOAD.run(folder / "work", "--slots", "2", told=folder / "told")
    made = record(command, folder / "work", folder / "told", folder / "trace")
    (folder / "work").rename(folder / "whole")  # images take its place: the record names files by their full path
    return made


@pytest.fixture
def work(folder: Path) -> Iterator[Path]:
    """Where images are made, which is where the run was."""
    yield folder / "work"
    shutil.rmtree(folder / "work", ignore_errors=True)


def lost(workdir: Path, told: list[str]) -> list[str]:
    """What had been acknowledged and is not on record, or not as it was."""
    with contextlib.suppress(sqlite3.Error):
        return sorted(set(told) - set(acknowledged(str(workdir / "idds.db"))))
    return told


def broken(workdir: Path) -> list[str]:
    """All that `verify` finds, and every output of an acknowledged result that is not what it was."""
    store = open_store(workdir / "idds.db")
    try:
        wrong = [f"{name}: {line}" for name, lines in store.audit.verify().items() for line in lines]
        for file in store.audit.files():
            path = workdir / file.attempt / file.path
            if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != file.sha256:
                wrong.append(f"output {path} is {'damaged' if path.is_file() else 'gone'}")
    finally:
        store.close()
    return wrong + check_file(workdir / "idds.db")


def test_an_image_of_a_run_that_nobody_cut_is_the_folder_itself(recording: Recording, folder: Path) -> None:
    """Else the recorder would have missed a call, and the cuts would prove nothing."""
    image = recording.image(len(recording.events), "kept", random.Random(0))
    assert image.files == contents(folder / "whole")
    assert len([line for line in recording.acknowledged(len(recording.events)) if '"result"' in line]) == 68


def test_a_power_cut_loses_nothing_that_was_acknowledged(recording: Recording, work: Path) -> None:
    rng = random.Random(2026)
    cuts: Counter[str] = Counter()
    acknowledgements = 0
    for number, moment in enumerate(recording.moments(CUTS, rng)):
        how = HOW[number % len(HOW)]
        recording.image(moment, how, rng).write(work)
        told = recording.acknowledged(moment)
        assert lost(work, told) == [], f"cut {number} after {moment} calls, {how}"
        assert broken(work) == [], f"cut {number} after {moment} calls, {how}"
        acknowledgements += len(told)
        cuts[how] += 1
        shutil.rmtree(work)
    shown = ", ".join(f"{n} {how}" for how, n in cuts.items())
    print(f"\n{CUTS} power cuts in {len(recording.events)} calls ({shown}): {acknowledgements} facts, 0 lost")


def test_a_run_goes_on_after_a_power_cut_and_ends_the_same(recording: Recording, folder: Path, work: Path) -> None:
    whole, rng = digests(folder / "whole"), random.Random(7)
    for number, moment in enumerate(recording.moments(CONTINUED, rng)):
        shutil.rmtree(work, ignore_errors=True)
        recording.image(moment, HOW[number % len(HOW)], rng).write(work)
        print(f"\ncut {number} after {moment} calls")  # seen when it fails
        done(WORKLOAD.run(work, "--slots", "2", told=folder / f"told{number}"), 2)
        assert digests(work) == whole
        assert broken(work) == []


def test_a_disk_that_lies_about_the_log_does_lose_results(recording: Recording, work: Path) -> None:
    """So that the test above is one that can fail."""
    rng = random.Random(1)
    gone = 0
    for moment in recording.moments(12, rng):
        shutil.rmtree(work, ignore_errors=True)
        recording.image(moment, "dropped", rng, careless="-wal").write(work)
        gone += len(lost(work, recording.acknowledged(moment)))
    assert gone > 0
