"""A PostgreSQL server of the tests' own: started when first needed, gone with the tests.

``IDDS_TEST_POSTGRES`` (``postgresql://user@host:port/database``) takes a server that runs instead; its user must be
allowed to make databases.
"""

from __future__ import annotations

import atexit
import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import psycopg
import pytest

from idds_core.store import Store, open_store

_NUMBERS = itertools.count(1)
_SETTINGS = "-c listen_addresses=127.0.0.1 -c fsync=off -c full_page_writes=off -c synchronous_commit=off"


def _programs() -> Path | None:
    """The folder with initdb and pg_ctl, of the newest server there is."""
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    return next((place for place in places if (place / "initdb").exists()), None)


@cache
def server() -> str:
    """The address of the server; a test that needs it is skipped where there is none, and fails in CI."""
    given = os.environ.get("IDDS_TEST_POSTGRES")
    if given:
        return given
    programs = _programs()
    if programs is None:
        word = "PostgreSQL is not here: apt-get install postgresql, or set IDDS_TEST_POSTGRES"
        if os.environ.get("CI"):
            pytest.fail(word)
        pytest.skip(word)
    return Server(programs).url


class Server:
    """A server in a folder of its own, on a free port; as root it runs as another user, as it wants to."""

    def __init__(self, programs: Path, settings: str = _SETTINGS) -> None:
        self._programs, self._settings = programs, settings
        self.folder = Path(tempfile.mkdtemp(prefix="idds-postgres-"))
        self._as: tuple[str, ...] = ()
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
            self._as = ("setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = probe.getsockname()[1]
        self._run("initdb", "-U", "idds", "-A", "trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync")
        atexit.register(self.remove)
        self.start()
        self.url = f"postgresql://idds@127.0.0.1:{self._port}/postgres"

    def _run(self, program: str, *arguments: str) -> None:
        command = [*self._as, str(self._programs / program), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd="/", timeout=120)

    def start(self) -> None:
        """Start, and wait until it answers."""
        own = f"{self._settings} -p {self._port} -c unix_socket_directories={self.folder} -c max_connections=200"
        self._run("pg_ctl", "-w", "-l", str(self.folder / "log"), "-o", own, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop; "immediate" is a crash."""
        self._run("pg_ctl", "-m", mode, "-w", "stop")

    def remove(self) -> None:
        """Stop, and leave nothing."""
        with contextlib.suppress(subprocess.SubprocessError):  # it may have been stopped before
            self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)


def new_database(name: str, template: str = "template0") -> str:
    """Make an empty database; returns its address."""
    with psycopg.connect(server(), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return f"{server().rpartition('/')[0]}/{name}"


@cache
def _template() -> str:
    name = f"idds_{os.getpid()}_template"
    open_store(new_database(name), durability="normal").close()
    return name


def empty_postgres(folder: Path, clock: Callable[[], float] | None) -> Store:
    """A store in a new database."""
    url = new_database(f"idds_{os.getpid()}_{next(_NUMBERS)}", _template())
    return open_store(url, clock=clock, durability="normal", folder=folder)
