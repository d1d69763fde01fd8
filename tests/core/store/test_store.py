"""The store keeps its promises: one door, compare-and-set, one result, nothing half."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from idds_core.binding import Given
from idds_core.errors import IddsError, StoreError
from idds_core.ports import Failure
from idds_core.states import AttemptState, FailureClass, JobState, PointState, Wish
from idds_core.store import Claim, Outcome, Store
from idds_core.store.tables import metadata
from idds_core.testing.fakes import ManualClock
from tests.stores import BOTH, by_hand, empty, reopened
from tests.world import toy

RESULT = '{"values":{"z":1.0},"files":{}}'
OBSERVATION = '{"values":{"z":1.0},"sigmas":{},"extras":{}}'


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture(params=BOTH)
def store(request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    opened = empty(request.param, tmp_path / "idds.db", clock)
    yield opened
    opened.close()


def four_points(store: Store) -> int:
    """A loop with one iteration of four points."""
    definition = toy()
    workflow = store.workflows.add(definition, "bundle", 7)
    loop = store.workflows.loops(workflow.id)[0]
    points = [{"x": i / 4, "y": 0.5} for i in range(4)]
    store.iterations.add(loop.id, definition.workflow.loops[0], 1, points, 4, 1)
    return loop.id


@pytest.fixture
def loop_id(store: Store) -> int:
    return four_points(store)


def claim(store: Store, loop_id: int, limit: int = 10, owner: str = "me") -> list[Claim]:
    claims = store.jobs.claim({loop_id: "toy/toy"}, limit, "local", owner, 60, lambda job, n: f"k-{job}-{n}")
    store.jobs.submitted({c.attempt.id: f"h-{c.job_id}" for c in claims}, owner)
    return claims


def done(claimed: Claim, *, last: bool = False) -> Outcome:
    end = (PointState.MEASURED, RESULT, OBSERVATION) if last else (None, RESULT, None)
    return Outcome(claimed, AttemptState.SUCCEEDED, JobState.DONE, *end)


def violations(store: Store) -> dict[str, list[str]]:
    store.audit.seal()
    return {name: found for name, found in store.audit.verify().items() if found}


def test_the_migrations_make_exactly_the_tables_of_the_code(store: Store) -> None:
    with store.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_a_store_keeps_its_random_id(store: Store) -> None:
    again = reopened(store)
    assert again.id == store.id
    assert len(store.id) == 8
    again.close()


def test_a_claim_writes_running_jobs_and_intents(store: Store, loop_id: int) -> None:
    claims = claim(store, loop_id, 3)
    assert [c.point for c in claims] == [1, 2, 3]
    assert {c.attempt.state for c in claims} == {AttemptState.INTENT}
    assert claims[0].attempt.path == "toy/toy/it/1/p/1/make/job/0/a/1"
    assert [j.state for j in store.jobs.all(loop_id) if j.step == "make"] == ["running"] * 3 + ["ready"]
    assert violations(store) == {}


def test_two_claims_never_take_the_same_job(store: Store, loop_id: int) -> None:
    first, second = claim(store, loop_id, 3), claim(store, loop_id, 3, "other")
    assert {c.job_id for c in first}.isdisjoint({c.job_id for c in second})
    assert claim(store, loop_id) == []


def test_a_job_in_back_off_is_not_claimed_before_its_time(store: Store, loop_id: int, clock: ManualClock) -> None:
    (claimed,) = claim(store, loop_id, 1)
    lost = Outcome(claimed, AttemptState.LOST, JobState.READY, not_before=clock() + 30)
    store.jobs.finish([lost], "me")
    assert claimed.job_id not in {c.job_id for c in claim(store, loop_id)}
    assert store.jobs.next_ready_at([loop_id]) == clock() + 30
    clock.advance(30)
    assert [c.job_id for c in claim(store, loop_id)] == [claimed.job_id]


def test_a_move_from_another_state_is_a_quiet_no_op(store: Store, loop_id: int) -> None:
    (claimed,) = claim(store, loop_id, 1)
    before = len(store.audit.events(limit=10_000))
    store.jobs.submitted({claimed.attempt.id: "other"}, "me")
    assert store.jobs.attempts([claimed.job_id])[0].handle == f"h-{claimed.job_id}"
    store.audit.seal()
    assert [e.new for e in store.audit.events(before)].count("submitted") == 1


def test_an_illegal_move_is_refused(store: Store, loop_id: int) -> None:
    loop = store.workflows.loop(loop_id)
    with pytest.raises(IddsError, match="E-STORE-010"):
        store.workflows.move_loop(loop, "waiting", "", "me")  # type: ignore[arg-type]


def test_a_result_counts_once_and_what_comes_later_is_kept_aside(store: Store, loop_id: int) -> None:
    (claimed,) = claim(store, loop_id, 1)
    assert store.jobs.finish([done(claimed)], "me") != []
    assert store.jobs.finish([done(claimed)], "me") == []
    assert by_hand(store, "SELECT count(*) FROM result") == [(1,)]
    assert by_hand(store, "SELECT attempt_id FROM late_result") == [(claimed.attempt.id,)]
    assert violations(store) == {}


def test_an_end_whose_job_does_not_run_is_never_committed(store: Store, loop_id: int) -> None:
    (claimed,) = claim(store, loop_id, 1)
    by_hand(store, "UPDATE job SET state = 'ready' WHERE id = ?", claimed.job_id)
    with pytest.raises(StoreError, match="E-STORE-011"):
        store.jobs.finish([done(claimed)], "me")
    assert store.jobs.attempts([claimed.job_id])[0].state is AttemptState.SUBMITTED


def test_the_next_step_is_released_for_its_own_point_only(store: Store, loop_id: int) -> None:
    claims = claim(store, loop_id)
    store.jobs.finish([done(claims[2])], "me")
    assert store.jobs.release("conductor") == 1
    (ready,) = claim(store, loop_id)
    assert (ready.point, ready.step) == (3, "measure")
    assert ready.upstream == (Given("make", {"values": {"z": 1.0}, "files": {}}),)


def test_a_failed_point_cancels_its_waiting_jobs(store: Store, loop_id: int) -> None:
    (claimed,) = claim(store, loop_id, 1)
    wrong = Failure(FailureClass.USER, "E-JOB-EXIT", "exit code 1", "exit 1")
    store.jobs.finish([Outcome(claimed, AttemptState.FAILED, JobState.FAILED, PointState.FAILED, failure=wrong)], "me")
    assert [j.state for j in store.jobs.all(loop_id, point=1)] == ["FAILED", "CANCELLED"]
    assert store.iterations.points(loop_id)[0].failure_class == "USER"
    assert violations(store) == {}


def test_a_transaction_that_fails_leaves_nothing(store: Store, loop_id: int) -> None:
    class Death(Exception):
        pass

    commits = store.commits
    with pytest.raises(Death), store.transaction():
        claim(store, loop_id)
        raise Death
    assert store.commits == commits
    assert {j.state for j in store.jobs.all(loop_id)} == {"ready", "waiting"}
    assert store.counters(loop_id).get("attempts", 0) == 0


def test_many_moves_share_one_commit(store: Store, loop_id: int) -> None:
    commits = store.commits
    with store.transaction():
        claims = claim(store, loop_id)
        assert claims
        store.jobs.release("conductor")
    assert store.commits == commits + 1


def test_reading_costs_no_commit(store: Store, loop_id: int) -> None:
    commits = store.commits
    store.jobs.all(loop_id)
    store.counters(loop_id)
    with store.transaction():
        store.jobs.release("conductor")
    assert store.commits == commits


def test_counters_are_folded_by_the_sealer_and_stay_the_same(store: Store, loop_id: int) -> None:
    claim(store, loop_id, 2)
    before = store.counters(loop_id)
    assert before["points"] == 4
    assert before["attempts"] == 2
    store.audit.seal()
    assert store.counters(loop_id) == before
    assert by_hand(store, "SELECT count(*) FROM counter_delta") == [(0,)]


def test_seal_numbers_are_dense_and_in_order(store: Store, loop_id: int) -> None:
    claim(store, loop_id, 2)
    store.audit.seal()
    claim(store, loop_id, 2)
    store.audit.seal()
    numbers = [e.seal_no for e in store.audit.events(limit=10_000)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_an_iteration_closes_when_its_points_have_ended(store: Store, loop_id: int, clock: ManualClock) -> None:
    assert store.iterations.close_finished(loop_id, clock()) == 0
    for _ in range(2):
        claims = claim(store, loop_id)
        store.jobs.finish([done(c, last=c.step == "measure") for c in claims], "me")
        store.jobs.release("conductor")
    started = clock()
    clock.advance(20)
    assert store.iterations.close_finished(loop_id, started) == 1
    last = store.iterations.last(loop_id)
    assert last is not None
    assert last.elapsed_s == 20
    assert store.iterations.close_finished(loop_id, started) == 0
    assert violations(store) == {}


def test_commands_are_taken_once_and_answered(store: Store, loop_id: int) -> None:
    workflow = store.workflows.loop(loop_id).workflow_id
    number = store.workflows.command(workflow, "hold", "somebody")
    (command,) = store.workflows.open_commands()
    assert store.workflows.command_answer(number) is None
    store.workflows.wish(workflow, Wish.HOLD)
    store.workflows.answer(command, "held")
    assert store.workflows.open_commands() == []
    assert store.workflows.command_answer(number) == "held"
    assert store.workflows.loop(loop_id).wish is Wish.HOLD


def test_a_reader_sees_and_cannot_write(store: Store, loop_id: int) -> None:
    reader = reopened(store, "read")
    assert len(reader.iterations.points(loop_id)) == 4
    with pytest.raises(StoreError, match="E-STORE-004"):
        reader.workflows.command(1, "hold", "me")
    reader.close()
