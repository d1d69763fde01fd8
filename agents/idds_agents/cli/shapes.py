"""What the objects look like that verbs print with ``--json``, as JSON Schema; each has all its members, and no others.

A member that is added later is a change that scripts survive; one that goes, or means something else, is not.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ADDS",
    "ANY",
    "ATTEMPT",
    "CHOSEN",
    "FLAG",
    "INTEGER",
    "INVARIANTS",
    "ITERATION",
    "JOB",
    "LOOP",
    "NUMBER",
    "OBSERVATION",
    "PARAMETERS",
    "POINT",
    "ROUTES",
    "STEP",
    "TEXT",
    "Schema",
    "by_name",
    "either",
    "exported",
    "listed",
    "maybe",
    "record",
]

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
INTEGER: Schema = {"type": "integer"}
NUMBER: Schema = {"type": "number"}
FLAG: Schema = {"type": "boolean"}
ANY: Schema = {}


def record(optional: dict[str, Schema] | None = None, /, **members: Schema) -> Schema:
    """An object with these members, and possibly the optional ones. ``class_`` stands for ``class``."""
    required = {name.rstrip("_"): schema for name, schema in members.items()}
    return {
        "type": "object",
        "properties": {**required, **(optional or {})},
        "required": [*required],
        "additionalProperties": False,
    }


def listed(item: Schema) -> Schema:
    """A list of such values."""
    return {"type": "array", "items": item}


def by_name(value: Schema) -> Schema:
    """An object whose names are the reader's own: of targets, parameters, states."""
    return {"type": "object", "additionalProperties": value}


def either(*choices: Schema) -> Schema:
    """One of these."""
    return {"anyOf": [*choices]}


def maybe(schema: Schema) -> Schema:
    """Such a value, or null."""
    return either(schema, {"type": "null"})


#: name -> number, or the choice of a categorical parameter
PARAMETERS = by_name(either(NUMBER, TEXT))
OBSERVATION = record(
    {"censored": by_name(TEXT)}, values=by_name(NUMBER), sigmas=by_name(NUMBER), extras=by_name(NUMBER)
)
#: what a point adds to another: itself once more, or so much more of what that one is made of
ADDS = record({"replicate": FLAG, "more": by_name(NUMBER)}, to=INTEGER)
INVARIANTS: dict[str, Schema] = {"invariants": by_name(INTEGER), "violations": by_name(listed(TEXT))}

ATTEMPT = record(
    path=TEXT,
    state=TEXT,
    class_=maybe(TEXT),
    code=maybe(TEXT),
    message=TEXT,
    provider=TEXT,
    created=NUMBER,
    ended=maybe(NUMBER),
    wall_s=maybe(NUMBER),
    cpu_s=maybe(NUMBER),
    max_rss=maybe(INTEGER),
    progress=maybe(record(fraction=NUMBER, text=TEXT, at=NUMBER)),
    log=maybe(TEXT),
)

JOB = record(
    path=TEXT,
    step=TEXT,
    state=TEXT,
    reason=TEXT,
    not_before=maybe(NUMBER),
    reports=listed(record(step=INTEGER, value=NUMBER)),
    attempts=listed(ATTEMPT),
)

#: why a point was chosen; what a learner of one's own tells may have other members, too
CHOSEN: Schema = {
    **record(
        {
            "rank": INTEGER,
            "of": INTEGER,
            "score": NUMBER,
            "expected": by_name(by_name(NUMBER)),
            "retry_of": INTEGER,
            "reason": TEXT,
            "events": NUMBER,
            "choices": by_name(record(cost=NUMBER, taken=NUMBER)),
        },
        why=maybe(TEXT),
        text=TEXT,
    ),
    "additionalProperties": True,
}

POINT = record(
    path=TEXT,
    number=INTEGER,
    iteration=INTEGER,
    state=TEXT,
    parameters=PARAMETERS,
    chosen=CHOSEN,
    observation=maybe(OBSERVATION),
    failure_class=maybe(TEXT),
    last_report=maybe(record(step=INTEGER, value=NUMBER)),
    adds=maybe(ADDS),
    replaced_by=maybe(INTEGER),
    jobs=listed(JOB),
)

#: in steady mode also what was known, and what was pending, when it closed
_STEADY: dict[str, Schema] = {"ingested_upto": INTEGER, "pending": listed(INTEGER)}
_DECISION: dict[str, Schema] = {
    "iteration": INTEGER,
    "asked": INTEGER,
    "proposed": INTEGER,
    "closed": FLAG,
    "verdict": maybe(TEXT),
    "reason": maybe(TEXT),
    "elapsed_s": maybe(NUMBER),
    "core_hours": maybe(NUMBER),
    "took": by_name(NUMBER),
    "diagnostics": by_name(ANY),
}
ITERATION = either(
    record(_STEADY, path=TEXT, **_DECISION, points=listed(POINT)),
    record(path=TEXT, iteration=INTEGER, points=listed(POINT)),  # 0: what was brought
)

LOOP = record(
    path=TEXT,
    workflow=TEXT,
    state=TEXT,
    wish=TEXT,
    reason=TEXT,
    workflow_state=TEXT,
    evaluations=INTEGER,
    iterations=INTEGER,
    points=by_name(INTEGER),
    failures=by_name(INTEGER),
    failures_by_code=by_name(INTEGER),
    digest=TEXT,
    seed=INTEGER,
    targets=listed(TEXT),
    sealed=listed(TEXT),
    core_hours=NUMBER,
    elapsed_s=NUMBER,
    excluded=by_name(record(share=NUMBER, range=maybe(listed(NUMBER)))),
    workdir=TEXT,
    verdicts=listed(record(_STEADY, **_DECISION)),
    loops=listed(record(path=TEXT, state=TEXT, reason=TEXT)),
    failed_attempts=listed(ATTEMPT),
)

ROUTES = listed(record(name=TEXT, slots=INTEGER, ok=FLAG, reason=TEXT))
STEP = record(
    step=TEXT,
    kind=TEXT,
    runs=TEXT,
    takes=listed(TEXT),
    gives=listed(TEXT),
    requires=record(cores=INTEGER, memory=maybe(INTEGER), walltime=NUMBER),
    attempts=INTEGER,
    providers=ROUTES,
)


def exported(**members: Schema) -> Schema:
    """An export: which loop it is of, its space, how far it is, and these members."""
    return record(
        protocol=INTEGER,
        loop=TEXT,
        parameters=by_name(record(unit=TEXT, kind=TEXT)),
        constraints=listed(TEXT),
        targets=listed(TEXT),
        state=TEXT,
        reason=TEXT,
        digest=TEXT,
        seed=INTEGER,
        evaluations=INTEGER,
        **members,
    )
