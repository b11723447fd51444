from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest
from aiogram.types import InlineKeyboardMarkup

from lib.bot.callbacks import (
    CheckOrder,
    Go,
    Instruct,
    Pay,
    PayTopUp,
    PickPeriod,
    PickTariff,
    PickTopUp,
    Place,
    Platform,
    SetLanguage,
    StartTrial,
)
from lib.bot.routers.menu import deep_link
from lib.bot.screen import Button, Screen, calls, keyboard
from lib.domain.accounts import LANGUAGES
from lib.payments import registry
from lib.settings import pricelist

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiogram.filters.callback_data import CallbackData

BIGGEST = 2**63 - 1


def every_button() -> Iterator[CallbackData]:
    yield from (Go(to=place) for place in Place)
    yield from (SetLanguage(code=code) for code in LANGUAGES)
    yield StartTrial()
    yield from (Instruct(platform=platform) for platform in Platform)
    names = [*pricelist.load().tariffs, "a" * 24]
    yield from (PickTariff(tariff=name, version=version) for name, version in itertools.product(names, (0, BIGGEST)))
    yield from (PickPeriod(days=days, version=BIGGEST) for days in (1, 30, 100_000))
    methods = [*registry.providers("local"), "a" * 20]
    yield from (Pay(method=name, version=BIGGEST) for name in methods)
    yield from (PayTopUp(method=name, version=BIGGEST) for name in methods)
    yield from (PickTopUp(amount=amount) for amount in (1, 10**17))
    yield CheckOrder(order=BIGGEST)


def test_callback_data_fits_and_comes_back_as_it_was() -> None:
    for data in every_button():
        packed = data.pack()
        assert 1 <= len(packed.encode()) <= 64
        assert type(data).unpack(packed) == data


@pytest.mark.parametrize(
    "forged", [f"order_id={BIGGEST + 1}", "order_id=0", "order_id=-1", "order_id=", "order_id=1=2", "order_id=nan"]
)
def test_ids_beyond_the_database_are_no_orders(forged: str) -> None:
    with pytest.raises((ValueError, TypeError)):
        CheckOrder.unpack(forged)


SCREEN = Screen("<b>text</b>", ((Button("to", data="x"),), (Button("at", url="https://t.me/x"),)), toast="hint")


def test_a_typed_command_is_answered_with_a_message() -> None:
    [call] = calls(SCREEN, 7)
    assert call["method"] == "sendMessage"
    assert call["chat_id"] == 7
    assert "message_id" not in call


def test_a_tap_edits_its_message_and_is_answered_last() -> None:
    edit, answer = calls(SCREEN, 7, message_id=12, query_id="q1")
    assert (edit["method"], edit["message_id"], edit["text"]) == ("editMessageText", 12, "<b>text</b>")
    assert answer == {"method": "answerCallbackQuery", "callback_query_id": "q1", "text": "hint"}


def test_a_tap_below_a_picture_sends_anew() -> None:
    sent, answer = calls(SCREEN, 7, query_id="q1")
    assert (sent["method"], answer["method"]) == ("sendMessage", "answerCallbackQuery")


def test_a_picture_is_always_sent() -> None:
    sent, _ = calls(Screen("caption", qr="vless://x"), 7, message_id=12, query_id="q1")
    assert (sent["method"], sent["photo"], sent["caption"]) == ("sendPhoto", {"qr": "vless://x"}, "caption")
    assert "text" not in sent


def test_keyboards_are_what_the_bot_api_takes() -> None:
    markup = keyboard((*SCREEN.rows, (Button("copy", copy="vless://x"),)))
    parsed = InlineKeyboardMarkup.model_validate(markup)
    assert parsed.model_dump(exclude_none=True) == markup


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (None, None),
        ("", None),
        ("r_Ab-9", "r_Ab-9"),
        ("a" * 64, "a" * 64),
        ("a" * 500, "a" * 64),
        ("два", None),
        ("a b", None),
        ("'; drop table accounts", None),
        ("\x00", None),
        ("a\n", None),
    ],
)
def test_deep_links_are_taken_and_junk_is_ignored(typed: str | None, kept: str | None) -> None:
    assert deep_link(typed) == kept
