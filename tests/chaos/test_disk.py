"""Disks that fill up, cannot be written, or have lost their mind: one clear line, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.agents.cli_kit import until
from tests.chaos.chaos_kit import FULL, SCANS, Workload, document, done, idds, lost, physics, violations

LARGE = SCANS / "large_scan.py"
WORKLOAD = Workload("large_scan.py")
Mount = Callable[[str], Path]
#: the engine looks for space itself before a disk is full; not here
LATE = {"IDDS_MIN_FREE_BYTES": "0"}


def call(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return done(idds(*arguments), *range(5), **{**LATE, **environment})


def run(workdir: Path, *more: object, **environment: str) -> subprocess.CompletedProcess[str]:
    command = WORKLOAD.run(workdir, "--slots", "2", *more, told=told_file(workdir))
    return done(command, *range(5), **{**LATE, **environment})


def told_file(workdir: Path) -> Path:
    """Where is told what was acknowledged: never on the disk that is full."""
    return workdir.parents[1] / "told"


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    workdir = tmp_path_factory.mktemp("calm") / "disk" / "work"
    assert run(workdir).returncode == 2
    return workdir


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


def one_line(ran: subprocess.CompletedProcess[str], code: str) -> str:
    """The only line of complaint is that one."""
    said = [line for line in (ran.stdout + ran.stderr).splitlines() if "E-" in line and "W-" not in line]
    assert len(said) == 1, ran.stdout + ran.stderr
    assert code in said[0]
    assert "Traceback" not in ran.stderr
    return said[0]


def seen(workdir: Path, what: str) -> None:
    """It is said by all that tell how a run stands."""
    for verb in ("show", "why"):
        assert what in call(verb, "large", "--workdir", workdir, IDDS_MIN_FREE_BYTES="1000000").stdout, verb


def ends_the_same(workdir: Path, calm: Path, before: list[tuple[object, ...]]) -> None:
    """The same command goes on, and nothing that had ended is another."""
    call("resume", "large", "--workdir", workdir)
    again = run(workdir)
    assert again.returncode == 2, again.stderr
    after = physics(workdir)
    assert [row for row in before if row not in after] == []
    assert after == physics(calm)
    assert lost(workdir, told_file(workdir)) == []
    assert violations(workdir) == {}


def ended(workdir: Path) -> list[tuple[object, ...]]:
    return [row for row in physics(workdir) if row[3] != "open"]


@pytest.mark.parametrize("size", ["5m", "6500k", "9m"] if FULL else ["6500k"])
def test_a_disk_that_is_full_loses_nothing_and_the_scan_ends_the_same(mount: Mount, calm: Path, size: str) -> None:
    disk = mount(f"size={size}")
    full = run(disk / "work")
    assert full.returncode == 3
    one_line(full, "E-DISK-002" if "E-DISK-002" in full.stdout + full.stderr else "E-STORE-002")
    seen(disk / "work", f"MB are free in {disk}/work")
    before = ended(disk / "work")
    mount("size=200m")
    ends_the_same(disk / "work", calm, before)


def test_a_disk_that_fills_up_holds_the_loop_while_there_is_room_to_say_so(mount: Mount, calm: Path) -> None:
    disk = mount("size=30m")
    (disk / "other").write_bytes(bytes(22_000_000))  # somebody else's
    full = run(disk / "work", IDDS_MIN_FREE_BYTES="10000000")
    assert full.returncode == 3
    line = one_line(full, "E-DISK-001 only ")
    assert f"MB are free in {disk}/work (limit 10 MB). Free some space, then 'resume'." in line
    seen(disk / "work", "E-DISK-001 only ")
    assert document("show", "large", "--workdir", disk / "work")["state"] == "held"
    (disk / "other").unlink()
    ends_the_same(disk / "work", calm, [])


def test_outputs_that_cannot_be_written_hold_the_loop_though_the_database_could_be(
    mount: Mount, tmp_path: Path, calm: Path
) -> None:
    work = mount("size=6m") / "work"
    full = run(work, "--database", tmp_path / "fine" / "scan.db")
    assert full.returncode == 3
    assert f"({work}/large/large/it/" in one_line(full, "E-DISK-002 ")
    (work / "idds.db").symlink_to(tmp_path / "fine" / "scan.db")  # where the tests look
    seen(work, "E-DISK-002 ")
    before = ended(work)
    mount("size=200m")
    ends_the_same(work, calm, before)


def test_a_database_whose_disk_is_full_ends_a_detached_run_with_a_line_in_its_log(
    mount: Mount, tmp_path: Path, calm: Path
) -> None:
    disk, work = mount("size=700k"), tmp_path / "fine" / "work"
    file = disk / "scan.db"
    done(idds("run", LARGE, "--workdir", work, "--database", file, "--seed", "5", "--detach"), 0, 2, 3, **LATE)
    log = work / "run.log"
    until(lambda: "E-STORE-002" in log.read_text(), "the line in the log")
    (line,) = [line for line in log.read_text().splitlines() if "E-" in line]
    assert f"({file})" in line
    assert "nothing acknowledged was lost" in line
    (work / "idds.db").symlink_to(file)
    seen(work, f"MB are free in {disk}")
    before = ended(work)
    mount("size=200m")
    ends_the_same(work, calm, before)


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
        ran = call(verb, *([] if verb == "verify" else ["large"]), "--workdir", disk / "work")
        assert ran.returncode == 0, ran.stderr


def test_doctor_and_why_name_a_disk_that_became_read_only(mount: Mount) -> None:
    disk = mount("size=100m")
    assert run(disk / "work").returncode == 2
    assert call("db", "backup", disk / "copy.db", "--workdir", disk / "work").returncode == 0
    raw = sqlite3.connect(disk / "work" / "idds.db")  # as if it had not concluded
    raw.execute("UPDATE loop SET state = 'active', ended = NULL")
    raw.commit()
    reader = sqlite3.connect(f"file:{disk / 'work' / 'idds.db'}?mode=ro", uri=True)
    reader.execute("SELECT 1 FROM loop").fetchall()
    raw.close()
    reader.close()  # the last one to close could not write: the log stays, and others can still read
    mount("ro")
    told = call("doctor", "--workdir", disk / "work")
    assert told.returncode == 3
    assert "store is writable: E-STORE-004" in told.stdout
    assert "cannot be written - mend its permissions, or the disk's" in told.stdout
    assert "read-only" in call("why", "--workdir", disk / "work", "--json").stdout
    refused = call("db", "backup", disk / "other.db", "--workdir", disk / "work")
    assert refused.returncode == 3
    one_line(refused, "E-DB-001")


def test_a_backup_on_a_disk_that_is_full_leaves_nothing(mount: Mount, tmp_path: Path) -> None:
    assert run(tmp_path / "work").returncode == 2
    disk = mount("size=100k")
    refused = call("db", "backup", disk / "copy.db", "--workdir", tmp_path / "work")
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
    ran = run(work) if verb == "run" else call(verb, *wanted.get(verb, ["large"]), "--workdir", work)
    assert ran.returncode == 3
    one_line(ran, "E-STORE-003")
