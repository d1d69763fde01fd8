"""A death while a revision is made leaves none, or a whole one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import sqlalchemy as sa

from idds_agents.revising import amend, extend
from idds_core.definition import Definition
from idds_core.store import tables
from tests.agents.revision_kit import digests, draft, extended, follow, rows
from tests.agents.workflow_kit import answer_nested, answer_sequence, changed, nested, sequence, whole
from tests.world import World, toy


class Death(BaseException):
    """The process is killed."""


@contextmanager
def dying(world: World, after: int) -> Iterator[None]:
    """The process dies at the statement that comes after so many."""
    left = [after]
    database = world.store._db
    engine = database._engine

    def hook(*_: Any) -> None:
        if left[0] == 0:
            raise Death
        left[0] -= 1

    def hooked(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            hook()
            return original(*given)

        return call

    with pytest.MonkeyPatch.context() as patched:
        for name in ("insert", "run"):
            patched.setattr(database, name, hooked(getattr(database, name)))
        sa.event.listen(engine, "before_cursor_execute", hook)
        try:
            yield
        finally:
            sa.event.remove(engine, "before_cursor_execute", hook)


def counted(world: World) -> dict[str, int]:
    """Rows of every table."""
    with world.store.reading() as connection:
        query = sa.select(sa.func.count())
        return {t.name: connection.execute(query.select_from(t)).scalar() or 0 for t in tables.metadata.sorted_tables}


def dies_everywhere(world: World, act: Callable[[], object], most: int = 2000) -> int:
    """Act, and die at its first statement, its second, ... until it has come through; how many deaths that took."""
    before = counted(world)
    for deaths in range(most):
        try:
            with dying(world, deaths):
                act()
            return deaths
        except Death:
            assert counted(world) == before
    raise AssertionError(f"it has more than {most} statements")


@pytest.mark.parametrize("verb", ["extend", "amend", "add", "import"])
def test_a_death_at_any_statement_leaves_nothing_and_the_same_again_finishes(sources: World, verb: str) -> None:
    sources.run()
    given: dict[str, dict[str, Any]] = {"add": {"points": [{"x": 0.123, "y": 0.5}]}, "import": {"rows": rows(3)}}
    if verb in given:
        sources.store.workflows.command(sources.workflow.id, verb, "user ann", given[verb])

    def act() -> None:
        if verb == "extend":
            extend(sources.store, draft(sources, toy(points=16)), "user")
        elif verb == "amend":
            amend(sources.store, draft(sources, toy(points=16), "better"), "user")
        else:
            sources.conductor.step()

    assert dies_everywhere(sources, act) > 10
    assert len(sources.store.workflows.all()) == 2
    sources.conductor.step()  # commands that were on record before a death take effect, once
    assert len(sources.store.workflows.all()) == 2
    assert sources.violations() == {}


@pytest.mark.parametrize(
    ("definition", "next_", "answers"),
    [
        (nested(inner=2, outer=2), nested(inner=4, outer=2), answer_nested),
        (nested(inner=2, outer=2), changed(nested(inner=2, outer=2), "measure"), answer_nested),
        (sequence(), sequence(coarse=5), answer_sequence),
    ],
)
def test_a_death_while_a_workflow_of_several_loops_is_continued_changes_nothing(
    make: Callable[..., World], definition: Definition, next_: Definition, answers: Any
) -> None:
    w, other = (make(name, definition, answers) for name in ("w", "other"))
    follow(other, amend(other.store, draft(other, next_), "user")[0], next_)
    other.run()
    made: list[Any] = []
    assert dies_everywhere(w, lambda: made.append(amend(w.store, draft(w, next_), "user")[0])) > 40
    follow(w, made[-1], next_)
    w.run()
    assert digests(w) == digests(other)
    whole(w)


def test_a_death_between_any_two_turns_after_a_loop_was_extended_changes_nothing(make: Callable[..., World]) -> None:
    w, other = (make(name, sequence(), answer_sequence) for name in ("w", "other"))
    for each in (w, other):
        extended(each, sequence(coarse=5))
    other.run()
    for _ in range(300):
        w.turn()
        if w.loop.state.isupper():
            break
        w.restart()
    assert digests(w) == digests(other)
    whole(w)
