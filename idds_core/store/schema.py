"""Which schema a store has, who can read it, and how it is brought up to date.

A migration that only adds tables, or columns that may be left out, says ``additive = True`` at its top. The store
notes the last one that did not (``readable_from``), so that an older version knows whether it can still work with it.
"""

from __future__ import annotations

import secrets
import sqlite3
from pathlib import Path

import sqlalchemy as sa

from idds_core.errors import StoreError
from idds_core.store import tables
from idds_core.store.database import Database

__all__ = ["MIGRATIONS", "READABLE_FROM", "identify", "migrate", "need_schema", "revision_of"]

MIGRATIONS = Path(__file__).parent / "migrations"
#: key in ``meta``: the oldest revision whose code can work with this store
READABLE_FROM = "readable_from"


def revision_of(database: Database) -> str | None:
    """The schema's revision, without loading the migration tool; None for an empty file.

    Raises
    ------
    StoreError
        When the file is somebody else's database.

    """
    with database.reading() as connection:
        names = {row[0] for row in connection.exec_driver_sql(database.LISTS_TABLES)}
        if "alembic_version" not in names:
            if names:
                raise StoreError.of(
                    "E-STORE-008",
                    "the file is no store",
                    "it has other tables",
                    database.where,
                    "Give another --workdir.",
                )
            return None
        found = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
        return str(found) if found is not None else None


def need_schema(database: Database, revision: str, head: str) -> None:
    """Refuse a store that code of the schema `head` cannot work with.

    Raises
    ------
    StoreError
        E-STORE-007 when it is older, E-STORE-009 when it is newer and has more than additions.

    """
    if revision == head:
        return
    where = database.where
    if revision < head:
        raise StoreError.of(
            "E-STORE-007",
            "the store has an older schema",
            f"{revision}, this version has {head}",
            where,
            f"'idds-core db upgrade --workdir {database.path.parent}'; it makes a backup first.",
        )
    with database.reading() as connection:
        query = sa.select(tables.meta.c.value).where(tables.meta.c.key == READABLE_FROM)
        needs = connection.execute(query).scalar() or revision
    if needs > head:
        raise StoreError.of(
            "E-STORE-009",
            "the store is of a newer version",
            f"its schema is {revision} and needs {needs}, this version has {head}",
            where,
            "Use the version of idds-core that made it, or a newer one.",
        )


def migrate(database: Database) -> None:
    """Bring a store to today's schema, in one transaction.

    Raises
    ------
    StoreError
        When it cannot be; the file is as it was.

    """
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes.update(database.migrated_by())
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise _failed(error, database.where) from error
    except (sqlite3.Error, sa.exc.DBAPIError) as error:
        raise database.explain(error) or _failed(error, database.where) from error


def _failed(error: Exception, where: str) -> StoreError:
    return StoreError.of(
        "E-STORE-012",
        "the schema cannot be brought up to date",
        str(error).partition("\n")[0],
        where,
        "The store is as it was. Please report it.",
    )


def identify(database: Database) -> None:
    """Give the store its random id, when it has none."""
    with database.transaction() as connection:
        known = connection.execute(sa.select(tables.meta.c.value).where(tables.meta.c.key == "store_id")).scalar()
        if known is None:
            connection.execute(sa.insert(tables.meta), {"key": "store_id", "value": secrets.token_hex(4)})
