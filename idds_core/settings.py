"""What an operator may set: limits, slots, durability. Read from a TOML file and ``IDDS_*`` variables."""

from __future__ import annotations

import json
import os
import textwrap
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from idds_core.errors import DefinitionError, Problem, did_you_mean

__all__ = ["Setting", "Settings", "effective", "example", "read_settings", "strange_variables"]

_PREFIX = "IDDS_"
#: variables of ours that are no settings
_OTHERS = frozenset({"IDDS_TRACEBACK", "IDDS_CHAOS", "IDDS_1LBB_DATA"})


class Settings(BaseSettings):
    """Settings of an embedded engine. ``config/embedded.toml`` is made from this class."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True, allow_inf_nan=False)

    durability: Literal["full", "normal"] = Field(
        "full",
        description='"full": every commit survives a power cut. "normal": faster; a power cut (not a crash) may cost '
        "the last moments.",
    )
    slots: int | None = Field(
        None, ge=1, le=4096, description="Jobs that run at once. Without it: the cores this process may use.",
        examples=[4],
    )  # fmt: skip
    infra_attempts: int = Field(
        10,
        ge=1,
        description="How many attempts of a job may end for reasons of the machine (a worker that died, a full disk) "
        "before it fails.",
    )
    learner_seconds: float = Field(
        300.0, gt=0, description="Seconds that one call of the learner may take; beyond them the loop is held."
    )
    learner_memory: int = Field(
        2_000_000_000, gt=0, description="Bytes of memory that the learner may use; beyond them the loop is held."
    )
    log_limit: int = Field(
        10_000_000,
        ge=1000,
        description="Bytes of log kept for each attempt; of a longer one the head and the tail.",
    )
    output_limit: int = Field(1_000_000, ge=100, description="Bytes of a job's result; a larger one is refused.")
    sweep_seconds: float = Field(
        1.0,
        gt=0,
        description="Longest time in seconds between two looks at the store, when nobody has woken the engine.",
    )
    min_free_bytes: int = Field(
        50_000_000,
        ge=0,
        description="The loop is held when less than this many bytes are free on the disk of the work folder.",
    )
    keep_attempts_days: float | None = Field(
        None,
        ge=0,
        description="Days after which the folders of attempts of concluded loops are removed, when an engine starts. "
        "Results stay. Without it: never; see 'idds-core clean'.",
        examples=[30],
    )
    keep_logs: bool = Field(True, description="Whether logs of attempts stay when their folders are removed.")
    hand_over_seconds: float = Field(
        5.0,
        ge=0,
        description="Seconds that running jobs may take to end when the engine is told to end (SIGTERM); then it hands "
        "over, with exit code 5.",
    )
    database: str | None = Field(
        None,
        min_length=1,
        description="The store's file. Without it: idds.db in the work folder. On a local disk when the work folder is "
        "on a network.",
        examples=["/scratch/me/scan.db"],
    )
    file_system: Literal["auto", "local", "network"] = Field(
        "auto",
        description='"auto": found out. "network": a rollback journal and a heartbeat instead of what only one machine '
        'can see. "local": not so.',
    )
    notify: Annotated[list[str], NoDecode] = Field(
        [],
        description="Who is told when a run has concluded, is held, or fails often: URLs of apprise, such as "
        "mailto://... or json://host:port. Keep secrets out of this file: env:NAME and file:PATH (mode 600) hold one.",
    )

    @field_validator("notify", mode="before")
    @classmethod
    def _words(cls, given: Any) -> Any:
        """In the environment: words with blanks between them."""
        return given.split() if isinstance(given, str) else given


def read_settings(path: str | Path | None = None) -> Settings:
    """Settings from a TOML file (table ``[embedded]``) and the environment, which wins.

    Raises
    ------
    DefinitionError
        With a line for each wrong setting.

    """
    return effective(path)[0]


# ---------------------------------------------------------------------- where each comes from
@dataclass(frozen=True, slots=True)
class Setting:
    """A setting in effect.

    source : "default", the file, or the variable it comes from.
    """

    name: str
    value: Any
    default: Any
    source: str
    description: str


def effective(path: str | Path | None = None) -> tuple[Settings, list[Setting]]:
    """The settings, and of each where it comes from.

    Raises
    ------
    DefinitionError
        With a line for each wrong setting.

    """
    problems: list[Problem] = []
    given = {} if path is None else _table(Path(path), problems)
    said = {name.upper() for name in os.environ}
    used = {name: value for name, value in given.items() if f"{_PREFIX}{name.upper()}" not in said}
    settings = None
    try:
        settings = Settings(**used)
    except ValidationError as error:
        problems += [_problem(e["loc"], e["msg"], used, path) for e in error.errors()]
    told = {problem.what for problem in problems}
    for name in _switched(used):  # true would be read as 1
        problem = _problem((name,), "it is true or false", used, path)
        if problem.what not in told:
            problems.append(problem)
    if problems or settings is None:
        raise DefinitionError.all(problems)
    return settings, [
        Setting(name, getattr(settings, name), field.default, _source(name, used, said, path), field.description or "")
        for name, field in Settings.model_fields.items()
    ]


def _switched(given: Mapping[str, Any]) -> list[str]:
    fields = Settings.model_fields
    return [n for n, v in given.items() if isinstance(v, bool) and n in fields and fields[n].annotation is not bool]


def _source(name: str, given: Mapping[str, Any], said: set[str], path: str | Path | None) -> str:
    variable = f"{_PREFIX}{name.upper()}"
    if variable in said:
        return variable
    return str(path) if name in given else "default"


def strange_variables() -> Iterator[Problem]:
    """Variables that look like a setting of ours and are none: nobody reads them, and nobody would say so."""
    known = {f"{_PREFIX}{name.upper()}" for name in Settings.model_fields}
    for name in sorted(os.environ):
        if not name.upper().startswith(_PREFIX) or name.upper() in known | _OTHERS:
            continue
        near = did_you_mean(name.upper(), known)
        if near:
            yield Problem("W-CONFIG-004", f"variable {name} is no setting", "nobody reads it", "environment", near)


# ---------------------------------------------------------------------- the file
def example() -> str:
    """A settings file with every setting at its default, each with what it is for.

    >>> "# slots = 4" in example()
    True
    """
    lines = [
        "# Settings of an embedded engine, with their defaults. Give the file to a run: idds-core run scan.py --config "
        "FILE.toml",
        "# A variable IDDS_<NAME>, such as IDDS_SLOTS=4, wins over the file. This file is made by: idds-core config "
        "--example",
        "",
        "[embedded]",
    ]
    for name, field in Settings.model_fields.items():
        text = f"{field.description} {_bounds(name)}".strip()
        lines += ["", *textwrap.wrap(text, 118, initial_indent="# ", subsequent_indent="# ")]
        if field.default is None:
            lines.append(f"# {name} = {_toml((field.examples or [None])[0])}")
        else:
            lines.append(f"{name} = {_toml(field.default)}")
    return "\n".join(lines) + "\n"


def _bounds(name: str) -> str:
    """``At least 1, at most 4096.``, from the schema."""
    found = Settings.model_json_schema()["properties"][name]
    kinds = [found, *found.get("anyOf", ())]
    low = next((k["minimum"] for k in kinds if "minimum" in k), None)
    above = next((k["exclusiveMinimum"] for k in kinds if "exclusiveMinimum" in k), None)
    high = next((k["maximum"] for k in kinds if "maximum" in k), None)
    words = [f"at least {low}" if low is not None else "", f"above {above:g}" if above is not None else "",
             f"at most {high}" if high is not None else ""]  # fmt: skip
    text = ", ".join(word for word in words if word)
    return f"{text[0].upper()}{text[1:]}." if text else ""


def _toml(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:_}"
    return json.dumps(value)


def _table(path: Path, problems: list[Problem]) -> dict[str, Any]:
    """The table of the file; what else is in it goes to the problems."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fix = "Give a TOML file; 'idds-core config --example' prints one."
        raise DefinitionError.of("E-CONFIG-001", f"{path} cannot be read", str(error), str(path), fix) from error
    given = tables.get("embedded", {})
    wrong = sorted(set(tables) - {"embedded"}) + ([] if isinstance(given, dict) else ["embedded"])
    problems += [
        Problem(
            "E-CONFIG-003",
            f"{name} has no meaning here",
            "settings belong to the table [embedded]",
            str(path),
            did_you_mean(name, ["embedded"]) if name != "embedded" else "Write [embedded].",
        )
        for name in wrong
    ]
    return dict(given) if isinstance(given, dict) else {}


def _problem(loc: tuple[int | str, ...], message: str, given: Mapping[str, Any], path: str | Path | None) -> Problem:
    name = str(loc[0]) if loc else ""
    known = Settings.model_fields
    where = str(path) if name in given else f"environment, {_PREFIX}{name.upper()}"
    fix = "" if name in known else did_you_mean(name, known)
    return Problem(
        "E-CONFIG-002", f"setting {name} cannot be used", message, where, fix or "See 'idds-core config --schema'."
    )
