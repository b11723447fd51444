"""Ports are given once among all the systems of one user, for as long as who asked for them lives."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from sandbox.state import ports
from sandbox.state.home import Home
from sandbox.state.ports import claim, free_port

if TYPE_CHECKING:
    from pathlib import Path

_CHOOSE = """
import sys
import tempfile
from sandbox.state import ports

ports._RANGE = range(int(sys.argv[1]), int(sys.argv[1]) + 400)
print(*(ports.free_port() for _ in range(40)), flush=True)
sys.stdin.read()
"""
_WAIT_S = 30


def _chooser(first: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", _CHOOSE, str(first)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def _chosen(one: subprocess.Popen[str]) -> list[int]:
    assert one.stdout is not None
    return [int(port) for port in one.stdout.readline().split()]


def test_systems_that_start_together_choose_different_ports() -> None:
    """Nothing listens yet, so that alone would tell them nothing: five times forty among four hundred, all at once."""
    with ThreadPoolExecutor() as pool:
        choosers = [_chooser(31_000) for _ in range(5)]
        chosen = [port for ports_of_one in pool.map(_chosen, choosers) for port in ports_of_one]
    assert len(chosen) == 200
    assert len(set(chosen)) == 200
    for one in choosers:
        one.communicate(timeout=_WAIT_S)


def test_a_killed_one_gives_its_ports_back() -> None:
    one = _chooser(30_000)
    port = _chosen(one)[0]
    assert not claim(port)
    one.kill()
    one.communicate(timeout=_WAIT_S)
    assert claim(port)


def test_a_port_in_use_is_not_given() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        assert not claim(server.getsockname()[1])


def test_no_port_twice_in_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_RANGE", range(29_000, 29_300))
    given = {free_port() for _ in range(20)}
    assert len(given) == 20
    with pytest.raises(ports.NoPortError, match=r"127\.0\.0\.1"):
        free_port(besides=range(29_000, 29_300))


def test_a_home_keeps_its_ports_and_moves_from_one_that_is_taken(tmp_path: Path) -> None:
    home = Home(tmp_path)
    kept = {name: home.port(name) for name in ("gateway", "postgres", "control")}
    assert len(set(kept.values())) == 3
    assert {name: Home(tmp_path).port(name) for name in kept} == kept
    with socket.create_server(("127.0.0.1", kept["gateway"])):
        assert Home(tmp_path).port("gateway") not in kept.values()


@pytest.mark.parametrize("what", ["folder", "link", "somebody else's"])
def test_a_shared_file_that_is_not_ours_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setattr(ports, "_file", None)
    path = tmp_path / f"atlas-ports-{os.getuid()}"
    if what == "folder":
        path.mkdir()
    elif what == "link":
        path.symlink_to(tmp_path / "elsewhere")
    else:
        path.touch()
        if os.getuid() != 0:
            pytest.skip("only root can give a file to another user")
        os.chown(path, 65_534, -1)
    with pytest.raises(ports.NoPortError, match=str(path)):
        free_port()
    assert not (tmp_path / "elsewhere").exists()
