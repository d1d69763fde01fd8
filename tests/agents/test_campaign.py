"""Points of many jobs: chunks, variants, merging, shares, and what a failure of one of them means."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from idds_core.model import Loop, Step, chain, command
from idds_core.ports import Command, Function, JobReport, JobSpec, ReportState
from idds_core.states import FailureClass, LoopState, PointState
from idds_core.testing.fakes import ScriptedProvider, arguments, failure, success
from tests.world import World, function, toy

pytestmark = pytest.mark.every_store


def cut(name: str, *arguments_: str, **options: Any) -> Step:
    """A function step with split, foreach, ..."""
    attempts = options.pop("attempts", 1)
    from dataclasses import replace

    return replace(function(name, *arguments_, attempts=attempts), **options)


VARIANTS = ("nominal", "up")


def campaign(accept: float = 1.0, split: int | str = 4, **changes: Any) -> Any:
    """Generate in chunks for each variant, reconstruct chunk by chunk, merge, analyse."""
    body = chain(
        cut("generate", "x", "chunk", "variant", split=split, foreach=VARIANTS, accept=accept),
        cut("reconstruct", "n", split=split, foreach=VARIANTS),
        cut("merge", "m", merge=True),
        cut("analyse", "total", "shares"),
    )
    return toy(points=2, batch=2, body=body, **changes)


def step_of(spec: JobSpec) -> str:
    """Name of the step a job is of."""
    assert isinstance(spec.payload, Function)
    return spec.payload.reference.partition(":")[2]


def script(dead: Callable[[str, int, dict[str, Any]], bool] = lambda *_: False) -> Callable[[JobSpec], JobReport]:
    """n = 10 * chunk + (1 for up); m = n + 1; total = sum of m of a variant; z = sum over variants."""

    def run(spec: JobSpec) -> JobReport:
        step, given = step_of(spec), dict(arguments(spec))
        number = int(spec.folder.split("/p/")[1].split("/")[0])
        if dead(step, number, {**given, **dict(spec.parameters)}):
            return failure("dead chunk")
        if step == "generate":
            return success(spec, {"n": 10 * given["chunk"] + (given["variant"] == "up")})
        if step == "reconstruct":
            return success(spec, {"m": given["n"] + 1})
        if step == "merge":
            assert isinstance(given["m"], list)
            return success(spec, {"total": sum(given["m"])})
        return success(spec, {"z": float(sum(given["total"].values())), "share": given["shares"]["generate"]})

    return run


def world(tmp_path: Path, definition: Any, answers: Callable[[JobSpec], JobReport | None], slots: int = 100) -> World:
    """Agents on that definition."""
    return World(tmp_path, ScriptedProvider(answers, slots), definition)


def test_a_point_is_the_sum_of_its_chunks_and_variants(tmp_path: Path) -> None:
    w = world(tmp_path, campaign(), script())
    assert w.run().state is LoopState.EXHAUSTED
    # nominal: 1 + 11 + 21 + 31, up: 2 + 12 + 22 + 32
    assert [p.observation.values["z"] for p in w.history.points if p.observation] == [64.0 + 68.0] * 2
    jobs = Counter(j.step for j in w.store.jobs.all(w.loop.id))
    assert jobs == {"generate": 16, "reconstruct": 16, "merge": 4, "analyse": 2}
    assert not w.violations()


def test_paths_name_variant_and_chunk_and_each_job_has_its_own(tmp_path: Path) -> None:
    w = world(tmp_path, campaign(), script())
    w.run()
    paths = [a.path for a in w.store.jobs.attempts([j.id for j in w.store.jobs.all(w.loop.id)])]
    assert len(set(paths)) == len(paths)
    assert "toy/toy/it/1/p/2/generate/job/up.3/a/1" in paths
    assert "toy/toy/it/1/p/2/analyse/job/0/a/1" in paths


def test_chunks_have_seeds_of_their_own_and_variants_share_them(tmp_path: Path) -> None:
    seen: dict[tuple[int, str], int] = {}

    def watch(spec: JobSpec) -> JobReport:
        if step_of(spec) == "generate" and "/p/1/" in spec.folder:
            given = arguments(spec)
            seen[given["chunk"], given["variant"]] = spec.seed
        return script()(spec)

    world(tmp_path, campaign(), watch).run()
    assert len({seed for (_, variant), seed in seen.items() if variant == "up"}) == 4
    assert all(seen[chunk, "up"] == seen[chunk, "nominal"] for chunk in range(4))


def test_a_chunk_goes_on_before_the_others_of_its_step_have_ended(tmp_path: Path) -> None:
    answers = script()
    w = world(tmp_path, campaign(), lambda spec: None if spec.parameters.get("chunk") == 3 else answers(spec))
    w.run(turns=10)
    done = Counter(j.step for j in w.store.jobs.all(w.loop.id, ["DONE"]))
    assert done == {"generate": 12, "reconstruct": 12}


def test_the_share_reached_is_kept_and_told(tmp_path: Path) -> None:
    def dead(step: str, point: int, given: dict[str, Any]) -> bool:
        return step == "generate" and point == 1 and given["chunk"] == 2 and given["variant"] == "up"

    w = world(tmp_path, campaign(accept=0.7), script(dead))
    w.run()
    first, second = w.history.points
    assert first.observation is not None
    assert second.observation is not None
    assert first.observation.values["z"] == 64.0 + 68.0 - 22.0
    assert first.observation.extras == {"share": 0.75, "share_generate": 0.75, "share_reconstruct": 0.75}
    assert second.observation.extras["share_generate"] == 1.0
    lost = [j for j in w.store.jobs.all(w.loop.id) if j.state == "CANCELLED"]
    assert [(j.step, j.place, j.reason) for j in lost] == [("reconstruct", "up.2", "its input is lost")]
    assert not w.violations()


def test_too_many_dead_chunks_fail_the_point_and_cancel_the_rest(tmp_path: Path) -> None:
    def dead(step: str, point: int, given: dict[str, Any]) -> bool:
        return step == "generate" and point == 1 and given["chunk"] in (1, 2) and given["variant"] == "up"

    w = world(tmp_path, campaign(accept=0.7), script(dead))
    w.run()
    first, second = w.history.points
    assert (first.state, first.failure_class) == (PointState.FAILED, FailureClass.USER)
    assert second.state is PointState.MEASURED
    assert w.store.points.reason(w.loop.id, 1) == "0.5 of generate up can be had, 0.7 was asked for"
    assert not [j for j in w.store.jobs.all(w.loop.id) if j.state in ("waiting", "ready", "running")]
    assert not w.violations()


def test_what_still_runs_of_a_lost_point_is_cancelled_at_the_provider(tmp_path: Path) -> None:
    answers = script(lambda step, point, given: point == 1 and step == "generate" and given["chunk"] == 0)

    def slow(spec: JobSpec) -> JobReport | None:
        waits = "/p/1/" in spec.folder and step_of(spec) == "generate" and arguments(spec)["chunk"] == 3
        return None if waits else answers(spec)

    w = world(tmp_path, campaign(), slow)
    assert w.run().state is LoopState.EXHAUSTED
    assert len(w.provider.cancelled) == 2  # both variants
    assert [p.state for p in w.history.points] == [PointState.FAILED, PointState.MEASURED]
    assert not w.violations()


def test_one_infeasible_chunk_makes_the_point_infeasible(tmp_path: Path) -> None:
    answers = script()

    def infeasible(spec: JobSpec) -> JobReport:
        if step_of(spec) == "generate" and "/p/1/" in spec.folder and arguments(spec)["chunk"] == 1:
            result = {"key": spec.key, "digest": spec.digest, "values": {}, "files": {}, "infeasible": "no such mass"}
            return JobReport(ReportState.INFEASIBLE, result)
        return answers(spec)

    w = world(tmp_path, campaign(), infeasible)
    w.run()
    assert [p.state for p in w.history.points] == [PointState.INFEASIBLE, PointState.MEASURED]
    assert w.store.points.reason(w.loop.id, 1) == "no such mass"
    assert not w.violations()


def test_a_step_is_split_by_quanta(tmp_path: Path) -> None:
    seen: list[tuple[int, int, int]] = []

    def watch(spec: JobSpec) -> JobReport:
        if step_of(spec) == "generate":
            given = dict(spec.parameters)
            seen.append((given["chunk"], given["first_events"], given["events"]))
            return success(spec, {"n": given["events"]})
        return success(spec, {"z": float(sum(arguments(spec)["n"]))})

    body = chain(cut("generate", "x", split="400 events", accept=0.8), cut("analyse", "n"))
    w = world(tmp_path, toy(points=1, batch=1, body=body, parameters={"events": 1000}), watch)
    w.run()
    assert sorted(seen) == [(0, 0, 400), (1, 400, 400), (2, 800, 200)]
    assert w.history.points[0].observation is not None
    assert w.history.points[0].observation.values == {"z": 1000.0}


def test_a_share_counts_quanta_not_chunks(tmp_path: Path) -> None:
    """The last chunk is small: losing it leaves 0.8 of the events, losing another one 0.6."""

    def run(lost: int) -> PointState:
        def answers(spec: JobSpec) -> JobReport:
            if step_of(spec) == "generate":
                bad = spec.parameters["chunk"] == lost
                return failure("dead") if bad else success(spec, {"n": 1})
            return success(spec, {"z": 1.0})

        body = chain(cut("generate", "x", split="400 events", accept=0.8), cut("analyse", "n"))
        folder = tmp_path / str(lost)
        folder.mkdir()
        w = world(folder, toy(points=1, batch=1, body=body, parameters={"events": 1000}), answers)
        w.run()
        assert not w.violations()
        return w.history.points[0].state

    assert [run(lost) for lost in (0, 2)] == [PointState.FAILED, PointState.MEASURED]


def test_a_command_gets_each_file_of_a_list_as_an_argument(tmp_path: Path) -> None:
    seen: list[tuple[str, ...]] = []

    def watch(spec: JobSpec) -> JobReport:
        assert isinstance(spec.payload, Command)
        if spec.payload.argv[0] == "mc":
            file = {"path": f"/w/{spec.payload.argv[1]}.txt", "bytes": 1, "sha256": "0"}
            result = {"key": spec.key, "digest": spec.digest, "values": {}, "files": {"events": file}}
            return JobReport(ReportState.SUCCEEDED, result)
        seen.append(spec.payload.argv)
        return success(spec, {"z": 1.0})

    body = chain(
        command("mc", "mc {chunk} {chunks}", outputs={"events": "e.txt"}, split=3),
        command("join", "join -n {mc.share} {mc.events}", result="r.json"),
    )
    world(tmp_path, toy(points=1, batch=1, body=body), watch).run()
    assert seen == [("join", "-n", "1.0", "/w/0.txt", "/w/1.txt", "/w/2.txt")]


def test_a_crash_between_any_two_turns_changes_nothing(tmp_path: Path) -> None:
    dead = lambda step, point, given: step == "generate" and (given["chunk"] + point) % 4 == 0  # noqa: E731
    (tmp_path / "plain").mkdir()
    plain = world(tmp_path / "plain", campaign(accept=0.7), script(dead), slots=5)
    plain.run()
    (tmp_path / "often").mkdir()
    often = world(tmp_path / "often", campaign(accept=0.7), script(dead), slots=5)
    for _ in range(300):
        often.turn()
        if often.loop.state.isupper():
            break
        often.restart()
    assert often.loop.state is plain.loop.state is LoopState.EXHAUSTED
    assert often.history.digest == plain.history.digest
    assert not often.violations()


@pytest.mark.parametrize(
    ("step", "code"),
    [
        ({"split": 0}, "E-STEP-014"),
        ({"split": "ten"}, "E-STEP-014"),
        ({"split": "100 evnts"}, "E-STEP-014"),
        ({"split": True}, "E-STEP-014"),
        ({"foreach": ("up", "up")}, "E-STEP-015"),
        ({"foreach": ("a b",)}, "E-STEP-015"),
        ({"merge": True}, "E-STEP-016"),
        ({"accept": 0.5}, "E-STEP-017"),
        ({"accept": 0, "split": 2}, "E-STEP-017"),
    ],
)
def test_what_cannot_be_cut_is_refused(step: dict[str, Any], code: str) -> None:
    from idds_core.errors import DefinitionError

    with pytest.raises(DefinitionError) as caught:
        toy(body=chain(cut("generate", "x", **step), cut("analyse")), parameters={"events": 10})
    assert code in [p.code for p in caught.value.problems]


def test_the_last_step_has_one_job() -> None:
    from idds_core.errors import DefinitionError

    with pytest.raises(DefinitionError) as caught:
        toy(body=chain(cut("generate", "x", split=2)))
    assert [p.code for p in caught.value.problems] == ["E-STEP-009"]


def test_a_campaign_is_the_same_after_it_was_stored() -> None:
    definition = campaign(accept=0.9)
    stored = type(definition)(json.loads(definition.text))
    loop = stored.workflow.body[0]
    assert isinstance(loop, Loop)
    first = loop.body[0]
    assert isinstance(first, Step)
    assert (first.split, first.foreach, first.accept) == (4, VARIANTS, 0.9)
    assert stored.text == definition.text
