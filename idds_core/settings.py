"""What an operator may set: limits, slots, durability. Read from a TOML file and ``IDDS_*`` variables."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from idds_core.errors import DefinitionError, Problem

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
    min_free_bytes: int = Field(50_000_000, ge=0, description="the loop is held below this free disk space")


def read_settings(path: str | Path | None = None) -> Settings:
    """Settings from a TOML file (table ``[embedded]``) and the environment.

    Raises
    ------
    DefinitionError
        With a line for each wrong setting.

    """
    data: dict[str, Any] = {}
    if path is not None:
        try:
            data = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("embedded", {})
        except (OSError, ValueError) as error:
            raise DefinitionError.of(
                "E-CONFIG-001", f"{path} cannot be read", str(error), str(path), "Give a TOML file."
            ) from error
    try:
        return Settings(**data)
    except ValidationError as error:
        raise DefinitionError.all(
            Problem(
                "E-CONFIG-002",
                f"setting {'.'.join(map(str, e['loc']))} cannot be used",
                e["msg"],
                str(path or "environment"),
                "See config/embedded.toml.",
            )
            for e in error.errors()
        ) from error
