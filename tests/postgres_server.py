"""PostgresServer: a real PostgreSQL server of our own, which tests restart and whose connections they break."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
MISSING = "PostgreSQL is not installed (apt-get install postgresql)"


class PostgresServer:
    """A server in a folder of its own, behind a socket there; its user is not root, whom initdb refuses."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg"))  # short: the path of a socket has at most 107 characters
        self._user = None
        if os.geteuid() == 0:
            self._user = next(one.pw_name for one in pwd.getpwall() if one.pw_name in ("postgres", "nobody"))
            shutil.chown(self.folder, self._user)
        self._run("initdb", "-A", "trust", "-U", "cellwright", "-N")
        self.start()

    def place(self, database: str = "postgres") -> str:
        """Where a log is in that database."""
        return f"postgresql://cellwright@/{database}?host={self.folder}"

    def database(self, name: str) -> str:
        """A new, empty database; where a log is in it."""
        import psycopg

        with psycopg.connect(self.place(), autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name}")
        return self.place(name)

    def start(self) -> None:
        options = f"-c listen_addresses='' -c unix_socket_directories={self.folder} -c fsync=off"
        self._run("pg_ctl", "-w", "-t", "120", "-l", str(self.folder / "server.log"), "-o", options, "start")

    def crash(self) -> None:
        """End all its processes at once; the next start recovers what was committed."""
        self._run("pg_ctl", "-w", "-t", "120", "-m", "immediate", "stop")

    def restart(self) -> None:
        self.crash()
        self.start()

    def end(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self.crash()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        command = [str(BINARIES[-1].with_name(program)), "-D", str(self.folder / "data"), *arguments]
        subprocess.run(command, check=True, user=self._user, cwd=self.folder, stdout=subprocess.DEVNULL)


@contextmanager
def postgres_server() -> Iterator[PostgresServer]:
    """A server that ends with the block."""
    server = PostgresServer()
    try:
        yield server
    finally:
        server.end()
