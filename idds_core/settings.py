"""What an operator may set: limits, slots, durability. Read from a TOML file and ``IDDS_*`` variables."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from idds_core.errors import DefinitionError, Problem, did_you_mean

__all__ = ["Settings", "read_settings"]


class Settings(BaseSettings):
    """Settings of an embedded engine; see ``config/embedded.toml`` for the words of an operator."""

    model_config = SettingsConfigDict(env_prefix="IDDS_", extra="forbid", frozen=True, allow_inf_nan=False)

    durability: Literal["full", "normal"] = Field("full", description="full: every commit survives power loss")
    slots: int | None = Field(None, ge=1, le=4096, description="jobs at once on this machine; default: its cores")
    infra_attempts: int = Field(10, ge=1, description="attempts of a job that may end as INFRA")
    learner_seconds: float = Field(300.0, gt=0, description="time limit of one call of the learner")
    learner_memory: int = Field(2_000_000_000, gt=0, description="memory limit of the learner in bytes")
    log_limit: int = Field(10_000_000, ge=1000, description="bytes of log kept for an attempt, head and tail")
    output_limit: int = Field(1_000_000, ge=100, description="bytes of result read for an attempt")
    sweep_seconds: float = Field(1.0, gt=0, description="longest time between two looks at the store")
    hand_over_seconds: float = Field(5.0, ge=0, description="time for running jobs to end when told to end (SIGTERM)")
    min_free_bytes: int = Field(50_000_000, ge=0, description="the loop is held below this free disk space")
    database: str | None = Field(
        None, min_length=1, description="file of the store; default: idds.db in the work folder"
    )
    file_system: Literal["auto", "local", "network"] = Field("auto", description="what the work folder is on")
    notify: Annotated[list[str], NoDecode] = Field([], description="who is told how a run goes: URLs of apprise")

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
    given = {} if path is None else _table(Path(path))
    said = {name.upper() for name in os.environ}
    switches = [name for name, value in given.items() if isinstance(value, bool)]
    if switches:  # true would be read as 1
        raise DefinitionError.all(_problem((name,), "it is true or false", given, path) for name in switches)
    try:
        return Settings(**{name: value for name, value in given.items() if f"IDDS_{name.upper()}" not in said})
    except ValidationError as error:
        raise DefinitionError.all(_problem(e["loc"], e["msg"], given, path) for e in error.errors()) from error


def _table(path: Path) -> dict[str, Any]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        fix = "Give a TOML file."
        raise DefinitionError.of("E-CONFIG-001", f"{path} cannot be read", str(error), str(path), fix) from error
    given = tables.get("embedded", {})
    wrong = sorted(set(tables) - {"embedded"}) + ([] if isinstance(given, dict) else ["embedded"])
    if wrong:
        raise DefinitionError.all(
            Problem(
                "E-CONFIG-003",
                f"{name} has no meaning here",
                "settings belong to the table [embedded]",
                str(path),
                did_you_mean(name, ["embedded"]) if name != "embedded" else "Write [embedded].",
            )
            for name in wrong
        )
    return dict(given)


def _problem(loc: tuple[int | str, ...], message: str, given: dict[str, Any], path: str | Path | None) -> Problem:
    name = str(loc[0]) if loc else ""
    known = Settings.model_fields
    where = str(path) if name in given else f"environment, IDDS_{name.upper()}"
    fix = "" if name in known else did_you_mean(name, known)
    return Problem("E-CONFIG-002", f"setting {name} cannot be used", message, where, fix or "See config/embedded.toml.")
