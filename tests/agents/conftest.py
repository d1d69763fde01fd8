from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.cli_kit import Cli, Runs


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Cli:
    """The command line in this process, called in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Cli(capsys)


@pytest.fixture
def runs(tmp_path: Path) -> Iterator[Runs]:
    """The command line in processes of its own; none is left when the test ends."""
    made = Runs(tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a plane with two targets whose budget is spent; only ever read."""
    made = Runs(tmp_path_factory.mktemp("finished"))
    done = made.run("plane", "--set", "max_points=26").wait()
    made.close()
    assert done.code == 2, done.err
    return made.folder / "plane-run"
