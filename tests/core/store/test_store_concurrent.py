"""Several agents write to one PostgreSQL store at once: nothing is done twice, nothing is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from idds_core.errors import StoreError
from idds_core.store import Store
from idds_core.testing.fakes import ManualClock
from tests.core.store.test_store import claim, done, four_points, violations
from tests.stores import by_hand, empty, reopened
from tests.world import toy

pytestmark = pytest.mark.service


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def store(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    opened = empty("postgres", tmp_path / "idds.db", clock)
    yield opened
    opened.close()


@pytest.fixture
def loop_id(store: Store) -> int:
    return four_points(store)


def together(store: Store, *works: Callable[[Store], Any]) -> list[Any]:
    """Each work by an agent of its own, all at once; what it returned, or the error it raised."""
    answers: list[Any] = [None] * len(works)
    gate = threading.Barrier(len(works))

    def run(number: int, work: Callable[[Store], Any]) -> None:
        own = reopened(store)
        try:
            gate.wait()
            answers[number] = work(own)
        except StoreError as error:
            answers[number] = error
        finally:
            own.close()

    threads = [threading.Thread(target=run, args=pair) for pair in enumerate(works)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def more_points(store: Store, loop_id: int, number: int, count: int) -> None:
    points = [{"x": i / count, "y": number / 100} for i in range(count)]
    first = len(store.iterations.points(loop_id)) + 1
    store.iterations.add(loop_id, toy().workflow.loops[0], number, points, count, first)


def test_agents_that_claim_at_once_never_take_the_same_job(store: Store, loop_id: int) -> None:
    more_points(store, loop_id, 2, 196)
    taken: list[int] = []

    def take(name: str) -> Callable[[Store], list[int]]:
        def work(own: Store) -> list[int]:
            mine: list[int] = []
            while found := claim(own, loop_id, 7, name):
                mine.extend(c.job_id for c in found)
            return mine

        return work

    for answer in together(store, *[take(f"carrier-{i}") for i in range(6)]):
        taken.extend(answer)
    assert len(taken) == len(set(taken)) == 200
    assert violations(store) == {}


def test_of_agents_that_report_the_same_end_one_is_believed(store: Store, loop_id: int) -> None:
    claims = claim(store, loop_id)
    answers = together(store, *[lambda own: own.jobs.finish([done(c) for c in claims], "me") for _ in range(4)])
    fresh = [o.claim.job_id for answer in answers if not isinstance(answer, StoreError) for o in answer]
    assert sorted(fresh) == sorted(c.job_id for c in claims)
    assert violations(store) == {}


def test_of_agents_that_write_the_same_iteration_one_does(store: Store, loop_id: int) -> None:
    answers = together(store, *[lambda own: more_points(own, loop_id, 2, 3) for _ in range(4)])
    assert sorted(str(a)[:11] for a in answers) == ["E-STORE-014"] * 3 + ["None"]
    assert len(store.iterations.points(loop_id)) == 7
    assert violations(store) == {}


def test_an_iteration_is_closed_once_and_keeps_what_was_frozen(store: Store, loop_id: int, clock: ManualClock) -> None:
    for _ in range(2):
        claims = claim(store, loop_id)
        store.jobs.finish([done(c, last=c.step == "measure") for c in claims], "me")
        store.jobs.release("conductor")
    answers = together(store, *[lambda own: own.iterations.close_finished(loop_id, clock()) for _ in range(4)])
    assert sorted(answers) == [0, 0, 0, 1]


def test_counters_add_up_while_agents_write_and_seal(store: Store, loop_id: int) -> None:
    more_points(store, loop_id, 2, 96)

    def work(own: Store) -> None:
        while found := claim(own, loop_id, 3, "carrier"):
            own.jobs.finish([done(c) for c in found], "carrier")

    def seal(own: Store) -> None:
        for _ in range(30):
            own.audit.seal()

    answers = together(store, work, work, work, seal)
    assert [a for a in answers if isinstance(a, StoreError)] == []
    assert store.counters(loop_id)["attempts"] == 100
    assert violations(store) == {}


def test_text_that_the_database_cannot_hold_is_told_by_a_mark(store: Store, loop_id: int) -> None:
    (claimed,) = claim(store, loop_id, 1)
    store.jobs.submitted({claimed.attempt.id: "odd\0\ud800 \U0001f600 handle"}, "me")
    workflow = store.workflows.loop(loop_id).workflow_id
    store.workflows.command(workflow, "hold", "me\0", {"why": "a\0b \ud83d \U0001f600 \\u0000"})
    (command,) = store.workflows.open_commands()
    assert (command.actor, command.arguments) == ("me\ufffd", {"why": "a\ufffdb \ufffd \U0001f600 \\u0000"})


def test_a_server_that_may_lose_what_it_acknowledged_is_refused(store: Store) -> None:
    from idds_core.store import open_store

    with pytest.raises(StoreError, match=r"^E-STORE-013 .*fsync is off.*durability"):
        open_store(str(store.address))


def test_a_server_that_does_not_answer_is_one_line_without_the_password() -> None:
    from idds_core.store import open_store

    with pytest.raises(StoreError, match=r"^E-STORE-015 the database does not answer") as error:
        open_store("postgresql://me:secret@127.0.0.1:1/scans")
    assert "secret" not in str(error.value)
    assert len(str(error.value).splitlines()) == 1


def test_times_are_those_of_the_database(store: Store) -> None:
    from idds_core.store import open_store

    own = open_store(str(store.address), durability="normal")
    ((theirs,),) = by_hand(store, "SELECT extract(epoch FROM clock_timestamp())::float8")
    assert abs(own.now() - theirs) < 60
    own.close()
