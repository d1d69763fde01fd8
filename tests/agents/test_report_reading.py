"""The surrogate as a reader gets it: from the definition alone, through the port."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from idds_agents.report.reading import LoopView, surrogate_of, view_loop
from idds_core.errors import IddsError
from idds_core.store import open_store


@pytest.fixture
def view(finished: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LoopView]:
    monkeypatch.setattr(sys, "path", list(sys.path))
    store = open_store(finished / "idds.db", "read")
    yield view_loop(store, finished, 1)
    store.close()


def test_the_surrogate_of_a_stored_loop_has_its_targets_and_the_bundle_is_importable(view: LoopView) -> None:
    assert view.surrogate is not None
    assert view.surrogate.targets == ("obs", "exp")
    assert str(view.plan.bundle) in sys.path


def test_too_few_points_have_no_surrogate(view: LoopView) -> None:
    assert surrogate_of(view.plan, dataclasses.replace(view.history, points=(), iterations=())) is None


def test_a_learner_without_a_map_and_one_that_fails(
    view: LoopView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_learners.py").write_text(
        "from dataclasses import dataclass\n"
        "@dataclass(frozen=True)\nclass Blind:\n    def ask(self, history, n): ...\n"
        "@dataclass(frozen=True)\nclass Odd(Blind):\n    def surrogate(self, history): raise KeyError('theta')\n",
        encoding="utf-8",
    )
    monkeypatch.delitem(sys.modules, "own_learners", raising=False)
    plan = dataclasses.replace(view.plan, bundle=tmp_path, document={"learner": {"type": "own_learners:Blind"}})
    assert surrogate_of(plan, view.history) is None
    plan = dataclasses.replace(plan, document={"learner": {"type": "own_learners:Odd"}})
    with pytest.raises(IddsError, match=r"E-REPORT-001 .*KeyError: 'theta'"):
        surrogate_of(plan, view.history)
    monkeypatch.delitem(sys.modules, "own_learners")
