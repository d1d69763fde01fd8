from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from idds_core.definition import Definition
from idds_core.ports import JobReport, JobSpec
from idds_core.testing.fakes import ScriptedProvider
from tests.agents.cli_kit import Cli, Runs
from tests.agents.report_kit import enlarged, opened
from tests.agents.revision_kit import measured
from tests.world import World


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
def large_page(finished: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a loop with 300 points in 40 iterations."""
    from idds_agents.report.page import write_report

    store, view = opened(finished)
    file = tmp_path_factory.mktemp("large") / "report.html"
    write_report(enlarged(view, 300, 40), store, file)
    store.close()
    return file


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A world of the toy, with a bundle that has no files."""
    (tmp_path / "bundles" / "bundle").mkdir(parents=True)
    return World(tmp_path, ScriptedProvider(measured))


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., World]:
    """Worlds of a definition in folders of their own, run to their end."""

    def made(name: str, definition: Definition, answers: Callable[[JobSpec], JobReport | None]) -> World:
        for folder in ("bundles/bundle", ".idds"):
            (tmp_path / name / folder).mkdir(parents=True)
        found = World(tmp_path / name, ScriptedProvider(answers), definition)
        found.run()
        return found

    return made


@pytest.fixture
def sources(world: World) -> World:
    """The bundle has code; "better" has another analysis, "wider" another generation too."""
    make = "from other import f\ndef make(x, y):\n    return {'events': x + y}\n"
    text = f"{make}def measure(events):\n    return {{'z': f}}\n"
    for name, change in (("bundle", ("", "")), ("better", ("'z': f", "'z': 2 * f")), ("wider", ("x + y", "x - y"))):
        folder = world.folder / "bundles" / name
        folder.mkdir(exist_ok=True)
        (folder / "somewhere.py").write_text(text.replace(*change) if name != "bundle" else text, encoding="utf-8")
    return world
