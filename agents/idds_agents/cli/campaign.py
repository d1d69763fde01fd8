"""``extend``, ``amend``, ``add``, ``import``, ``retry``: a campaign goes on."""

from __future__ import annotations

import csv
import json
import math
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from idds_agents.cli.problems import FINE, NOT_CONCLUDED, InputError, did_you_mean
from idds_agents.cli.text import print_json, say, warn
from idds_agents.cli.where import Target, find_workspace, resolve_loop
from idds_agents.cli.wishes import actor
from idds_agents.requests import answered
from idds_agents.revising import Draft, amend, extend
from idds_agents.wakeup import nudge
from idds_agents.workspace import Workspace
from idds_core.definition import Definition, validate
from idds_core.errors import Problem
from idds_core.model import Loop
from idds_core.space import Categorical, Integer, Ordered, Space
from idds_core.states import TERMINAL
from idds_core.store import Store, WorkflowRecord

__all__ = [
    "amend_verb",
    "extend_verb",
    "is_file",
    "number_of",
    "observed_values",
    "opened",
    "points_of",
    "request",
    "retry",
    "rows_of",
    "send",
    "values_of",
]

_PROBLEM = re.compile(r"(E-[A-Z]+-\d{3}) (.*)", re.DOTALL)


@contextmanager
def opened(workdir: Path | None, path: str | None = None) -> Iterator[tuple[Workspace, Store]]:
    """The work folder and its store, open for writing."""
    workspace = find_workspace(workdir, path)
    workspace.look().close()  # a missing store is told, not made
    workspace.make()
    store = workspace.open()
    try:
        yield workspace, store
    finally:
        store.close()


# ---------------------------------------------------------------------- revisions
def is_file(what: str | None) -> bool:
    """Whether a scan file is meant."""
    return what is not None and what.endswith((".py", ".yaml", ".yml"))


@contextmanager
def _drafted(
    what: str | None, workdir: Path | None, given: Sequence[str], change: Mapping[str, Any]
) -> Iterator[tuple[Workspace, Store, Draft]]:
    """The definition of a file, or the one on record with a changed budget, beside the newest revision."""
    if not is_file(what):
        with opened(workdir, what) as (workspace, store):
            target = resolve_loop(store, what)
            yield workspace, store, _budgeted(store, workspace, target, change)
        return
    from idds_agents.cli.assignments import assignments
    from idds_core.loading import load, make_bundle, source_folder

    file = Path(str(what))
    definition = load(file, assignments(given))
    if change:
        loops = [loop.name for loop in definition.workflow.loops]
        if len(loops) > 1:
            raise _which_loop(f"{definition.name}/{name}" for name in loops)
        definition = validate(_with_change(definition.workflow, loops, change))
    folder = workdir or Path(f"{definition.name}-run")
    with opened(folder if (folder / "idds.db").exists() else workdir) as (workspace, store):
        known = store.workflows.latest(definition.name)
        if known is None:
            raise InputError.of("E-PATH-003", f"there is no workflow {definition.name}", "", str(store.path),
                                did_you_mean(definition.name, [w.name for w in store.workflows.all()]))  # fmt: skip
        bundle, _ = make_bundle(source_folder(file), workspace.bundles, workspace.folder)
        yield workspace, store, Draft(known, definition, bundle, workspace.bundles)


def _budgeted(store: Store, workspace: Workspace, target: Target, change: Mapping[str, Any]) -> Draft:
    newest = store.workflows.latest(target.workflow.name) or target.workflow
    bundle = str(workspace.bundles / newest.bundle)
    if bundle not in sys.path:  # the learner may live beside the scan file
        sys.path.insert(0, bundle)
    if not target.loop.name:
        inside = store.workflows.loops(target.workflow.id)
        raise _which_loop(f"{newest.path}/{loop.name}" for loop in inside if loop.name and "/" not in loop.name)
    workflow = Definition(json.loads(newest.definition)).workflow
    names = target.loop.name.split("/")[::5]  # outer/it/3/p/7/inner: what is changed is changed at every point
    return Draft(newest, validate(_with_change(workflow, names, change)), newest.bundle, workspace.bundles)


def _with_change(around: Any, names: Sequence[str], change: Mapping[str, Any]) -> Any:
    """A workflow or loop in which the loop of that name, inside of that one, ... has other fields."""
    if not names:
        return replace(around, **change)
    here = [isinstance(e, Loop) and e.name == names[0] for e in around.body]
    body = (_with_change(e, names[1:], change) if it else e for e, it in zip(around.body, here, strict=True))
    return replace(around, body=tuple(body))


def _which_loop(paths: Iterable[str]) -> InputError:
    return InputError.of("E-USAGE-007", "which loop is meant", f"there are {', '.join(paths)}", "", "Give its path.")


def extend_verb(
    what: str | None,
    workdir: Path | None,
    given: Sequence[str],
    *,
    until: str | None,
    batch: int | None,
    as_json: bool,
) -> int:
    """Write the next revision with another budget; 'run' goes on with it."""
    from idds_core.conditions_text import read_condition

    change: dict[str, Any] = {} if until is None else {"until": read_condition(until)}
    change |= {} if batch is None else {"batch": batch}
    if not change and not is_file(what):
        raise InputError.of("E-USAGE-007", "what is to be extended", "neither --until nor a changed file is given", "",
                            "For example --until 'MaxPoints(300)'.")  # fmt: skip
    with _drafted(what, workdir, given, change) as (workspace, store, draft):
        made = draft.old if _standing(draft) else extend(store, draft, actor())
        _told_revision(workspace, store, draft, made, {}, as_json=as_json)
    return FINE


def amend_verb(what: str | None, workdir: Path | None, given: Sequence[str], *, dry: bool, as_json: bool) -> int:
    """Write the next revision with another definition; 'run' goes on with it."""
    if not is_file(what):
        raise InputError.of(
            "E-USAGE-007", "what is to be amended", "no file is given", "", "Give the changed scan file."
        )
    with _drafted(what, workdir, given, {}) as (workspace, store, draft):
        if _standing(draft):
            _told_revision(workspace, store, draft, draft.old, {}, as_json=as_json)
            return FINE
        made, told = amend(store, draft, actor(), dry=dry)
        _told_revision(workspace, store, draft, made, told, as_json=as_json)
    return FINE


def _standing(draft: Draft) -> bool:
    """Whether the same command has made this revision before; it goes on."""
    return draft.same and draft.old.continues is not None and draft.old.state not in TERMINAL["workflow"]


def _told_revision(
    workspace: Workspace,
    store: Store,
    draft: Draft,
    made: WorkflowRecord | None,
    told: Mapping[str, Any],
    *,
    as_json: bool,
) -> None:
    names = {w.id: w.path for w in store.workflows.all()}
    continues = draft.old.path if made is None else names.get(made.continues or 0, "")
    document = {"path": made.path if made else None, "continues": continues, "changes": draft.told, **told,
                "workdir": str(workspace.folder)}  # fmt: skip
    if as_json:
        print_json(document)
        return
    say(f"{made.path} continues {continues}" if made else f"nothing is written; this would continue {continues}")
    for line in draft.told:
        say(f"  {line}")
    if told:
        jobs = ", ".join(f"{n} {step}" for step, n in told["jobs"].items()) or "no job"
        reused = ", ".join(f"{n} {step}" for step, n in told["reused"].items()) or "none"
        for name, found in told["loops"].items() if len(told["loops"]) > 1 else ():
            say(f"  {name}: {', '.join(how if n == 1 else f'{n} times, {how}' for how, n in found.items())}")
        say(f"  of {told['points']} points {told['kept']} stay as they are; run again: {jobs}; taken over: {reused}")
    if made:
        say(f"'idds-core run {made.name} --workdir {workspace.folder}' goes on")


# ---------------------------------------------------------------------- requests
def request(verb: str, path: str | None, workdir: Path | None, make: Any, *, as_json: bool) -> int:
    """Ask something of a loop, and wait for the answer. `make`: from the loop's space and targets to the arguments."""
    from idds_agents.catalog import Catalog

    with opened(workdir, path) as (workspace, store):
        target = resolve_loop(store, path)
        _refuse_own_steps(store, target, verb)
        loop = Catalog(store, workspace.folder).plan(target.loop.id).loop
        return send(verb, workspace, store, target, make(loop.space, loop.targets), as_json=as_json)


def send(
    verb: str, workspace: Workspace, store: Store, target: Target, given: Mapping[str, Any], *, as_json: bool
) -> int:
    """Write the request of a loop, wait for the answer, and say it."""
    command = store.workflows.command(target.workflow.id, verb, actor(), {"loop": target.loop.name, **given})
    nudge(workspace.socket)
    by, answer = answered(workspace, store, command)
    newest = store.workflows.latest(target.workflow.name)
    if answer is None:
        warn(Problem("E-ENGINE-002", "the engine has not answered yet", "", target.loop_path,
                     f"The {verb} is on record and takes effect when it is free; see 'show'."))  # fmt: skip
        return NOT_CONCLUDED
    wrong = _PROBLEM.match(answer)
    if wrong:
        raise InputError(Problem(wrong[1], wrong[2].rstrip(".")))
    if as_json:
        print_json({"path": target.loop_path, "verb": verb, "by": by, "answer": answer,
                    "workflow": newest.path if newest else target.workflow.path})  # fmt: skip
    else:
        say(f"{target.loop_path}: {answer}")
    return FINE


def _refuse_own_steps(store: Store, target: Target, verb: str) -> None:
    """A workflow's own steps have no points that people could bring; what failed of them can be tried again."""
    if target.loop.name or verb == "retry":
        return
    loops = [x.name for x in store.workflows.loops(target.workflow.id) if x.name and "/" not in x.name]
    raise _which_loop(f"{target.workflow.path}/{name}" for name in loops)


def retry(path: str | None, workdir: Path | None, points: Sequence[int], *, failed: bool, as_json: bool) -> int:
    """Try failed points again."""
    if not failed and not points:
        raise InputError.of("E-USAGE-007", "which points are to be tried again", "", "", "Give --failed, or --point 3.")
    return request("retry", path, workdir, lambda *_: {"points": list(points)}, as_json=as_json)


# ---------------------------------------------------------------------- reading what people give
def values_of(words: Sequence[str], code: str = "E-POINT-007") -> dict[str, str]:
    """``m_zp=1200`` and its like, by name."""
    found: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name.strip():
            raise InputError.of(code, f"{word!r} cannot be read", "it is no NAME=VALUE", "", "For example m_zp=1200.")
        found[name.strip()] = text.strip()
    return found


def number_of(text: str, what: str) -> float:
    """The number that a text is."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise InputError.of("E-POINT-007", f"{what}={text!r} is no finite number", "", "", "Give a number.")
    return value


def observed_values(texts: Mapping[str, str]) -> dict[str, float | str]:
    """What an observation is made of: numbers, and the side of what is censored."""
    return {n: text if n.endswith("_censored") else number_of(text, n) for n, text in texts.items()}


def _parameters(space: Space, texts: Mapping[str, str]) -> dict[str, Any]:
    unknown = [n for n in texts if n not in space.parameters]
    missing = [n for n in space.names if n not in texts]
    if unknown or missing:
        why = f"{unknown[0]} is no parameter" if unknown else f"{missing[0]} is missing"
        fix = did_you_mean(unknown[0], space.names) if unknown else f"The parameters are {', '.join(space.names)}."
        raise InputError.of("E-POINT-007", "the point cannot be read", why, "", fix)
    found: dict[str, Any] = {}
    for name, parameter in space.parameters.items():
        if isinstance(parameter, Categorical):
            found[name] = texts[name]
            continue
        if isinstance(parameter, Ordered):
            found[name] = next((c for c in parameter.choices if texts[name] == str(c)), texts[name])
            continue
        value = number_of(texts[name], name)
        found[name] = int(value) if isinstance(parameter, Integer) and value.is_integer() else value
    return found


def points_of(space: Space, words: Sequence[str], file: Path | None) -> list[dict[str, Any]]:
    """Points given on the command line and in a CSV file."""
    found = [_parameters(space, values_of(words))] if words else []
    rows = _table(file) if file else []
    found += [_parameters(space, {n: row[n] for n in space.names if n in row}) for row in rows]
    if not found:
        raise InputError.of("E-USAGE-007", "no point is given", "", "", "Give m_zp=1200 m_a=400, or --file points.csv.")
    return found


def rows_of(space: Space, targets: Sequence[str], file: Path) -> list[dict[str, Any]]:
    """Measured points of a CSV file: a column for each parameter and target, optionally for sigmas and censoring."""
    found = []
    for row in _table(file):
        texts = {n: row[n] for n in space.names if n in row}
        names = [n for t in targets for n in (t, f"{t}_sigma", f"{t}_censored") if row.get(n, "") != ""]
        given = observed_values({n: row[n] for n in names})
        found.append({"parameters": _parameters(space, texts), "values": given})
    return found


def _table(file: Path) -> list[dict[str, str]]:
    def bad(what: str, why: str, line: int | None = None) -> InputError:
        where = str(file) if line is None else f"{file}:{line}"
        return InputError.of("E-POINT-008", what, why, where, "Give a line of column names, then one for each point.")

    try:
        with file.open(newline="", encoding="utf-8-sig") as source:
            reader = csv.DictReader(source, strict=True, skipinitialspace=True)
            rows = []
            for row in reader:
                if None in row or None in row.values():
                    raise bad("a line has not as many values as there are columns", "", reader.line_num)
                rows.append({str(k).strip(): str(v).strip() for k, v in row.items()})
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise bad(f"{file} cannot be read", str(error)) from error
    if not rows:
        raise bad(f"{file} has no points", "")
    return rows
