from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.agents.cli_kit import Cli, Runs
from tests.agents.report_kit import enlarged, opened


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


@pytest.fixture(scope="session")
def wide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of a loop in four parameters of all kinds; only ever read."""
    made = Runs(tmp_path_factory.mktemp("wide"))
    done = made.run("wide").wait()
    made.close()
    assert done.code == 2, done.err
    return made.folder / "wide-run"


@pytest.fixture(scope="session")
def large_page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a loop with 300 points in 40 iterations."""
    from idds_agents.report.page import write_report

    store, view = opened(finished)
    file = tmp_path_factory.mktemp("large") / "report.html"
    write_report(enlarged(view, 300, 40), store, file)
    store.close()
    return file
