"""A run that begins anew takes over what is known, also of points of many jobs and of loops inside loops."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from idds_agents.catalog import Catalog
from idds_agents.reuser import Reuser
from idds_core.definition import Definition, validate
from idds_core.model import Workflow, chain
from idds_core.ports import JobReport, JobSpec, ReportState
from idds_core.testing.fakes import arguments, success
from tests.agents.revision_kit import digests, jobs
from tests.agents.workflow_kit import answer_nested, changed, nested, scan, step_of, whole
from tests.world import World, function


def again(w: World, definition: Definition) -> None:
    """Run anew with what is known, to the end."""
    revision = len(w.store.workflows.all()) + 1
    w.workflow = w.store.workflows.add(definition, "bundle", 7, revision, reuse=1)
    w.definition = definition
    w._agents()
    reuser = Reuser(w.store, Catalog(w.store, w.folder, w.workflow.id), w.workflow)
    for _ in range(200):
        w.transformer.start()
        w.transformer.step()
        reuser.step()
        w.carrier.step()
        w.conductor.step()
        if w.loop.state.isupper():
            break
    whole(w)


def test_a_loop_inside_a_loop_takes_over_all_that_is_known(make: Callable[..., World]) -> None:
    w = make("w", nested(), answer_nested)
    before = digests(w)
    again(w, nested())
    assert jobs(w) == {}
    assert digests(w) == before


def test_what_follows_a_changed_step_of_an_inner_loop_runs(make: Callable[..., World]) -> None:
    w = make("w", nested(), answer_nested)
    w.provider.script = lambda spec: (
        success(spec, {"z": 5.0 + arguments(spec)["x"]}) if step_of(spec) == "measure" else answer_nested(spec)
    )
    again(w, changed(nested(), "measure"))
    assert jobs(w) == {"measure": 12, "judge": 3}


def test_a_larger_budget_runs_only_what_is_more(make: Callable[..., World]) -> None:
    w = make("w", nested(), answer_nested)
    other = make("other", nested(inner=6), answer_nested)
    again(w, nested(inner=6))
    assert jobs(w) == {"measure": 6, "judge": 3}
    assert digests(w) == digests(other)


def study() -> Definition:
    """A step outside, points of chunks and variants, and a step that sees what the loop has found."""
    body = chain(
        replace(function("generate", "x", "chunk", "variant", "edge"), split=3, foreach=("nominal", "up")),
        replace(function("merge", "part"), merge=True),
        function("analyse", "mean", "shares"),
    )
    loop = scan("scan", "x", *body, points=2)
    return validate(Workflow("study", chain(function("prepare"), loop, function("last", "scan"))))


def answer_study(spec: JobSpec) -> JobReport:
    given, step = dict(arguments(spec)), step_of(spec)
    outputs: dict[str, Callable[[], dict[str, Any]]] = {
        "prepare": lambda: {"edge": 2.0},
        "generate": lambda: {"part": given["x"] + given["chunk"] + given["edge"] * (given["variant"] == "up")},
        "merge": lambda: {"mean": sum(given["part"])},
        "analyse": lambda: {"z": given["mean"]["up"] - given["mean"]["nominal"]},
        "last": lambda: {"n": 1},
    }
    return success(spec, outputs[step]())


def test_chunks_variants_and_steps_outside_of_loops_are_taken_over(make: Callable[..., World]) -> None:
    w = make("w", study(), answer_study)
    seen = w.history_of(w.loops()["scan"]).points
    again(w, study())
    assert jobs(w) == {}
    assert w.history_of(w.loops()["scan"]).points == seen
    again(w, changed(study(), "merge"))
    assert jobs(w) == {"merge": 4}  # it gives what it gave before, so what follows is known


def test_one_chunk_that_is_not_known_is_the_only_one_that_runs(make: Callable[..., World]) -> None:
    w = make("w", study(), answer_study)
    with w.store.transaction() as connection:
        connection.exec_driver_sql(
            "UPDATE result SET digest = 'unknown' WHERE job_id = (SELECT min(id) FROM job WHERE step = 'generate' "
            "AND variant = 'up' AND chunk = 1)"
        )
    again(w, study())
    assert jobs(w) == {"generate": 1}


def test_a_point_that_cannot_exist_is_taken_over_with_its_reason(make: Callable[..., World]) -> None:
    def answers(spec: JobSpec) -> JobReport:
        if step_of(spec) == "generate" and arguments(spec)["x"] > 0.5:
            return JobReport(ReportState.INFEASIBLE, {"infeasible": "too far"})
        return answer_study(spec)

    w = make("w", study(), answers)
    before = digests(w)
    again(w, study())
    assert jobs(w) == {}
    assert digests(w) == before


def test_sealed_results_are_not_taken_over(make: Callable[..., World]) -> None:
    def blind() -> Definition:
        loop = scan("scan", "x", function("look", "x"), targets=("z", "w"), blind=("w",))
        return validate(Workflow("study", chain(loop, function("last", "scan"))))

    w = make("w", blind(), lambda s: success(s, {"z": 1.0, "w": 2.0}))
    again(w, blind())
    assert jobs(w) == {"look": 3}
