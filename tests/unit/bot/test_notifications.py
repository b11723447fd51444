from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from lib import currencies
from lib.bot.notifications import Facts, compose
from sandbox.telegram.text.html_markup import parse_html

UNTIL = datetime(2026, 12, 23, 1, 55, tzinfo=UTC)
LINK = "vless://8f6e@node.example.org:443?security=reality&sni=example.org&fp=chrome#Atlas"
RECEIPT = {
    "order_id": 1042,
    "tariff": "plus",
    "period_days": 31,
    "amount": 29_900,
    "currency": "RUB",
    "expires_at": UNTIL.isoformat(),
    "renewed": False,
}
NOTHING = Facts(None, None)


def said(kind: str, params: dict[str, Any], language: str = "ru", current: Facts = NOTHING) -> list[dict[str, Any]]:
    return compose(kind, params, language, chat_id=7, zone=ZoneInfo("Europe/Moscow"), current=current)


def test_a_receipt_says_what_was_paid_and_that_the_key_comes_by_itself() -> None:
    [call] = said("receipt", RECEIPT)
    text, _ = parse_html(call["text"])
    assert (call["method"], call["chat_id"], call["parse_mode"]) == ("sendMessage", 7, "HTML")
    for part in ("1042", "Plus", "31 день", "299 ₽", "23.12.2026 04:55 MSK", "Ключ готовится и придёт сюда сам"):
        assert part in text


def test_a_receipt_of_a_renewal_says_that_the_key_stays() -> None:
    [call] = said("receipt", RECEIPT | {"renewed": True}, "en")
    assert "The key is the same" in call["text"]
    assert "being prepared" not in call["text"]


@pytest.mark.parametrize(("length", "copies"), [(256, True), (257, False)])
def test_a_key_is_monospaced_with_a_copy_button_where_it_fits(length: int, copies: bool) -> None:  # noqa: FBT001 -- a parameter
    link = LINK + "x" * (length - len(LINK))
    [call] = said("key", {}, current=Facts(link, UNTIL))
    text, entities = parse_html(call["text"])
    [code] = [entity for entity in entities if entity["type"] == "code"]
    shown = text.encode("utf-16-le")[2 * code["offset"] : 2 * (code["offset"] + code["length"])].decode("utf-16-le")
    assert shown == link
    buttons = [button for row in call["reply_markup"]["inline_keyboard"] for button in row]
    assert [button["copy_text"]["text"] for button in buttons if "copy_text" in button] == ([link] if copies else [])


def test_a_key_that_is_gone_is_not_told() -> None:
    assert said("key", {}, current=Facts(None, UNTIL)) == []
    assert said("key", {}, current=NOTHING) == []


def test_the_end_is_told_only_while_it_is_true() -> None:
    assert "Бесплатный период закончился" in said("expired", {"trial": True})[0]["text"]
    assert "Доступ закончился" in said("expired", {"trial": False})[0]["text"]
    assert said("expired", {"trial": False}, current=Facts(None, UNTIL)) == []


def test_an_unknown_kind_is_an_error() -> None:
    with pytest.raises(LookupError, match="weather"):
        said("weather", {})


_REFUND = {
    "ru": {
        "provider": "Вам возвращено {} тем же способом, которым вы платили.",
        "balance": "Вам возвращено {}: деньги на вашем балансе.",
        "wallet": "Вам возвращено {}: деньги на вашем балансе.",
        "bank": "Вам возвращено {} переводом.",
    },
    "en": {
        "provider": "{} went back to you the way you paid.",
        "balance": "{} went back to you: the money is on your balance.",
        "wallet": "{} went back to you: the money is on your balance.",
        "bank": "{} went back to you by transfer.",
    },
}
_SIGNS = {"RUB": "₽", "XTR": "⭐", "USD": "$", "EUR": "€"}


@pytest.mark.parametrize("code", sorted(currencies.ALL))
@pytest.mark.parametrize("language", sorted(_REFUND))
def test_a_refund_says_how_much_went_back_and_how_to_the_last_digit(language: str, code: str) -> None:
    """In each currency that a charge may be in: Stars are whole, and no digit of any other is rounded away."""
    digits = currencies.ALL[code].price_digits
    for minor, whole in (
        (1_234 * 10**digits + (7 if digits else 0), "1\u00a0234"),
        (7 if digits else 1, "0" if digits else "1"),
    ):
        point = {"ru": ",", "en": "."}[language]
        amount = whole + (f"{point}{7:0{digits}}" if digits else "") + f" {_SIGNS.get(code, code)}"
        for route, words in _REFUND[language].items():
            [call] = said("refund", {"amount": minor, "currency": code, "route": route}, language)
            assert parse_html(call["text"])[0] == f"↩️ {words.format(amount)}"


@pytest.mark.parametrize(
    ("language", "words"),
    [
        ("ru", ("Это возврат за заказ 1042.", "Теперь доступ действует до 23.12.2026 04:55 MSK.")),
        ("en", ("This is the refund of order 1042.", "Access now runs until 23 Dec 2026 04:55 MSK.")),
    ],
)
def test_a_refund_names_its_order_and_what_is_left_of_the_access(language: str, words: tuple[str, str]) -> None:
    told = {"amount": 14_900, "currency": "RUB", "route": "provider", "order_id": 1042}
    [kept], [taken] = (said("refund", one, language) for one in (told, told | {"until": UNTIL.isoformat()}))
    assert words[0] in kept["text"]
    assert words[1][:12] not in kept["text"]
    for part in words:
        assert part in parse_html(taken["text"])[0]
