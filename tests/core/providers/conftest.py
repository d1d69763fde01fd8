from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from idds_core.providers.local import LocalProvider
from tests.core.providers.kit import News, Specs, Whistle

collect_ignore = ["bundle"]


def _ours() -> set[str]:
    """Sockets, pipes and process descriptors of this process."""
    found = set()
    for fd in Path("/proc/self/fd").iterdir():
        try:
            target = str(fd.readlink())
        except FileNotFoundError:
            continue
        if target.startswith(("socket:", "pipe:", "anon_inode:")):
            found.add(target + fd.name)
    return found


@pytest.fixture
def news() -> News:
    return News()


@pytest.fixture
def specs(tmp_path: Path) -> Specs:
    return Specs(tmp_path)


@pytest.fixture
def local(tmp_path: Path, news: News) -> Iterator[LocalProvider]:
    before = _ours()
    with LocalProvider(tmp_path / "local", slots=2, store_id="store1", wake=news) as provider:
        yield provider
    assert _ours() <= before, "descriptors are left open"
    assert list((tmp_path / "local" / "workers").iterdir()) == []


@pytest.fixture
def whistle(tmp_path: Path) -> Iterator[Callable[[str], Whistle]]:
    made: list[Whistle] = []

    def make(name: str = "whistle") -> Whistle:
        made.append(Whistle(tmp_path / name))
        return made[-1]

    yield make
    for one in made:
        one.close()
