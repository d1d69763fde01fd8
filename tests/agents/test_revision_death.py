"""A death while a revision is made leaves none, or a whole one."""

from __future__ import annotations

from typing import Any

import pytest

from idds_agents.revising import amend, extend
from tests.agents.revision_kit import draft, rows
from tests.world import World, toy


@pytest.mark.parametrize("verb", ["extend", "amend", "add", "import"])
def test_a_death_at_any_statement_leaves_nothing_and_the_same_again_finishes(
    sources: World, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    """Each is one transaction: whichever statement is the last before the death, the record is as it was."""
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

    class Death(BaseException):
        pass

    database = sources.store._db
    deaths = 0
    for _ in range(500):
        left = [deaths]

        def hook(*_: Any, left: list[int] = left) -> None:
            if left[0] == 0:
                raise Death
            left[0] -= 1

        original = database.insert
        monkeypatch.setattr(database, "insert", lambda *a, hook=hook, original=original: (hook(), original(*a))[1])
        moves = database.run
        monkeypatch.setattr(database, "run", lambda *a, hook=hook, moves=moves: (hook(), moves(*a))[1])
        try:
            act()
        except Death:
            monkeypatch.setattr(database, "insert", original)
            monkeypatch.setattr(database, "run", moves)
            assert len(sources.store.workflows.all()) == 1
            assert sources.violations() == {}
            deaths += 1
            continue
        monkeypatch.setattr(database, "insert", original)
        monkeypatch.setattr(database, "run", moves)
        break
    assert deaths > 3
    assert len(sources.store.workflows.all()) == 2
    sources.conductor.step()  # commands that were on record before a death take effect, once
    assert len(sources.store.workflows.all()) == 2
    assert sources.violations() == {}
