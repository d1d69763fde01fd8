"""The state machines: what may follow what, and what never changes again."""

import itertools
from typing import Any

import pytest

from idds_core.states import (
    MOVES,
    TERMINAL,
    AttemptState,
    JobState,
    LoopState,
    PointState,
    VerdictKind,
    WorkflowState,
    may_move,
)

STATES = {
    "workflow": WorkflowState,
    "loop": LoopState,
    "point": PointState,
    "job": JobState,
    "attempt": AttemptState,
}
FIRST = {"workflow": "active", "loop": "waiting", "point": "open", "job": "waiting", "attempt": "intent"}
each_entity = pytest.mark.parametrize("entity", sorted(STATES))


def test_every_entity_has_moves_and_ends() -> None:
    assert set(MOVES) == set(TERMINAL) == set(STATES)


@each_entity
def test_a_terminal_state_has_no_way_out(entity: Any) -> None:
    for end, state in itertools.product(TERMINAL[entity], STATES[entity]):
        assert not may_move(entity, end, state)


@each_entity
def test_a_state_is_terminal_exactly_when_it_is_written_in_capitals(entity: Any) -> None:
    assert TERMINAL[entity] == {s for s in STATES[entity] if s.value.isupper()}


@each_entity
def test_every_state_can_be_reached_from_the_first_one(entity: Any) -> None:
    reached, front = set(), {FIRST[entity]}
    while front:
        reached |= front
        front = {n for s in front for n in MOVES[entity].get(s, ())} - reached
    assert reached == set(STATES[entity])


@each_entity
def test_every_live_state_leads_to_an_end(entity: Any) -> None:
    for state in set(STATES[entity]) - TERMINAL[entity]:
        assert MOVES[entity][state] & TERMINAL[entity]


@each_entity
def test_no_state_moves_to_itself(entity: Any) -> None:
    assert not any(may_move(entity, state, state) for state in STATES[entity])


@each_entity
def test_every_question_has_an_answer(entity: Any) -> None:
    words = [*STATES[entity], "nonsense", ""]
    for old, new in itertools.product(words, words):
        assert may_move(entity, old, new) in (True, False)
    assert not may_move(entity, "nonsense", FIRST[entity])


@each_entity
def test_the_table_holds_only_states_of_its_entity(entity: Any) -> None:
    assert set(MOVES[entity]) <= set(STATES[entity])
    assert set().union(*MOVES[entity].values()) <= set(STATES[entity])


def test_a_running_job_may_become_ready_for_its_next_attempt() -> None:
    assert may_move("job", "running", "ready")


def test_an_attempt_is_never_tried_again() -> None:
    assert not any(may_move("attempt", "submitted", s) for s in ("intent", "submitted"))


def test_verdicts_are_ordered_by_precedence() -> None:
    assert [str(v) for v in VerdictKind] == ["converged", "nothing feasible", "stalled", "budget", "go on"]
