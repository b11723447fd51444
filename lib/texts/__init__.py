"""What the bot says, in Fluent catalogues: one file a language, the same ids in each (product.md#messages).

`html` escapes every text that is put into a message, `plain` is for buttons and toasts, which Telegram shows as they are.
"""

from __future__ import annotations

import html
import re
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from fluent.runtime import FluentBundle, FluentResource

from lib import currencies

if TYPE_CHECKING:
    from datetime import datetime, timedelta
    from zoneinfo import ZoneInfo

LANGUAGES = ("ru", "en")
"""The first one is the default."""
_SOURCES = tuple(Path(__file__).with_name(f"{language}.ftl").read_text("utf-8") for language in LANGUAGES)
_SIGNS = {"RUB": "₽", "USD": "$", "EUR": "€", "XTR": "⭐"}
_GROUP = "\u00a0"
_LISTED = re.compile(r"^/([a-z0-9_]+)(?:: | — )(.+)$", re.MULTILINE)
"""A command and what it does, in the help."""
_DAYS = {"ru": "%d.%m.%Y", "en": "%d %b %Y"}
_HOUR_MIN = 60
_DATES = {language: f"{day} %H:%M" for language, day in _DAYS.items()}


class Texts:
    """One language's catalogue."""

    def __init__(self, language: str, source: str) -> None:
        self.language = language
        self._bundle = FluentBundle([language], use_isolating=False)
        self._bundle.add_resource(FluentResource(source))
        self._constant = cache(lambda message: self._format(message, {}))  # most buttons: the same text every time

    def html(self, message: str, **values: str | int) -> str:
        """A message for `parse_mode=HTML`; texts among the values are escaped, numbers are written the language's way.

        Raises:
            LookupError: no such message, or one of its values is missing.
        """
        if not values:
            return self._constant(message)
        return self._format(message, {name: _escaped(value) for name, value in values.items()})

    def plain(self, message: str, **values: str | int) -> str:
        """A message for where markup means nothing: buttons and toasts.

        Raises:
            LookupError: no such message, or one of its values is missing.
        """
        return self._format(message, dict(values)) if values else self._constant(message)

    def commands(self) -> list[dict[str, str]]:
        """The bot's menu of commands (`BotCommand` of the Bot API): those that the help lists, in its words."""
        listed = _LISTED.findall(self.plain("help"))
        return [{"command": command, "description": description} for command, description in listed]

    def profile(self) -> dict[str, str]:
        """What a person reads before the first Start, by the Bot API's names of the two texts."""
        return {"description": self.plain("bot-description"), "short_description": self.plain("bot-about")}

    def has(self, message: str) -> bool:
        """Whether the catalogue knows the message."""
        return bool(self._bundle.has_message(message))

    def _format(self, message: str, values: dict[str, str | int]) -> str:
        pattern = self._bundle.get_message(message).value if self.has(message) else None
        if pattern is None:
            raise LookupError(f"{self.language}: no message {message}")
        text, errors = self._bundle.format_pattern(pattern, values)
        if errors:
            raise LookupError(f"{self.language}: {message}: {errors[0]}")
        return str(text)

    def tariff(self, name: str) -> str:
        """A tariff's name; one that an operator added without a text goes by its name in the price list."""
        return self.plain(f"tariff-{name}") if self.has(f"tariff-{name}") else name.capitalize()

    def money(self, amount: int, currency: str) -> str:
        """An amount of prices, in minor units, as people write it: `149 ₽`, `1 399,50 ₽`; the hundreds only when there are any.

        Raises:
            lib.currencies.UnknownCurrency: no such currency.
        """
        digits = currencies.of(currency).price_digits
        whole, rest = divmod(amount, 10**digits)
        point = "," if self.language == "ru" else "."
        fraction = f"{point}{rest:0{digits}}" if rest else ""
        return f"{whole:,}".replace(",", _GROUP) + f"{fraction} {_SIGNS.get(currency, currency)}"

    def booked(self, amount: int, currency: str) -> str:
        """An amount of the books, in its minor units, to its last digit that is not zero; one that left has its minus.

        Raises:
            lib.currencies.UnknownCurrency: no such currency.
        """
        known = currencies.of(currency)
        whole, rest = divmod(abs(amount), 10**known.digits)
        decimals = f"{rest:0{known.digits}}".rstrip("0") if rest else ""
        decimals = decimals.ljust(known.price_digits, "0") if decimals else ""
        point = "," if self.language == "ru" else "."
        number = f"{whole:,}".replace(",", _GROUP) + (f"{point}{decimals}" if decimals else "")
        return f"{'−' if amount < 0 else ''}{number} {_SIGNS.get(currency, currency)}"  # noqa: RUF001 -- a minus

    def day(self, when: datetime, zone: ZoneInfo) -> str:
        """A day in the operator's zone."""
        return when.astimezone(zone).strftime(_DAYS[self.language])

    def left(self, time: timedelta) -> str:
        """What is left, after `in` or `another`: `2 days 23 hours`, `3 hours`, `40 minutes`; to the nearest hour from one hour on."""
        minutes = max(int(time.total_seconds() // 60), 1)
        if minutes < _HOUR_MIN:
            return self.plain("left-minutes", minutes=minutes)
        days, hours = divmod((minutes + _HOUR_MIN // 2) // _HOUR_MIN, 24)
        parts = [self.plain("period", days=days)] if days else []
        return " ".join([*parts, self.plain("left-hours", hours=hours)] if hours else parts)

    def moment(self, when: datetime, zone: ZoneInfo) -> str:
        """A time in the operator's zone, which is named."""
        local = when.astimezone(zone)
        return f"{local.strftime(_DATES[self.language])} {local.tzname()}"


def _escaped(value: str | int) -> str | int:
    return html.escape(value, quote=False) if isinstance(value, str) else value


@cache
def of(language: str) -> Texts:
    """The catalogue of a language; one that there are no texts in falls back to English.

    Parsed at its first use, which may be in a transaction: the file was read before.
    """
    known = language if language in LANGUAGES else "en"
    return Texts(known, _SOURCES[LANGUAGES.index(known)])
