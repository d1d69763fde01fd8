"""Runs that nobody disturbs, made once for all tests of real processes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.chaos_kit import WORKLOADS, done


@pytest.fixture(scope="session")
def calm_run(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The work folder of an undisturbed run of a workload."""
    made: dict[str, Path] = {}

    def run(name: str) -> Path:
        if name not in made:
            workdir = tmp_path_factory.mktemp(f"calm-{name}") / "work"
            done(WORKLOADS[name].run(workdir), 2)
            made[name] = workdir
        return made[name]

    return run
