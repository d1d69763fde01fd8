"""The invariants of the record: queries and checks that must find nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import sqlalchemy as sa

from idds_core.binding import BindingError, observe
from idds_core.history import strict_json
from idds_core.states import TERMINAL
from idds_core.store import tables

__all__ = ["CHECKS", "COUNTERS", "COUNTERS_HOLD", "INVARIANTS"]

#: name -> what a loop's counter must be
COUNTERS = {
    "iterations": "SELECT count(*) FROM iteration WHERE loop_id = :loop",
    "points": "SELECT count(*) FROM point WHERE loop_id = :loop",
    "jobs": "SELECT count(*) FROM job WHERE loop_id = :loop",
    "attempts": "SELECT count(*) FROM attempt WHERE loop_id = :loop",
    **{
        state: f"SELECT count(*) FROM point WHERE loop_id = :loop AND state = '{state}'"
        for state in sorted(TERMINAL["point"])
    },
}
COUNTERS_HOLD = "counters equal a recount"

_LIVE = "('intent','submitted')"


#: a loop ``l`` of which nothing is wanted any more: its points are dropped together, when the last attempt has ended
_ENDING = """l.state IN ('active', 'held') AND (l.wish = 'cancel' OR EXISTS (
        SELECT 1 FROM iteration i WHERE i.loop_id = l.id AND i.verdict <> 'go on'))"""


def _terminal(entity: str) -> str:
    return "(" + ",".join(f"'{s}'" for s in sorted(TERMINAL[entity])) + ")"


#: name -> SQL that lists what violates it (id, what).
INVARIANTS: dict[str, str] = {
    "a job is DONE exactly when it has a result": """
        SELECT j.id, j.state FROM job j LEFT JOIN result r ON r.job_id = j.id
        WHERE (j.state = 'DONE') <> (r.job_id IS NOT NULL)""",
    "a result belongs to its SUCCEEDED attempt, or was taken over from another job's": """
        SELECT r.job_id, a.state FROM result r LEFT JOIN attempt a ON a.id = coalesce(r.attempt_id, r.reused_from)
        WHERE a.id IS NULL OR a.state <> 'SUCCEEDED' OR (r.attempt_id IS NOT NULL) = (r.reused_from IS NOT NULL)
        OR (a.job_id = r.job_id) <> (r.attempt_id IS NOT NULL)""",
    "a result that was taken over is what it was": """
        SELECT r.job_id, r.reused_from FROM result r JOIN result o ON o.attempt_id = r.reused_from
        WHERE o.result <> r.result""",
    "a SUCCEEDED attempt has the result": """
        SELECT a.id, a.state FROM attempt a LEFT JOIN result r ON r.attempt_id = a.id
        WHERE a.state = 'SUCCEEDED' AND r.job_id IS NULL""",
    "a job has at most one live attempt": f"""
        SELECT job_id, count(*) FROM attempt WHERE state IN {_LIVE} GROUP BY job_id HAVING count(*) > 1""",
    "a job is running exactly when it has a live attempt": f"""
        SELECT j.id, j.state FROM job j
        LEFT JOIN attempt a ON a.job_id = j.id AND a.state IN {_LIVE}
        WHERE (j.state = 'running') <> (a.id IS NOT NULL)""",
    "attempt numbers are dense": """
        SELECT j.id, j.attempts FROM job j LEFT JOIN attempt a ON a.job_id = j.id
        GROUP BY j.id HAVING count(a.id) <> j.attempts OR coalesce(max(a.number), 0) <> j.attempts""",
    "point numbers are dense": """
        SELECT loop_id, count(*) FROM point GROUP BY loop_id HAVING count(*) <> max(number) OR min(number) <> 1""",
    "a point ended exactly when its jobs did": f"""
        SELECT p.id, p.state FROM point p WHERE p.wide = 0 AND EXISTS (SELECT 1 FROM job j WHERE j.point_id = p.id) AND
        (p.state = 'open') <>
        EXISTS (SELECT 1 FROM job j WHERE j.point_id = p.id AND j.state NOT IN {_terminal("job")})
        AND NOT (p.state = 'open' AND EXISTS (SELECT 1 FROM loop l WHERE l.id = p.loop_id AND {_ENDING}))""",
    "nothing of an ended point goes on": f"""
        SELECT p.id, p.state FROM point p WHERE p.wide = 1 AND p.state <> 'open' AND (
        EXISTS (SELECT 1 FROM job j WHERE j.point_id = p.id AND j.state NOT IN {_terminal("job")}) OR
        EXISTS (SELECT 1 FROM loop l WHERE l.parent_point = p.id AND l.state NOT IN {_terminal("loop")}))""",
    "a continued point is the same point": """
        SELECT p.id, o.number FROM point p JOIN point o ON o.id = p.continued
        WHERE o.number <> p.number OR o.loop_id = p.loop_id""",
    "a MEASURED point has an observation, and no other has one": """
        SELECT id, state FROM point WHERE (state = 'MEASURED') <> (observation IS NOT NULL)""",
    "a FAILED point says its class": """
        SELECT id, state FROM point WHERE (state = 'FAILED') <> (failure_class IS NOT NULL)""",
    "a last report belongs to a PRUNED point": """
        SELECT id, state FROM point WHERE last_report IS NOT NULL AND state <> 'PRUNED'""",
    "a top-up is at the place of an earlier point of its loop": """
        SELECT p.id, p.adds FROM point p
        LEFT JOIN point o ON o.loop_id = p.loop_id AND o.number = json_extract(p.adds, '$.to') AND o.number < p.number
        WHERE p.adds IS NOT NULL AND (o.id IS NULL OR o.parameters <> p.parameters)""",
    "a point is replaced by one other at most": """
        SELECT loop_id, json_extract(adds, '$.to') FROM point
        WHERE adds IS NOT NULL AND state = 'MEASURED' AND json_extract(adds, '$.more') IS NOT NULL
        GROUP BY 1, 2 HAVING count(*) > 1""",
    "no live child is under a terminal loop": f"""
        SELECT p.id, p.state FROM point p JOIN loop l ON l.id = p.loop_id
        WHERE l.state IN {_terminal("loop")} AND p.state = 'open'""",
    "no live loop is under a terminal workflow": f"""
        SELECT l.id, l.state FROM loop l JOIN workflow w ON w.id = l.workflow_id
        WHERE w.state IN {_terminal("workflow")} AND l.state NOT IN {_terminal("loop")}""",
    "a closed iteration holds only closed points": """
        SELECT i.id, i.number FROM iteration i JOIN point p ON p.loop_id = i.loop_id AND p.iteration = i.number
        WHERE i.closed IS NOT NULL AND i.ingested_upto IS NULL AND p.state = 'open'""",
    "ingest numbers are dense": """
        SELECT loop_id, count(ingest_no) FROM point GROUP BY loop_id HAVING count(ingest_no) > 0 AND
        (count(DISTINCT ingest_no) <> count(ingest_no) OR max(ingest_no) <> count(ingest_no) OR min(ingest_no) <> 1)""",
    "only what has ended is ingested": """
        SELECT id, ingest_no FROM point WHERE state = 'open' AND ingest_no IS NOT NULL""",
    "the pending points of a question had not been ingested, and all others had": """
        SELECT i.id, i.number FROM iteration i WHERE i.ingested_upto IS NOT NULL AND i.pending <>
        (SELECT json_group_array(number) FROM (SELECT number FROM point p WHERE p.loop_id = i.loop_id
         AND p.iteration <= i.number AND (p.ingest_no IS NULL OR p.ingest_no > i.ingested_upto) ORDER BY number))""",
    "a question never forgets what an earlier one knew": """
        SELECT i.id, i.number FROM iteration i JOIN iteration b ON b.loop_id = i.loop_id AND b.number = i.number - 1
        WHERE i.ingested_upto IS NOT NULL AND coalesce(b.ingested_upto, -1) > i.ingested_upto""",
    "an iteration is decided only when it is closed": """
        SELECT id, number FROM iteration WHERE closed IS NULL AND verdict IS NOT NULL""",
    "an iteration has the points it says": """
        SELECT i.id, i.proposed FROM iteration i
        LEFT JOIN point p ON p.loop_id = i.loop_id AND p.iteration = i.number
        GROUP BY i.id HAVING count(p.id) <> i.proposed""",
    "keys are unique": """
        SELECT key, count(*) FROM attempt GROUP BY key HAVING count(*) > 1""",
    "a late result is in no history": """
        SELECT l.attempt_id, r.job_id FROM late_result l JOIN attempt a ON a.id = l.attempt_id
        JOIN result r ON r.attempt_id = a.id WHERE a.state <> 'SUCCEEDED'""",
}


def _finite_observations(connection: sa.Connection) -> list[str]:
    wrong = []
    query = sa.select(tables.point.c.id, tables.point.c.observation, tables.loop.c.name)
    query = query.join(tables.loop, tables.loop.c.id == tables.point.c.loop_id)
    for point_id, text, loop in connection.execute(query.where(tables.point.c.observation.is_not(None))):
        try:
            data = json.loads(text)
            numbers = [*data["values"].values(), *data["sigmas"].values(), *data["extras"].values()]
            named = bool(data["values"]) or not loop  # the workflow's own steps observe nothing
            fine = named and all(isinstance(n, float) and math.isfinite(n) for n in numbers)
        except (ValueError, KeyError, AttributeError, TypeError):
            fine = False
        if not fine:
            wrong.append(str(point_id))
    return wrong


def _own_digest(connection: sa.Connection) -> list[str]:
    from idds_core.store.iterations import point_digest

    c = tables.point.c
    return [
        str(point_id)
        for point_id, text, digest in connection.execute(sa.select(c.id, c.parameters, c.digest))
        if point_digest(json.loads(text)) != digest
    ]


def _finite_results(connection: sa.Connection) -> list[str]:
    wrong = []
    for job_id, text in connection.execute(sa.select(tables.result.c.job_id, tables.result.c.result)):
        try:
            strict_json(json.loads(text))
        except (ValueError, TypeError):
            wrong.append(str(job_id))
    return wrong


_MEASURED = sa.text("""
    SELECT p.id, p.observation, r.result FROM point p JOIN job j ON j.point_id = p.id JOIN result r ON r.job_id = j.id
    WHERE p.state = 'MEASURED' AND p.wide = 0 AND j.step_no = (SELECT max(step_no) FROM job WHERE point_id = p.id)""")


def _as_measured(connection: sa.Connection) -> list[str]:
    """What is sealed nobody can compare, and what chunks gave was joined."""
    return [str(point) for point, seen, result in connection.execute(_MEASURED) if not _same(seen, result)]


def _same(seen: str, result: str) -> bool:
    try:
        observation, found = json.loads(seen), json.loads(result)
        if "sealed" in observation or "sealed" in found:
            return True
        given = observe(found["values"], list(observation["values"])).to_json()
        return all(observation.get(name) == given.get(name) for name in ("values", "sigmas", "extras", "censored"))
    except (ValueError, TypeError, KeyError, AttributeError, BindingError):
        return False


def _finite_reports(connection: sa.Connection) -> list[str]:
    c = tables.report.c
    rows = connection.execute(sa.select(c.job_id, c.step, c.value))
    return [f"job {job}, step {step}" for job, step, value in rows if not math.isfinite(value)]


#: name -> what finds the violations
CHECKS: dict[str, Callable[[sa.Connection], list[str]]] = {
    "every observation is finite": _finite_observations,
    "every result is finite": _finite_results,
    "every report is finite": _finite_reports,
    "an observation is what the last step measured": _as_measured,
    "every point has its own digest": _own_digest,
}
