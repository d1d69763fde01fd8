"""A receiver of messages behind a bad network: all is told, at least once and in order, and the run goes its way."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from idds_agents.postman import Postman
from idds_agents.targets import read_targets
from idds_core.states import LoopState
from idds_core.testing.fakes import ScriptedProvider
from tests.chaos.chaos_kit import FULL, SCANS, done, idds
from tests.chaos.proxy import Faults, Proxy
from tests.world import World, honest

ROUNDS = 30 if FULL else 6
FAULTS = [
    Faults(refuse=True),
    Faults(cut_within=300),
    Faults(half_close_within=300),
    Faults(delay_s=0.02, bytes_per_s=50_000),
    Faults(cut_within=3000, half_close_within=1000),
]


class Receiver:
    """An HTTP server that takes what it gets."""

    def __init__(self) -> None:
        self.titles: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                with contextlib.suppress(OSError, ValueError):
                    body = self.rfile.read(int(self.headers["Content-Length"]))
                    outer.titles.append(str(json.loads(body)["title"]))  # half a message is none
                    self.send_response(200)
                    self.send_header("Content-Length", "0")
                    self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        self.address = ("127.0.0.1", int(self._server.server_address[1]))
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.close()


@pytest.fixture
def proxy(receiver: Receiver) -> Iterator[Proxy]:
    with Proxy(receiver.address, seed=8) as made:
        yield made


def url(proxy: Proxy) -> str:
    # the library waits four seconds for a receiver; here less will do
    return f"json://{proxy.address[0]}:{proxy.address[1]}/?cto=1.0&rto=0.5"


def firsts(titles: list[str]) -> list[str]:
    """Each message when it was first heard."""
    return list(dict.fromkeys(titles))


def test_messages_pass_a_bad_network_at_least_once_and_in_order(
    tmp_path: Path, receiver: Receiver, proxy: Proxy
) -> None:
    world = World(tmp_path, ScriptedProvider(honest))
    postman = Postman(world.store, read_targets([url(proxy)]))
    wanted = []
    for number in range(ROUNDS):
        proxy.faults = FAULTS[number % len(FAULTS)]
        for each in range(3):
            wanted.append(f"{number}.{each}")
            world.store.outbox.put(f"subject {wanted[-1]}", "held", wanted[-1], "x" * 500)
        for _ in range(3):
            postman.dispatch()
            assert postman._idle.wait(60)
            with world.store.transaction():
                postman.collect()
            world.clock.advance(5)
        assert firsts(receiver.titles) == wanted[: len(set(receiver.titles))]  # so far
    proxy.faults = Faults()
    while world.store.outbox.waiting(world.store.outbox.targets):
        world.clock.advance(3600)
        postman.dispatch()
        assert postman._idle.wait(60)
        with world.store.transaction():
            postman.collect()
    assert firsts(receiver.titles) == wanted


def test_a_receiver_that_hangs_keeps_no_other_waiting(tmp_path: Path) -> None:
    world = World(tmp_path, ScriptedProvider(honest))
    hangs, heard = threading.Event(), threading.Event()
    got = []

    def hanging(_title: str, _body: str) -> bool:
        return hangs.wait(60)

    def fine(title: str, _body: str) -> bool:
        got.append(title)
        if len(got) == 50:
            heard.set()
        return True

    postman = Postman(world.store, {"hanging": hanging, "fine": fine})
    for number in range(50):
        world.store.outbox.put(f"subject {number}", "held", str(number), "")
    assert not postman.finish(0.0)
    while not heard.is_set():
        with world.store.transaction():
            postman.collect()
        postman.dispatch()
    assert got == [str(number) for number in range(50)]
    hangs.set()
    assert world.run().state is LoopState.EXHAUSTED


def test_a_run_whose_receiver_hangs_ends_by_itself_and_the_next_call_tells(
    tmp_path: Path, receiver: Receiver, proxy: Proxy
) -> None:
    run = idds("run", SCANS / "large_scan.py", "--workdir", tmp_path / "work", "--set", "max_points=3", "--quiet",
               "--notify", "env:TEAM")  # fmt: skip
    proxy.faults = Faults(stall=True)
    ended = done(run, 2, TEAM=url(proxy))
    assert "E-" not in ended.stderr
    assert receiver.titles == []
    proxy.faults = Faults()
    done(run, 2, TEAM=url(proxy))
    assert firsts(receiver.titles) == ["large: FINISHED"]
    done(idds("verify", "--workdir", tmp_path / "work"))
