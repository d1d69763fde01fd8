"""Messages to the outside: written with what makes them true, delivered at least once, never in the way."""

from __future__ import annotations

import http.server
import itertools
import json
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from idds_agents.conductor import Conductor
from idds_agents.postman import Postman
from idds_agents.targets import name_of, read_targets
from idds_core.errors import DefinitionError
from idds_core.ports import JobSpec
from idds_core.states import LoopState
from idds_core.testing.fakes import ScriptedProvider, failure
from tests.agents.cli_kit import Cli, Runs
from tests.world import World, honest, toy


class Target:
    """Takes messages, but for the first `fails`; says when it has been asked."""

    def __init__(self, fails: int = 0, error: Exception | None = None) -> None:
        self.fails, self.error = fails, error
        self.got: list[tuple[str, str]] = []
        self.asked = 0
        self.heard = threading.Event()

    def __call__(self, title: str, body: str) -> bool:
        self.asked += 1
        self.heard.set()
        if self.asked <= self.fails:
            if self.error is not None:
                raise self.error
            return False
        self.got.append((title, body))
        return True


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., World]:
    def _make(script: Any = honest, definition: Any = None) -> World:
        return World(tmp_path, ScriptedProvider(script), definition)

    return _make


def employ(world: World, **targets: Target) -> Postman:
    """A postman for the world; its conductor has him."""
    postman = Postman(world.store, targets)
    world.conductor = Conductor(world.store, world.carrier._catalog, postman)
    return postman


def rows(world: World) -> list[Any]:
    with world.store.reading() as connection:
        query = "SELECT target, kind, tries, done IS NOT NULL, answer FROM outbox ORDER BY id"
        return [tuple(row) for row in connection.exec_driver_sql(query)]


def test_without_targets_nothing_is_written(make: Callable[..., World]) -> None:
    world = make()
    world.run()
    assert rows(world) == []


def test_the_end_of_a_run_is_told_once_to_each_target(make: Callable[..., World]) -> None:
    world = make()
    one, two = Target(), Target()
    postman = employ(world, one=one, two=two)
    assert world.run().state is LoopState.EXHAUSTED
    assert postman.finish(10)
    assert postman.finish(10)
    assert len(one.got) == len(two.got) == 1
    title, body = one.got[0]
    assert title == "toy: FINISHED"
    assert body.splitlines()[:2] == ["12 of 12 points", "toy: EXHAUSTED, points: 12 MEASURED"]


def test_a_loop_that_the_engine_holds_is_told_and_how_to_go_on(make: Callable[..., World]) -> None:
    def script(spec: JobSpec) -> Any:
        return failure("the licence server is away")

    world = make(script, toy(points=12, batch=12, hold_after=3))
    target = Target()
    postman = employ(world, chat=target)
    world.run()
    assert world.loop.state is LoopState.HELD
    postman.finish(10)
    (held,) = [(title, body) for title, body in target.got if "held" in title]
    assert held[0] == "toy/toy: held"
    assert "E-LOOP-001" in held[1]
    assert "idds-core resume toy" in held[1]
    world.store.workflows.command(world.workflow.id, "resume", "me")
    world.run()
    postman.finish(10)
    assert len([title for title, _ in target.got if "held" in title]) == 2  # held again is news again


def test_what_a_person_holds_is_no_news(make: Callable[..., World]) -> None:
    world = make()
    postman = employ(world, chat=Target())
    world.turn()
    world.store.workflows.command(world.workflow.id, "hold", "me")
    world.turn()
    assert world.loop.state is LoopState.HELD
    assert postman.finish(1)
    assert rows(world) == []


def test_failing_often_is_told_once(make: Callable[..., World]) -> None:
    count = 0

    def script(spec: JobSpec) -> Any:
        nonlocal count
        count += 1
        return failure(f"reason {'abcdefghij'[count % 10] * (count % 7 + 1)}") if count % 2 else honest(spec)

    world = make(script, toy(points=40, batch=10, hold_after=1000))
    target = Target()
    postman = employ(world, chat=target)
    world.run()
    postman.finish(10)
    often = [title for title, _ in target.got if "have ended failed" in title]
    assert len(often) == 1


@pytest.mark.parametrize("error", [None, ConnectionError("no route"), KeyError("a bug of the library")])
def test_a_failing_target_is_tried_again_with_growing_pauses(
    make: Callable[..., World], error: Exception | None
) -> None:
    world = make()
    broken, fine = Target(fails=3, error=error), Target()
    postman = employ(world, broken=broken, fine=fine)
    assert world.run().state is LoopState.EXHAUSTED  # nothing of it stops the run
    pauses = []
    for _ in range(200):
        postman.dispatch()
        assert postman._idle.wait(10)
        with world.store.transaction():
            if postman.collect():
                pauses.append(world.clock())
        if not world.store.outbox.waiting(["broken", "fine"]):
            break
        world.clock.advance(0.5)
    assert len(broken.got) == len(fine.got) == 1
    steps = [b - a for a, b in itertools.pairwise(pauses)]
    assert steps == [1.0, 2.0, 4.0]
    assert [row[2:4] for row in rows(world)] == [(4, 1), (1, 1)]


def test_a_message_is_given_up_after_days(make: Callable[..., World]) -> None:
    world = make()
    postman = employ(world, dead=Target(fails=10**6))
    world.run()
    for _ in range(200):
        postman.dispatch()
        assert postman._idle.wait(10)
        with world.store.transaction():
            postman.collect()
        world.clock.advance(3600)
    assert rows(world) == [("dead", "concluded", rows(world)[0][2], 1, "given up: the target did not take it")]
    assert 70 < rows(world)[0][2] < 100


def test_a_kill_between_the_record_and_the_delivery_loses_nothing(make: Callable[..., World]) -> None:
    world = make()
    employ(world, chat=Target())
    world.run()
    assert rows(world) == [("chat", "concluded", 0, 0, None)]  # on record with the end of the run, and not sent
    world.restart()
    lost = Target()
    killed = Postman(world.store, {"chat": lost})
    killed.dispatch()
    assert lost.heard.wait(10)  # told, and dead before it was written down
    world.restart()
    target = Target()
    assert Postman(world.store, {"chat": target}).finish(10)
    assert len(target.got) == 1  # at least once
    assert world.violations() == {}


def test_what_is_rolled_back_is_not_told(make: Callable[..., World]) -> None:
    world = make()
    employ(world, chat=Target())
    with pytest.raises(ZeroDivisionError), world.store.transaction():
        world.store.workflows.move_loop(world.loop, LoopState.HELD, "E-DISK-001", "engine")
        raise ZeroDivisionError
    assert rows(world) == []


# ---------------------------------------------------------------------- targets
def test_a_reference_stands_for_itself_and_a_url_for_a_fingerprint(tmp_path: Path, monkeypatch: Any) -> None:
    file = tmp_path / "target"
    file.write_text("json://me:s3cret@localhost:1/x\n", encoding="utf-8")
    file.chmod(0o600)
    monkeypatch.setenv("TEAM", "json://me:s3cret@localhost:1/y")
    found = read_targets([f"file:{file}", "env:TEAM", "json://me:s3cret@localhost:1/z"])
    assert list(found)[:2] == [f"file:{file}", "env:TEAM"]
    assert "s3cret" not in "".join(found)
    assert list(found)[2] == name_of("json://me:s3cret@localhost:1/z")


@pytest.mark.parametrize(
    ("target", "code"),
    [("env:NOT_THERE", "E-NOTIFY-002"), ("file:/not/there", "E-NOTIFY-002"), ("file:open", "E-NOTIFY-002"),
     ("nothing://s3cret", "E-NOTIFY-003"), ("s3cret", "E-NOTIFY-003")],
)  # fmt: skip
def test_a_target_that_cannot_be_used_is_refused_without_its_secret(
    target: str, code: str, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "open").write_text("json://me:s3cret@localhost", encoding="utf-8")
    (tmp_path / "open").chmod(0o644)
    with pytest.raises(DefinitionError) as caught:
        read_targets([target])
    assert caught.value.code == code
    assert "me:s3cret" not in str(caught.value)


# ---------------------------------------------------------------------- the real thing
class Server:
    """An HTTP server that refuses the first requests."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.asked = self.refuses = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.asked += 1
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if outer.asked > outer.refuses:
                    outer.got.append({**json.loads(body), "auth": self.headers["Authorization"]})
                self.send_response(200 if outer.asked > outer.refuses else 503)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def test_a_run_tells_a_server_that_fails_first_and_no_secret_is_on_record(
    cli: Cli, runs: Runs, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.refuses = 1
    monkeypatch.setenv("TEAM_CHAT", f"json://me:s3cret@127.0.0.1:{server.port}/")
    done = runs.run("cube", "--notify", "env:TEAM_CHAT").wait()
    assert (done.code, done.err) == (2, "")
    (told,) = server.got
    assert server.asked == 2
    assert told["title"] == "cube: FINISHED"
    assert told["message"].startswith("6 of 6 points\ncube: EXHAUSTED, points: 6 MEASURED")
    assert told["auth"].startswith("Basic ")
    for folder, _, files in os.walk(runs.folder / "cube-run"):
        for file in files:
            assert b"s3cret" not in Path(folder, file).read_bytes(), file
    assert "s3cret" not in done.out
    wrong = cli("run", runs.scan("cube"), "--notify", "env:NOT_THERE", "--workdir", "other")
    assert (wrong.code, wrong.err.split()[0]) == (4, "E-NOTIFY-002")
    assert not Path("other").exists()


def test_without_the_library_there_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "apprise", None)
    with pytest.raises(DefinitionError, match="E-NOTIFY-001"):
        read_targets(["json://localhost"])
