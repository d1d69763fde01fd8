"""Who follows docs/tutorials/learner.md to the letter has a learner that keeps the laws and runs in a scan."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorials/learner.md").read_text(encoding="utf-8")
SCAN = """
from around import Around
from idds_core import Categorical, Integer, Loop, Real, Space, chain, step
from idds_learners import MaxPoints

@step
def measure(kind, x, n):
    return {"f": (x - 0.7) ** 2 + 0.1 * n + (kind == "b")}

def define():
    space = Space(kind=Categorical(["a", "b"]), x=Real(0, 1), n=Integer(1, 4, when="kind == 'a'"))
    return Loop("mine", space, chain(measure), Around(), MaxPoints(40), first=8, batch=8)
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture
def followed(tmp_path: Path) -> Path:
    """A folder with every file that the page names."""
    for text in blocks("python"):
        if named := re.match(r"# (\w+\.py)\n", text):
            (tmp_path / named[1]).write_text(text, encoding="utf-8")
    return tmp_path


def test_the_learner_of_the_page_has_thirty_lines(followed: Path) -> None:
    lines = [line for line in (followed / "around.py").read_text().splitlines() if line.strip()]
    assert len(lines) <= 31


def test_the_learner_of_the_page_keeps_the_laws(followed: Path) -> None:
    (command,) = [text for text in blocks("sh") if text.startswith("pytest")]
    arguments = [*command.split()[1:], "-q", "-p", "no:cacheprovider"]
    done = subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=followed, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-4000:]
    assert re.search(r"\b[4-9]\d passed", done.stdout), done.stdout[-400:]


def test_it_runs_in_a_scan_and_its_record_is_replayed(followed: Path) -> None:
    from idds_agents.cli import main

    (followed / "scan_mine.py").write_text(SCAN, encoding="utf-8")
    run = str(followed / "run")
    assert main(["run", str(followed / "scan_mine.py"), "--workdir", run, "--quiet"]) == 2
    assert main(["replay", "--workdir", run]) == 0


def test_the_question_of_the_page_is_answered_by_awk() -> None:
    (command,) = [text for text in blocks("sh") if "awk" in text]
    done = subprocess.run(["sh", "-c", command], cwd=ROOT / "examples/other_language", capture_output=True, text=True)
    assert json.loads(done.stdout) == {"points": [{"x": 2.5}, {"x": 7.5}]}
