"""What all tests share: nothing that a test has opened stays open after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import world
from tests.stores import BOTH


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A module that is marked so is run on each kind of store."""
    if metafunc.definition.get_closest_marker("every_store"):
        metafunc.fixturenames.append("store_kind")
        metafunc.parametrize("store_kind", BOTH)


@pytest.fixture(autouse=True)
def closed_stores(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Worlds are made in many ways; their stores hold six files each."""
    given = getattr(request.node, "callspec", None)
    monkeypatch.setattr(world, "KIND", given.params.get("store_kind", "sqlite") if given else "sqlite")
    before = len(world.OPENED)
    yield
    while len(world.OPENED) > before:
        world.OPENED.pop().close()
