"""What all tests share: nothing that a test has opened stays open after it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests import world


@pytest.fixture(autouse=True)
def closed_stores() -> Iterator[None]:
    """Worlds are made in many ways; their stores hold six files each."""
    before = len(world.OPENED)
    yield
    while len(world.OPENED) > before:
        world.OPENED.pop().close()
