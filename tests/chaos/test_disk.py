"""Disks that fill up, cannot be written, or have lost their mind: one clear line, and nothing acknowledged is lost."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

LARGE = Path(__file__).parent / "scan" / "large_scan.py"
Mount = Callable[[str], Path]


def idds(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "IDDS_MIN_FREE_BYTES": "0"}
    command = [sys.executable, "-m", "idds_agents", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment)


def run(workdir: Path) -> subprocess.CompletedProcess[str]:
    return idds("run", LARGE, "--workdir", workdir, "--quiet", "--slots", "2")


def points(workdir: Path) -> dict[int, tuple[str, ...]]:
    with contextlib.closing(sqlite3.connect(workdir / "idds.db")) as raw:
        rows = raw.execute("SELECT number, parameters, state, observation FROM point").fetchall()
    return {row[0]: row[1:] for row in rows}


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a tmpfs with options, or changes the options of the one there is."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted: list[str] = []

    def _mount(options: str) -> Path:
        again = ["-o", f"remount,{options}"] if mounted else ["-o", options]
        done = subprocess.run(["mount", "-t", "tmpfs", *again, "none", str(folder)], capture_output=True)
        if os.geteuid() != 0 or done.returncode != 0:
            if os.environ.get("CI"):
                pytest.fail("a small tmpfs cannot be mounted")
            pytest.skip("needs root and the right to mount a tmpfs")
        mounted.append(options)
        return folder

    yield _mount
    if mounted:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def one_line(ran: subprocess.CompletedProcess[str], code: str) -> None:
    """The only line of complaint is that one."""
    said = [line for line in (ran.stdout + ran.stderr).splitlines() if "E-" in line]
    assert len(said) == 1, ran.stdout + ran.stderr
    assert code in said[0]
    assert "Traceback" not in ran.stderr


@pytest.mark.parametrize("size", ["5m", "6500k", "9m"])
def test_a_disk_that_is_full_loses_nothing_and_the_scan_ends_the_same(mount: Mount, tmp_path: Path, size: str) -> None:
    assert run(tmp_path / "undisturbed").returncode == 2
    disk = mount(f"size={size}")
    full = run(disk / "work")
    assert full.returncode == 3
    one_line(full, "E-DISK-002" if "E-DISK-002" in full.stdout + full.stderr else "E-STORE-002")
    mount("size=200m")
    before = {n: p for n, p in points(disk / "work").items() if p[1] != "open"}
    idds("resume", "large", "--workdir", disk / "work")
    again = run(disk / "work")
    assert again.returncode == 2, again.stderr
    after = points(disk / "work")
    assert before.items() <= after.items()
    assert after == points(tmp_path / "undisturbed")
    verified = idds("verify", "--workdir", disk / "work")
    assert verified.returncode == 0, verified.stdout


def test_a_folder_that_is_read_only_is_one_clear_line(mount: Mount) -> None:
    disk = mount("size=20m")
    mount("ro")
    refused = run(disk / "work")
    assert refused.returncode == 3
    one_line(refused, "E-WORKDIR-001")


def test_a_finished_scan_on_a_read_only_disk_can_still_be_read(mount: Mount) -> None:
    disk = mount("size=100m")
    assert run(disk / "work").returncode == 2
    mount("ro")
    for verb in ("show", "verify", "ls"):
        ran = idds(verb, *([] if verb == "verify" else ["large"]), "--workdir", disk / "work")
        assert ran.returncode == 0, ran.stderr


def test_doctor_and_why_name_a_disk_that_became_read_only(mount: Mount) -> None:
    disk = mount("size=100m")
    assert run(disk / "work").returncode == 2
    assert idds("db", "backup", disk / "copy.db", "--workdir", disk / "work").returncode == 0
    raw = sqlite3.connect(disk / "work" / "idds.db")  # as if it had not concluded
    raw.execute("UPDATE loop SET state = 'active', ended = NULL")
    raw.commit()
    reader = sqlite3.connect(f"file:{disk / 'work' / 'idds.db'}?mode=ro", uri=True)
    reader.execute("SELECT 1 FROM loop").fetchall()
    raw.close()
    reader.close()  # the last one to close could not write: the log stays, and others can still read
    mount("ro")
    told = idds("doctor", "--workdir", disk / "work")
    assert told.returncode == 3
    assert "store is writable: E-STORE-004" in told.stdout
    assert "cannot be written - mend its permissions, or the disk's" in told.stdout
    assert "read-only" in idds("why", "--workdir", disk / "work", "--json").stdout
    refused = idds("db", "backup", disk / "other.db", "--workdir", disk / "work")
    assert refused.returncode == 3
    one_line(refused, "E-DB-001")


def test_a_backup_on_a_disk_that_is_full_leaves_nothing(mount: Mount, tmp_path: Path) -> None:
    assert run(tmp_path / "work").returncode == 2
    disk = mount("size=100k")
    refused = idds("db", "backup", disk / "copy.db", "--workdir", tmp_path / "work")
    assert refused.returncode == 3
    one_line(refused, "E-DB-001")
    assert list(disk.iterdir()) == []


@pytest.mark.parametrize("verb", ["run", "show", "verify", "predict", "logs"])
def test_a_damaged_database_is_one_clear_line(tmp_path: Path, verb: str) -> None:
    work = tmp_path / "work"
    assert run(work).returncode == 2
    size = (work / "idds.db").stat().st_size
    with (work / "idds.db").open("r+b") as file:
        file.write(b"\x00" * min(size, 8192))
    for extra in ("idds.db-wal", "idds.db-shm"):
        (work / extra).unlink(missing_ok=True)
    (tmp_path / "p.csv").write_text("x\n0.5\n")
    wanted: dict[str, list[str | Path]] = {"predict": ["large", "--points", tmp_path / "p.csv"], "verify": []}
    ran = run(work) if verb == "run" else idds(verb, *wanted.get(verb, ["large"]), "--workdir", work)
    assert ran.returncode == 3
    one_line(ran, "E-STORE-003")
