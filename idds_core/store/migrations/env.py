"""How alembic reaches the store's file: one transaction, so that a kill leaves no half migration."""

from __future__ import annotations

from pathlib import Path

import sqlalchemy as sa
from alembic import context

from idds_core.store.tables import metadata

_LOCK = 0x1DD5


def _sqlite(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}")

    @sa.event.listens_for(engine, "connect")
    def _connect(connection: sa.engine.interfaces.DBAPIConnection, _record: object) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA busy_timeout=30000")
        cursor.execute(f"PRAGMA journal_mode={context.config.attributes.get('journal', 'wal')}")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    @sa.event.listens_for(engine, "begin")
    def _begin(connection: sa.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _run() -> None:
    url: str | None = context.config.attributes.get("url")
    engine = _sqlite(context.config.attributes["path"]) if url is None else sa.create_engine(url)
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=metadata,
            transactional_ddl=True,
            transaction_per_migration=False,
            render_as_batch=True,
        )
        with context.begin_transaction():
            if connection.dialect.name == "postgresql":  # who comes second finds it done
                connection.execute(sa.text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            context.run_migrations()
            _note_readers(connection)
    engine.dispose()


def _note_readers(connection: sa.Connection) -> None:
    """Write down the last migration that did more than add: code of an older schema cannot work with the store."""
    needs = max(s.revision for s in context.script.walk_revisions() if not getattr(s.module, "additive", False))
    text = "INSERT INTO meta (key, value) VALUES ('readable_from', :v) ON CONFLICT (key) DO UPDATE SET value = :v"
    connection.execute(sa.text(text), {"v": needs})


_run()
