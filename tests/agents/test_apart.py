"""Agents apart: a message only says which agent may have something to do; what there is stands in the store."""

from __future__ import annotations

from pathlib import Path

from idds_agents.apart import Agents, Wake
from idds_agents.carrier import LEASE_S
from idds_core.errors import IddsError
from idds_core.states import LoopState
from idds_core.testing.fakes import ScriptedProvider
from tests.world import World, honest, toy


def process(w: World, owner: str) -> Agents:
    return Agents(w.store, w.provider, w.thinker, w.folder, w.settings, owner)


def deliver(agents: Agents, *wakes: Wake) -> int:
    """Hand over all messages, and those that follow from them; returns how many there were."""
    todo, count = list(wakes), 0
    while todo:
        todo += agents.step(Wake.read(todo.pop(0).text()))
        count += 1
    return count


def run(w: World, *all_agents: Agents) -> LoopState:
    """Let them sweep in turn, and time pass, until the loop has ended."""
    for _ in range(100):
        for agents in all_agents:
            deliver(agents, *agents.sweep(), Wake("transformer"))
            w.clock.advance(1)
        if w.loop.state not in (LoopState.ACTIVE, LoopState.HELD):
            break
    return w.loop.state


def test_messages_that_follow_from_each_other_take_a_scan_to_its_end(tmp_path: Path) -> None:
    w = World(tmp_path, ScriptedProvider(honest), toy(points=8))
    assert run(w, process(w, "one")) is LoopState.EXHAUSTED
    assert len(w.history.measured) == 8
    assert w.violations() == {}


def test_who_has_nothing_to_do_wakes_nobody(tmp_path: Path) -> None:
    w = World(tmp_path, ScriptedProvider(lambda _: None), toy(points=4))
    agents = process(w, "one")
    assert agents.step(Wake("carrier")) == []
    assert agents.step(Wake("conductor")) == []


def test_without_any_message_the_sweeps_do_it_all(tmp_path: Path) -> None:
    w = World(tmp_path, ScriptedProvider(honest), toy(points=8))
    agents = process(w, "one")
    for _ in range(100):
        agents.sweep()
        w.clock.advance(w.settings.sweep_seconds)
    assert w.loop.state is LoopState.EXHAUSTED
    assert w.violations() == {}


def test_two_processes_give_the_history_of_one(tmp_path: Path) -> None:
    digests = []
    for names in (["one"], ["one", "two", "three"]):
        folder = tmp_path / names[-1]
        folder.mkdir()
        w = World(folder, ScriptedProvider(honest, slots=2), toy(points=8))
        assert run(w, *(process(w, name) for name in names)) is LoopState.EXHAUSTED
        digests.append(w.history.digest)
        assert len(w.provider.submissions) == 16
        assert w.violations() == {}
    assert digests[0] == digests[1]


def test_what_somebody_has_taken_is_left_to_him_while_he_renews_his_lease(tmp_path: Path) -> None:
    w = World(tmp_path, ScriptedProvider(lambda _: None), toy(points=4))
    first, second = process(w, "one"), process(w, "two")
    deliver(first, *first.sweep(), Wake("transformer"))
    assert first.carrier.in_flight == 4
    for _ in range(10):
        w.clock.advance(LEASE_S / 2)
        first.sweep()
        second.sweep()
    assert (first.carrier.in_flight, second.carrier.in_flight) == (4, 0)


def test_what_a_process_had_taken_that_is_gone_is_adopted_when_its_lease_is_over(tmp_path: Path) -> None:
    w = World(tmp_path, ScriptedProvider(lambda _: None), toy(points=4))
    first, second = process(w, "one"), process(w, "two")
    deliver(first, *first.sweep(), Wake("transformer"))
    w.clock.advance(LEASE_S + 1)
    second.sweep()
    assert second.carrier.in_flight == 4
    first.sweep()  # it was only late: it does not take back what is another's now
    assert first.carrier.in_flight == 0
    w.provider.script = honest
    assert run(w, first, second) is LoopState.EXHAUSTED
    assert len(w.provider.submissions) == 8  # nothing ran twice
    assert w.violations() == {}


def test_an_answer_for_a_loop_that_was_held_meanwhile_is_dropped_and_asked_for_again(tmp_path: Path) -> None:
    w = World(tmp_path, ScriptedProvider(honest), toy(points=4))
    first, second = process(w, "one"), process(w, "two")
    first.step(Wake("transformer"))  # it is asked
    w.store.workflows.command(w.workflow.id, "hold", "user")
    second.step(Wake("conductor"))
    first.step(Wake("transformer"))  # the answer is there
    assert w.history.points == ()
    w.store.workflows.command(w.workflow.id, "resume", "user")
    assert run(w, first, second) is LoopState.EXHAUSTED
    assert len(w.history.measured) == 4


def test_a_learner_that_fails_holds_the_loop_until_somebody_has_mended_it(tmp_path: Path) -> None:
    w = World(tmp_path, ScriptedProvider(honest), toy(points=4))
    agents, right = process(w, "one"), w.thinker.answer

    def failing(_: object) -> dict[str, object]:
        raise IddsError.of(
            "E-LEARNER-003", "the learner failed", "it divides by zero", "here", "Mend it, then 'resume'."
        )

    w.thinker.answer = failing
    assert run(w, agents) is LoopState.HELD
    assert w.loop.reason.startswith("E-LEARNER-003 the learner failed")
    w.thinker.answer = right
    w.store.workflows.command(w.workflow.id, "resume", "user")
    assert run(w, agents) is LoopState.EXHAUSTED
