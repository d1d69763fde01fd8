"""``kill -9`` of the command that makes a revision, and of the engine right after: the end is the same.

``IDDS_CHAOS=full`` kills many more times.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import chaos_kit
from tests.chaos.chaos_kit import FULL, SCANS, done, killed_at, physics, reading, violations

SCAN = SCANS / "revision_scan.py"
CHANGES = {"extend campaign": "points=16", "amend campaign": "factor=1.5",
           "extend nested": "inner=5", "amend nested": "factor=1.5"}  # fmt: skip
#: where command and engine are killed: edge of a transaction or call, the time that they are there
COMMAND = [("inside", 1), ("inside", 2), ("after", 2)]
ENGINE = [("inside", 2), ("submit", 1)]
VERBS = ["extend campaign", "amend nested"]
if FULL:
    VERBS = list(CHANGES)
    COMMAND = [(edge, n) for n in range(1, 6) for edge in ("before", "inside", "after")]
    ENGINE += [("after", 4), *[("submitted", 1), ("inside", 6), ("before", 7)] * 3]


def idds(verb: str, kind: str, workdir: Path, change: str = "", *more: str) -> list[str]:
    given = [word for text in (f"kind={kind}", change) if text for word in ("--set", text)]
    return chaos_kit.idds(verb, SCAN, "--workdir", workdir, *given, *more)


def run(kind: str, workdir: Path, change: str = "") -> list[str]:
    return idds("run", kind, workdir, change, "--seed", "5", "--quiet")


def counted(workdir: Path) -> tuple[Any, ...]:
    """How much there is of everything that a revision writes."""
    names = ("workflow", "loop", "iteration", "point", "job", "result")
    with reading(workdir) as raw:
        return tuple(raw.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in names)


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder in which a workflow of a kind has ended."""
    made: dict[str, Path] = {}

    def run_to_the_end(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp(kind)
            done(run(kind, made[kind]), 2)
        return made[kind]

    return run_to_the_end


@pytest.mark.parametrize("what", VERBS)
def test_a_revision_whose_command_and_engine_are_killed_ends_the_same(
    tmp_path: Path, ended: Callable[[str], Path], what: str
) -> None:
    verb, kind = what.split()
    first = ended(kind)
    change = CHANGES[what]
    plain, often = tmp_path / "plain", tmp_path / "often"
    for folder in (plain, often):
        shutil.copytree(first, folder)
    before = counted(plain)
    done(idds(verb, kind, plain, change))
    made = counted(plain)
    done(run(kind, plain, change), 2)

    for edge, count in COMMAND:
        hit = killed_at(edge, count, idds(verb, kind, often, change))
        assert counted(often) in (before, made)
        assert hit or counted(often) == made  # what has been made is not made again
    done(idds(verb, kind, often, change))
    assert counted(often) == made
    assert sum(killed_at(edge, count, run(kind, often, change)) for edge, count in ENGINE) >= len(ENGINE) - 1
    done(run(kind, often, change), 2)

    assert physics(often) == physics(plain)
    for folder in (plain, often):
        assert violations(folder) == {}
        with reading(folder) as raw:
            assert raw.execute("SELECT count(*) FROM workflow").fetchone() == (2,)
            assert raw.execute("SELECT count(*) FROM job WHERE state <> 'DONE'").fetchone() == (0,)
