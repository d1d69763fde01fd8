"""A run in a real kernel: the live display, the result, an interrupt, definitions in a cell."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import idds_agents
from idds_core.states import LoopState
from tests.agents.cli_kit import SCANS, Runs, until

pytestmark = [
    # of the kernel's client: sockets that it closes when it is collected, event loops as they were before Python 3.14
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


class Book:
    """A notebook of code cells in a folder, with the scans beside it."""

    def __init__(self, folder: Path, *cells: str) -> None:
        import nbformat
        from nbclient import NotebookClient

        for name, text in SCANS.items():
            (folder / f"{name}.py").write_text(text, encoding="utf-8")
        made = [nbformat.v4.new_code_cell(source=text) for text in cells]
        self.book = nbformat.v4.new_notebook(cells=made)
        self.client: Any = NotebookClient(
            self.book,
            timeout=120,
            kernel_name="python3",
            allow_errors=True,
            resources={"metadata": {"path": str(folder)}},
        )

    def run(self) -> list[list[Any]]:
        """Outputs by cell."""
        self.client.execute()
        return [list(cell["outputs"]) for cell in self.book["cells"]]


@pytest.fixture(autouse=True)
def _kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A kernel of this environment, that leaves nothing behind."""
    pytest.importorskip("ipykernel")
    for name in ("JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR", "JUPYTER_CONFIG_DIR", "IPYTHONDIR"):
        monkeypatch.setenv(name, str(tmp_path / "jupyter"))
    monkeypatch.setenv("PYTHONPATH", "")
    assert sys.executable
    yield
    asyncio.set_event_loop(None)


def html(outputs: list[Any]) -> list[str]:
    return ["".join(o["data"]["text/html"]) for o in outputs if "text/html" in o.get("data", {})]


def text(outputs: list[Any]) -> str:
    return "".join(o["text"] for o in outputs if o["output_type"] == "stream")


def test_a_run_is_shown_below_its_cell_and_so_is_its_result(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    loop, run, used, again, cell = Book(
        source,
        "from plane import define\nscan = define(18)\nscan",
        "result = scan.run('work')",
        "result.export('hepdata/')\nresult",
        "scan.run('work').exit_code",
        "from idds_core import Loop, Real, Space, chain, step\nfrom idds_learners import MaxPoints, Sobol\n"
        "@step\ndef f(x: float) -> dict:\n    return {'y': x}\n"
        "Loop('cell', Space(x=Real(0, 1)), chain(f), Sobol(['y']), MaxPoints(3)).run('other')",
    ).run()
    assert "loop plane" in html(loop)[0]
    table, picture = html(run)
    assert "plane/plane: EXHAUSTED" in table
    assert "18 of 18 points" in table
    assert "data:image/png;base64," in picture
    assert text(run) == ""
    assert "plane/plane: EXHAUSTED" in html(used)[0]
    assert (source / "hepdata" / "submission.yaml").exists()
    # concluded; the notebook and the export beside the scan have not changed it
    assert again[0]["data"]["text/plain"] == "2"
    assert cell[-1]["output_type"] == "error"
    assert cell[-1]["ename"] == "DefinitionError"
    assert "__main__" in cell[-1]["evalue"]


def test_an_interrupt_lets_go_and_the_same_call_goes_on(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("IDDS_SLOTS", "4")  # one more than there are points: the second step is not kept waiting
    source = tmp_path / "source"
    source.mkdir()
    work = source / "work"
    runs.shut_gate()
    book = Book(
        source,
        "import dataclasses\nfrom gated import define\n"
        f"scan = dataclasses.replace(define(None), parameters={{'gate': '{runs.gate}'}})",
        "result = scan.run('work')\nprint('after', result.state)",
        f"import pathlib\np = pathlib.Path('{runs.gate}')\np.unlink()\np.write_text('')\n"
        "result = scan.run('work')\nresult.state.value, len(result.observations)",
    )

    def interrupt() -> None:
        until(lambda: (work / ".idds" / "engine.json").exists() or None, "an engine")
        runs.let_one_pass()
        until(lambda: idds_agents.open(work).observations or None, "an observation")
        asyncio.run(book.client.km._async_interrupt_kernel())

    helper = threading.Thread(target=interrupt)
    helper.start()
    _, run, again = book.run()
    helper.join()
    assert f"What is measured is on record in {work}; the same call goes on" in text(run)
    assert "after active" in text(run)
    assert not [o for o in run if o["output_type"] == "error"]
    assert "plane" not in html(run)[0]
    assert "gated/gated: active" in html(run)[0]
    assert again[-1]["data"]["text/plain"] == "('EXHAUSTED', 6)"
    assert idds_agents.open(work).state is LoopState.EXHAUSTED


def test_the_live_display_is_written_again_at_most_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    from idds_agents.cli.watching import Snapshot
    from idds_agents.notebook import NotebookDisplay
    from idds_core.states import Wish
    from idds_core.store import LoopRecord

    def snapshot(elapsed: float, state: LoopState) -> Snapshot:
        return Snapshot(LoopRecord(1, 1, "l", state, Wish.RUN, "", 0.0), {}, 0, (), (), elapsed)

    now = 0.0
    display = NotebookDisplay(clock=lambda: now)
    shown: list[str] = []
    monkeypatch.setattr(display, "_update", lambda _, text: shown.append(text))
    for i in range(9):
        now = i / 4
        display.show(snapshot(now, LoopState.ACTIVE))
    assert len(shown) == 3
    display.show(snapshot(2.1, LoopState.CONVERGED))
    display.stop()
    assert len(shown) == 4
    assert "CONVERGED" in shown[-1]
