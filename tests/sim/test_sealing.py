"""An engine that seals in the transactions of its turns, whoever dies there."""

from __future__ import annotations

import logging

import pytest

from idds_agents import engine
from tests.sim.__main__ import Figures
from tests.sim.runs import run
from tests.sim.schedule import Schedule


def test_sealing_within_the_turns_violates_nothing_and_costs_no_commits(monkeypatch: pytest.MonkeyPatch) -> None:
    calm = Schedule(0, calm=True).play().figures["commits"]
    monkeypatch.setattr(engine, "_UNSEALED", 5)
    monkeypatch.setattr(logging.root.manager, "disable", logging.WARNING)
    assert Schedule(0, calm=True).play().figures["commits"] <= calm
    figures = Figures()
    for seed in range(60):
        figures.add(run(seed))
    assert figures.violations == {}
