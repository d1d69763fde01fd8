"""What each verb prints with ``--json``, as JSON Schema.

``idds-core schema --output VERB`` prints one, ``python -m idds_agents.cli.outputs > docs/reference/json.md`` makes a
page of all. The tests hold the output of every verb against it, and there is none for a verb that is not there.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from idds_agents.cli.shapes import (
    ADDS,
    ANY,
    ATTEMPT,
    CHOSEN,
    FLAG,
    INTEGER,
    INVARIANTS,
    ITERATION,
    JOB,
    LOOP,
    NUMBER,
    OBSERVATION,
    PARAMETERS,
    POINT,
    ROUTES,
    STEP,
    TEXT,
    Schema,
    by_name,
    either,
    exported,
    listed,
    maybe,
    record,
)

__all__ = ["OUTPUTS", "output_schema", "page"]

_WISH = record(path=TEXT, verb=TEXT, by=TEXT, answer=TEXT, state=TEXT)
_REQUEST = record(path=TEXT, verb=TEXT, by=TEXT, answer=TEXT, workflow=TEXT)
_CHANGED: dict[str, Schema] = {"path": maybe(TEXT), "continues": TEXT, "changes": listed(TEXT), "workdir": TEXT}
_RUN_AGAIN: dict[str, Schema] = {
    "points": INTEGER,
    "kept": INTEGER,
    "measured_again": INTEGER,
    "jobs": by_name(INTEGER),
    "reused": by_name(INTEGER),
    "loops": by_name(by_name(INTEGER)),
}
_BOUND, _HOURS = maybe(INTEGER), maybe(NUMBER)
_PLANNED_LOOP = record(
    loop=TEXT,
    space=by_name(ANY),
    targets=listed(TEXT),
    learner=by_name(ANY),
    until=by_name(ANY),
    steps=listed(STEP),
    first_points=listed(PARAMETERS),
    batch=INTEGER,
    budget=record(points=_BOUND, core_hours=_HOURS, wall_s=_HOURS),
    cost=record(jobs=_BOUND, attempts=_BOUND, core_hours=_HOURS, core_hours_retried=_HOURS),
)
_WHY = record(
    path=TEXT,
    state=TEXT,
    wish=TEXT,
    engine=maybe(by_name(ANY)),
    chosen=maybe(CHOSEN),
    because=listed(TEXT),
    reasons=listed(record(reason=TEXT, what=TEXT, fix=TEXT)),
    routing=listed(record(step=TEXT, providers=ROUTES)),
    jobs=listed(record(path=TEXT, state=TEXT, because=TEXT, not_before=maybe(NUMBER), attempts=listed(ATTEMPT))),
)

# ---------------------------------------------------------------------- comparing and taking away
_SIDE = record(name=TEXT, path=TEXT, state=TEXT, evaluations=INTEGER, levels=by_name(either(NUMBER, TEXT)), digest=TEXT)
_PAIR = listed(NUMBER)
_OVERLAP = record(
    excluded_share=_PAIR,
    intersection_over_union=NUMBER,
    symmetric_difference=NUMBER,
    natural=maybe(record(excluded=_PAIR, symmetric_difference=NUMBER, unit=TEXT)),
    largest_distance=maybe(NUMBER),
    largest_distance_between=maybe(listed(PARAMETERS)),
)
_DIFFERENT = record(parameters=PARAMETERS, points=listed(INTEGER), values=by_name(_PAIR))
_COMPARED = record(
    protocol=INTEGER,
    a=_SIDE,
    b=_SIDE,
    targets=by_name(_OVERLAP),
    points=record(measured=listed(INTEGER), shared=INTEGER, differ=listed(_DIFFERENT)),
    definition=listed(record(path=TEXT, a=ANY, b=ANY)),
    file=maybe(TEXT),
)
_POINT_AS_IS = record(
    {"last_report": listed(NUMBER), "ingest_no": INTEGER, "adds": ADDS},
    number=INTEGER,
    iteration=INTEGER,
    parameters=PARAMETERS,
    state=TEXT,
    observation=maybe(OBSERVATION),
    failure_class=maybe(TEXT),
)
_LINE = record(target=TEXT, curve=TEXT, segment=INTEGER, points=listed(_PAIR))
_AXIS = record(name=TEXT, unit=TEXT, log=FLAG, values=listed(NUMBER))
_COLUMN = record(name=TEXT, kind=TEXT, of=TEXT, type_=TEXT, unit=TEXT)
_EXPORTED = (
    exported(level=by_name(NUMBER), lines=listed(_LINE), points=listed(_POINT_AS_IS)),
    exported(columns=listed(_COLUMN), points=listed(by_name(either(NUMBER, TEXT, {"type": "null"})))),
    exported(level=by_name(NUMBER), axes=listed(_AXIS), allowed=listed(ANY), map=by_name(by_name(listed(ANY)))),
    record(protocol=INTEGER, path=TEXT, format=TEXT, what=maybe(TEXT), files=listed(TEXT)),
)

# ---------------------------------------------------------------------- by verb
OUTPUTS: dict[str, Schema] = {
    "init": record(template=TEXT, folder=TEXT, files=listed(TEXT), next=listed(TEXT)),
    "validate": record(
        file=TEXT,
        ok=FLAG,
        name=maybe(TEXT),
        problems=listed(record(code=TEXT, what=TEXT, why=TEXT, where=TEXT, fix=TEXT)),
    ),
    "plan": record(
        file=TEXT,
        name=TEXT,
        seed=INTEGER,
        loops=listed(_PLANNED_LOOP),
        disk=record(bundle_bytes=INTEGER, bytes_per_point=maybe(NUMBER), needed_bytes=_BOUND, free_bytes=INTEGER),
        steps=listed(STEP),
    ),
    "schema": either(record(file=TEXT), by_name(ANY)),
    "convert": record(file=maybe(TEXT), yaml=TEXT, modules=listed(TEXT)),
    "run": either(LOOP, record(pid=INTEGER, workdir=TEXT, log=TEXT)),
    "attach": LOOP,
    "show": either(LOOP, ITERATION, POINT, JOB, ATTEMPT, record(path=TEXT, jobs=listed(JOB))),
    "ls": listed(
        either(
            record(path=TEXT, state=TEXT, iterations=INTEGER, evaluations=INTEGER, reason=TEXT),
            record(path=TEXT, verdict=TEXT, points=INTEGER, reason=maybe(TEXT)),
            record(path=TEXT, state=TEXT, parameters=TEXT, observation=TEXT, top_up=TEXT),
            record(path=TEXT, state=TEXT, reason=TEXT),
            record(path=TEXT, state=TEXT, attempts=INTEGER, reason=TEXT),
            record(path=TEXT, state=TEXT, code=TEXT, message=TEXT),
        )
    ),
    "logs": listed(record(path=TEXT, state=TEXT, log=TEXT)),
    "why": _WHY,
    "hold": _WISH,
    "resume": _WISH,
    "cancel": _WISH,
    "plot": record(
        {"frames": INTEGER, "movie": TEXT, "data": TEXT},
        path=TEXT,
        iteration=_BOUND,
        kind=TEXT,
        file=TEXT,
        evaluations=INTEGER,
    ),
    "report": record(
        path=TEXT, file=TEXT, bytes=INTEGER, evaluations=INTEGER, iterations=listed(INTEGER), warnings=listed(TEXT)
    ),
    "compare": _COMPARED,
    "predict": listed(by_name(either(NUMBER, TEXT))),
    "export": either(*_EXPORTED),
    "get": record(
        protocol=INTEGER,
        path=TEXT,
        folder=TEXT,
        files=listed(record(path=TEXT, name=TEXT, file=TEXT, bytes=INTEGER, sha256=TEXT)),
        missing=listed(record(path=TEXT, name=TEXT, why=TEXT, expected=FLAG)),
    ),
    "unblind": record(path=TEXT, targets=listed(TEXT), folders_opened=INTEGER, already=FLAG),
    "verify": record(
        {"plan": listed(record(invariant=TEXT, rows=TEXT, by=TEXT, act=TEXT))},
        fine=FLAG,
        sealed=INTEGER,
        head=TEXT,
        **INVARIANTS,
    ),
    "replay": record(
        path=TEXT,
        mode=TEXT,
        questions=INTEGER,
        equal=FLAG,
        versions=by_name(listed(TEXT)),
        differences=listed(record(path=TEXT, what=TEXT, text=TEXT)),
    ),
    "doctor": listed(record(check=TEXT, level=TEXT, found=TEXT, fix=TEXT)),
    "errors": listed(record(code=TEXT, means=TEXT, why=TEXT, fix=TEXT)),
    "config": either(listed(record(name=TEXT, value=ANY, default=ANY, source=TEXT, description=TEXT)), by_name(ANY)),
    "clean": record(
        dry_run=FLAG, bytes=INTEGER, loops=listed(record(path=TEXT, attempts=INTEGER, files=INTEGER, bytes=INTEGER))
    ),
    "extend": record(**_CHANGED),
    "amend": record(_RUN_AGAIN, **_CHANGED),
    "add": _REQUEST,
    "import": _REQUEST,
    "retry": _REQUEST,
    "ask": record(
        path=TEXT,
        state=TEXT,
        reason=TEXT,
        points=listed(record(number=INTEGER, path=TEXT, parameters=PARAMETERS)),
    ),
    "tell": _REQUEST,
    "top-up": _REQUEST,
    "db check": record(file=TEXT, fine=FLAG, revision=TEXT, restored=FLAG, **INVARIANTS),
    "db backup": record(file=TEXT, bytes=INTEGER),
    "db restore": record(
        **{"file": TEXT, "from": TEXT, "aside": maybe(TEXT), "missing": record(results=maybe(INTEGER), found=INTEGER)}
    ),
    "db upgrade": record(file=TEXT, before=TEXT, now=TEXT, backup=maybe(TEXT)),
}


def output_schema(verb: str) -> Schema:
    """The JSON Schema of what a verb prints with ``--json``. Raises KeyError when there is no such verb."""
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"idds-core {verb} --json",
        **OUTPUTS[verb],
    }


# ---------------------------------------------------------------------- for people
_HEAD = """# What `--json` prints

Every verb prints one JSON value on stdout; progress and messages go to stderr. The members below are always there,
unless it says optional. A release may add members; it takes none away without saying so. `idds-core schema --output
VERB` prints the same as JSON Schema:

```console
$ idds-core schema --output show -o show.schema.json
```

A call that is refused prints nothing on stdout, and its message on stderr ([all of them](../errors.md)); `validate`
alone tells its problems as JSON, too. Exit codes: 0 converged or fine, 2 budget spent, 3 failed or not concluded, 4 bad
input, 5 handed over.

Times are seconds, moments seconds since 1970, sizes bytes. `{any name: ...}` is an object whose names are yours: of
targets, parameters, states.
"""

#: objects that several verbs print, told once
_NAMED = {"LOOP": LOOP, "ITERATION": ITERATION, "POINT": POINT, "JOB": JOB, "ATTEMPT": ATTEMPT, "STEP": STEP}


def page() -> str:
    """All outputs as a page of documentation."""
    parts = [f"\n## `{verb}`\n\n```text\n{_told(schema)}\n```\n" for verb, schema in sorted(OUTPUTS.items())]
    objects = [f"\n{name}\n\n```text\n{_members(schema)}\n```\n" for name, schema in _NAMED.items()]
    return "".join([_HEAD, *parts, "\n## Objects\n", *objects])


def _told(schema: Mapping[str, Any], margin: str = "") -> str:
    """A schema in a few words.

    >>> print(_told(record({"n": INTEGER}, path=TEXT, points=listed(PARAMETERS))))
    {
      path: text
      points: [{any name: number or text}]
      n (optional): integer
    }
    """
    named = next((name for name, known in _NAMED.items() if known is schema), None)
    return named or _members(schema, margin)


def _members(schema: Mapping[str, Any], margin: str = "") -> str:
    if "anyOf" in schema:
        return " or ".join(_told(choice, margin) for choice in schema["anyOf"])
    kind = schema.get("type")
    if kind == "array":
        return f"[{_told(schema['items'], margin)}]"
    if "properties" in schema:
        names = {name: name if name in schema["required"] else f"{name} (optional)" for name in schema["properties"]}
        lines = [f"{margin}  {names[n]}: {_told(s, f'{margin}  ')}" for n, s in schema["properties"].items()]
        return "\n".join(["{", *lines, f"{margin}}}"])
    if kind == "object":
        return f"{{any name: {_told(schema['additionalProperties'], margin)}}}"
    return {"string": "text", "boolean": "true or false", None: "anything"}.get(kind, str(kind))


if __name__ == "__main__":
    print(page(), end="")
