"""The lock where several machines see the folder, and what tells such a folder."""

from __future__ import annotations

import json
import os
import threading
from pathlib import Path
from typing import Any

import pytest

from idds_core.errors import StoreError
from idds_core.runner import processes
from idds_core.states import LoopState
from idds_core.store import open_store
from idds_core.store.filesystem import is_network, kind_of
from idds_core.store.lease import HeartbeatLock, time_of
from tests.world import toy


class Server:
    """A file server with a clock of its own; each heartbeat is stamped by it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.time = 5_000_000.0  # far from any machine's clock

    def now(self, folder: Path) -> float:
        return self.time

    def machine(self, name: str) -> HeartbeatLock:
        """A process on another machine: its heartbeats come only when it is told."""
        who = {**processes.identity(os.getpid()), "host": name, "boot": f"boot of {name}"}
        return Machine(self, lambda _: who)


class Machine(HeartbeatLock):
    def __init__(self, server: Server, who: Any) -> None:
        super().__init__(server.folder, server.now, who, beat=1e6)
        self.server = server

    def acquire(self) -> bool:
        taken = super().acquire()
        return taken and self.heartbeat()

    def heartbeat(self) -> bool:
        if not super().heartbeat():
            return False
        assert self._mine is not None
        os.utime(self._mine, (self.server.time, self.server.time))
        return True


@pytest.fixture
def server(tmp_path: Path) -> Server:
    return Server(tmp_path)


def test_one_of_two_machines_has_it(server: Server) -> None:
    one, two = server.machine("one"), server.machine("two")
    assert one.acquire()
    assert not two.acquire()
    assert two.taken()
    assert "on one, last heard 0 s ago; it can be followed 60 s after" in two.holder()
    one.release()
    assert not two.taken()
    assert two.acquire()
    assert not one.acquire()


def test_a_heartbeat_that_goes_on_keeps_it_and_one_that_stopped_loses_it(server: Server) -> None:
    one, two = server.machine("one"), server.machine("two")
    assert one.acquire()
    for _ in range(10):
        server.time += 50
        assert one.heartbeat()
        assert not two.acquire()
    server.time += 59
    assert not two.acquire()
    server.time += 2
    assert two.acquire()
    assert not one.heartbeat()  # it wakes up
    assert one.lost
    one.release()  # and takes nothing with it
    assert server.machine("three").taken()
    assert two.heartbeat()


def test_of_many_that_follow_exactly_one_does(server: Server) -> None:
    dead = server.machine("dead")
    assert dead.acquire()
    server.time += 100
    locks = [server.machine(f"m{i}") for i in range(16)]
    start = threading.Barrier(16)
    won: list[int] = []

    def follow(i: int) -> None:
        start.wait()
        if locks[i].acquire():
            won.append(i)

    threads = [threading.Thread(target=follow, args=(i,)) for i in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1


def test_a_process_that_died_on_this_machine_is_followed_at_once(server: Server) -> None:
    gone = {**processes.identity(os.getpid()), "start": 1}
    assert Machine(server, lambda _: gone).acquire()
    assert HeartbeatLock(server.folder, server.now).acquire()


def test_a_claim_that_is_being_written_is_taken(server: Server) -> None:
    (server.folder / "engine.lease.00000007").touch()
    os.utime(server.folder / "engine.lease.00000007", (server.time, server.time))
    two = server.machine("two")
    assert not two.acquire()
    server.time += 61  # it died half-way
    assert two.acquire()
    assert [p.name for p in server.folder.glob("engine.lease.*")] == ["engine.lease.00000008"]


def test_the_time_is_that_of_the_file_system(tmp_path: Path) -> None:
    probe = tmp_path / "x"
    probe.touch()
    assert abs(time_of(tmp_path) - probe.stat().st_mtime) < 60
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_the_heartbeat_goes_on_by_itself(tmp_path: Path) -> None:
    lock = HeartbeatLock(tmp_path, beat=0.01)
    assert lock.acquire()
    path = tmp_path / "engine.lease.00000001"
    os.utime(path, (1.0, 1.0))
    tick = threading.Event()
    for _ in range(500):
        if path.stat().st_mtime > 1.0:
            break
        tick.wait(0.01)
    assert path.stat().st_mtime > 1.0
    lock.release()
    assert json.loads(path.read_text())["released"] is True


# ---------------------------------------------------------------------- the fence
def test_who_was_followed_writes_no_more(tmp_path: Path) -> None:
    slept = open_store(tmp_path / "idds.db", journal="delete")
    slept.own("first")
    workflow = slept.workflows.add(toy(), "bundle", 7)
    awake = open_store(tmp_path / "idds.db", journal="delete")
    awake.own("second")
    loop = awake.workflows.loops(workflow.id)[0]
    with pytest.raises(StoreError, match="E-ENGINE-003 another engine has taken over this folder"):
        slept.workflows.move_loop(loop, LoopState.HELD, "I am late", "engine")
    assert awake.workflows.loop(loop.id).state is LoopState.ACTIVE
    assert awake.workflows.move_loop(loop, LoopState.HELD, "I am here", "engine")
    other = open_store(tmp_path / "idds.db", journal="delete")  # another terminal: not an engine, not fenced
    assert other.workflows.command(workflow.id, "resume", "me")
    for store in (slept, awake, other):
        store.close()


@pytest.mark.parametrize("journal", ["wal", "delete"])
def test_the_journal_is_as_asked(tmp_path: Path, journal: Any) -> None:
    for asked in ("wal", journal):  # also when it was another one before
        store = open_store(tmp_path / "idds.db", journal=asked)
        with store.reading() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == asked
            level = connection.exec_driver_sql("PRAGMA synchronous").scalar()
            assert level == {"wal": 2, "delete": 3}[asked]
        store.close()
    assert not (tmp_path / "idds.db-wal").exists()


# ---------------------------------------------------------------------- what a folder is on
TABLE = (
    "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/root rw\n"
    "23 22 0:40 / /home rw shared:2 - nfs4 server:/export/home rw,vers=4.2\n"
    "24 22 0:41 / /home/me/my\\040disk rw - ext4 /dev/sdb1 rw\n"
    "25 22 0:42 / /lustre rw - lustre mgs:/fs rw\n"
    "26 22 0:43 / /far rw - fuse.sshfs me@there: rw\n"
    "27 22 0:44 / /over rw - ext4 /dev/sdc rw\n"
    "28 22 0:45 / /over rw - cifs //server/share rw\n"
    "a line that is none\n"
)


@pytest.mark.parametrize(
    ("path", "kind", "network"),
    [("/home/me/run", "nfs4", True), ("/home", "nfs4", True), ("/homestead", "ext4", False),
     ("/home/me/my disk/run", "ext4", False), ("/lustre/a/b", "lustre", True), ("/far/x", "fuse.sshfs", True),
     ("/over/x", "cifs", True), ("/", "ext4", False)],
)  # fmt: skip
def test_the_nearest_mount_tells(path: str, kind: str, network: bool) -> None:
    found = kind_of(Path(path), lambda: TABLE)
    assert (found, is_network(found)) == (kind, network)


def test_what_is_not_known_is_not_a_network() -> None:
    assert not is_network(kind_of(Path("/x"), lambda: ""))
    assert kind_of(Path("/")) != ""
