"""The stand-in and every real bot have a folder of their own; the commands beside a run know them all."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sandbox.commands import running
from sandbox.state.home import Home, all_homes, of_bot

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def _made(path: Path) -> Home:
    home = Home(path)
    home.secret("x")
    return home


def _folders(tmp_path: Path) -> tuple[Path, Path, Path]:
    ours = tmp_path / ".local"
    return ours, of_bot(ours, 42), of_bot(ours, 43)


def test_bots_live_beside_the_stand_in_and_apart_from_each_other(tmp_path: Path) -> None:
    ours, one, other = _folders(tmp_path)
    assert all_homes(ours) == [ours]
    for path in (ours, one, other):
        path.mkdir(parents=True)
        _made(path)
    assert one.parent == tmp_path / ".local-real"
    assert all_homes(ours) == [ours, one, other]
    assert all_homes(one) == [one]


def test_reset_forgets_all_of_them_or_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ours, one, other = _folders(tmp_path)
    for path in (ours, one, other):
        path.mkdir(parents=True)
        _made(path)
    up = Home(other)
    up.take()
    assert running.reset(ours) == 2
    assert str(other) in capsys.readouterr().err
    assert (ours / "home.json").exists()
    up.let_go()
    assert running.reset(ours) == 0
    assert list(tmp_path.iterdir()) == []


def test_the_one_that_is_up_is_found_and_of_two_none_is_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, one, other = _folders(tmp_path)
    homes = [Home(path) for path in (one, other)]
    homes[0].take()
    homes[0].announce({"url": "http://127.0.0.1:1", "database": "x"})
    assert running.sweep(ours, "expiry") == 2
    assert "http://127.0.0.1:1 does not answer" in capsys.readouterr().err
    homes[1].take()
    homes[1].announce({"url": "http://127.0.0.1:2", "database": "x"})
    assert running.sweep(ours, "expiry") == 2
    assert f"--home {one} or --home {other}" in capsys.readouterr().err
    assert running.sweep(one, "expiry") == 2
    assert "http://127.0.0.1:1 does not answer" in capsys.readouterr().err
    for home in homes:
        home.let_go()


def test_chats_secrets_and_logs_are_closed_to_other_users(tmp_path: Path) -> None:
    (tmp_path / "stores").mkdir(mode=0o755)  # by an earlier version
    for path in (tmp_path, of_bot(tmp_path, 42)):
        home = Home(path)
        modes = {place.name: place.stat().st_mode & 0o777 for place in (home.folder("stores"), home.logs)}
        assert modes == {"stores": 0o700, "logs": 0o700}
