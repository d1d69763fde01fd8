"""The learner's process: bounded, kept warm, and whatever a learner does is one clear line."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from idds_agents import learner_host
from idds_agents.learner_host import LearnerHost
from idds_core.errors import IddsError
from idds_core.history import History
from idds_core.runner import processes
from idds_core.space import Real, Space
from tests.agents.cli_kit import until

LEARNERS = """
    import os, sys, time
    from dataclasses import dataclass
    from idds_core.ports import Proposal, Verdict

    @dataclass(frozen=True)
    class Behaves:
        how: str = ""
        def ask(self, history, n):
            if self.how == "raises": raise RuntimeError("no idea")
            if self.how == "exits": os._exit(3)
            if self.how == "hangs":
                print("hanging", flush=True)
                while True: time.sleep(0.01)
            if self.how == "eats": hoard = [b"x" * 1_000_000 for _ in range(2_000)]; time.sleep(60)
            if self.how == "nan": return Proposal(({"x": 0.5},), {"emv": float("nan")})
            if self.how == "prints": print("thinking aloud", flush=True); sys.stderr.write("and here")
            if self.how == "wide": return Proposal(({"x": 0.5},), {"map": "x" * 10_000_000})
            if self.how == "counts": return Proposal(({"x": 0.5},), {"pid": os.getpid()})
            return Proposal(({"x": 0.25},))

    @dataclass(frozen=True)
    class Never:
        def check(self, history): return Verdict()
"""


@pytest.fixture
def bundle(tmp_path: Path) -> str:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "strange_learner.py").write_text(textwrap.dedent(LEARNERS), encoding="utf-8")
    return str(folder)


@pytest.fixture
def host(tmp_path: Path) -> Iterator[LearnerHost]:
    made = LearnerHost(tmp_path / "learner.log", seconds=30, memory=500_000_000)
    yield made
    made.close()


@pytest.fixture
def ask(host: LearnerHost, bundle: str) -> Callable[..., Any]:
    def _ask(how: str, host: LearnerHost = host) -> Any:
        document = {
            "learner": {"type": "strange_learner:Behaves", "how": how},
            "until": {"type": "strange_learner:Never"},
            "batch": 3,
            "first": 2,
        }
        history = History(Space(x=Real(0, 1)), targets=("y",)).to_json()
        return host.think(document, history, bundle, lambda: None).result(timeout=60)

    return _ask


def test_a_learner_of_the_users_own_module_answers(ask: Callable[..., Any]) -> None:
    answer = ask("")
    assert answer["points"] == [{"x": 0.25}]
    assert answer["asked"] == 2
    assert answer["verdict"]["kind"] == "go on"


def test_the_process_is_kept_warm(ask: Callable[..., Any]) -> None:
    assert ask("counts")["diagnostics"] == ask("counts")["diagnostics"]


def test_what_a_learner_prints_goes_to_its_log(ask: Callable[..., Any], tmp_path: Path) -> None:
    assert ask("prints")["points"] == [{"x": 0.25}]
    assert (tmp_path / "learner.log").read_text() == "thinking aloud\nand here"


@pytest.mark.parametrize(
    ("how", "code", "why"),
    [
        ("raises", "E-LEARNER-003", "RuntimeError: no idea"),
        ("exits", "E-LEARNER-002", "exit code 3"),
        ("nan", "E-LEARNER-003", "no JSON"),
        ("eats", "E-LEARNER-005", "the limit is 0.5 GB"),
    ],
)
def test_a_learner_that_misbehaves_is_one_line_and_the_next_question_is_answered(
    ask: Callable[..., Any], how: str, code: str, why: str
) -> None:
    with pytest.raises(IddsError) as error:
        ask(how)
    assert error.value.code == code
    assert why in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert ask("")["points"] == [{"x": 0.25}]


def test_a_learner_that_hangs_is_ended(ask: Callable[..., Any], tmp_path: Path) -> None:
    host = LearnerHost(tmp_path / "other.log", seconds=1.0, memory=500_000_000)
    with pytest.raises(IddsError, match="E-LEARNER-004 the learner took too long: no answer within 1 s"):
        ask("hangs", host)
    host.close()


def test_an_answer_that_is_too_large_is_refused(ask: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learner_host, "_ANSWER_LIMIT", 1_000_000)
    with pytest.raises(IddsError, match="E-LEARNER-006 the learner's answer is too large: more than 1000000 bytes"):
        ask("wide")
    assert ask("")["points"] == [{"x": 0.25}]


def test_an_unknown_learner_is_one_line(host: LearnerHost) -> None:
    document = {"learner": {"type": "level_sett"}, "until": {"type": "max_points", "n": 1}, "batch": 1, "first": 1}
    history = History(Space(x=Real(0, 1)), targets=("y",)).to_json()
    with pytest.raises(IddsError, match="E-LEARNER-003 the learner failed: DefinitionError: E-PLUGIN-001"):
        host.think(document, history, "", lambda: None).result(timeout=60)


def test_a_learner_that_still_thinks_ends_with_its_engine(tmp_path: Path, bundle: str) -> None:
    engine = f"""
import json, sys
from concurrent.futures import wait
from pathlib import Path
from idds_agents.learner_host import LearnerHost
host = LearnerHost(Path({str(tmp_path / "learner.log")!r}), 600, 10**9)
document = json.loads(sys.argv[1])
future = host.think(document, json.loads(sys.argv[2]), {bundle!r}, lambda: None)
while host._process is None: pass
print(host._process.pid, flush=True)
wait([future])
"""
    history = json.dumps(History(Space(x=Real(0, 1)), targets=("y",)).to_json())
    loop = {
        "learner": {"type": "strange_learner:Behaves", "how": "hangs"},
        "until": {"type": "strange_learner:Never"},
        "batch": 3,
        "first": 2,
    }
    with subprocess.Popen([sys.executable, "-c", engine, json.dumps(loop), history], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        learner = int(process.stdout.readline())
        until(lambda: "hanging" in (tmp_path / "learner.log").read_text(), "the learner at work")
        process.kill()
    until(lambda: not processes.start_time(learner), "the end of the learner")
