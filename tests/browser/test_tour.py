"""The tour: its pictures in order, and what happens when it can't be told."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING, Any

import pytest

from sandbox.commands import browser, tour

if TYPE_CHECKING:
    import pathlib

    from playwright.async_api import Browser


def sides(picture: pathlib.Path) -> tuple[int, int]:
    """Width and height of a PNG."""
    width, height = struct.unpack(">II", picture.read_bytes()[16:24])
    return width, height


@pytest.mark.full  # the whole system, a browser and two months: about half a minute
async def test_every_step_holds_and_is_photographed_in_order(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> None:
    assert chromium.is_connected()  # there is one, or this was skipped by name
    executable = browser.find()
    assert executable is not None
    screens = tmp_path_factory.mktemp("screens")
    await tour.tell(tmp_path_factory.mktemp("home"), executable, screens)
    pictures = sorted(screens.glob("*.png"))
    assert [picture.name[:2] for picture in pictures] == [f"{number:02}" for number in range(1, len(pictures) + 1)]
    assert re.findall(r'src="(.+?)"', (screens / "README.md").read_text()) == [picture.name for picture in pictures]
    assert {sides(picture) for picture in pictures} == {tour.DESK, tour.PHONE}
    assert sum(picture.stat().st_size for picture in pictures) < 3_200_000


def test_a_step_that_does_not_hold_leaves_the_old_pictures(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    old = tmp_path / "01-start.png"
    old.write_bytes(b"old")

    async def fail(*_given: Any) -> None:
        raise AssertionError("no menu came")

    monkeypatch.setattr(browser, "find", lambda: tmp_path / "chromium")
    monkeypatch.setattr(tour, "tell", fail)
    assert tour.main(tmp_path) == 1
    assert old.read_bytes() == b"old"
    assert "no menu came" in capsys.readouterr().out


def test_a_tour_replaces_its_own_pictures_only(tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("01-start.png", "17-gone.png", "logo.png"):
        (tmp_path / name).write_bytes(b"old")

    async def tell(_home: pathlib.Path, _executable: pathlib.Path, screens: pathlib.Path) -> None:
        (screens / "01-start.png").write_bytes(b"new")

    monkeypatch.setattr(browser, "find", lambda: tmp_path / "chromium")
    monkeypatch.setattr(tour, "tell", tell)
    assert tour.main(tmp_path) == 0
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"01-start.png": b"new", "logo.png": b"old"}


def test_without_a_browser_it_says_so(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(browser, "find", lambda: None)
    assert tour.main() == 2
    assert "ATLAS_BROWSER" in capsys.readouterr().err
