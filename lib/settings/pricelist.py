"""Reads the price list and says everything that is wrong with it at once. Plain Python: it is on the payment path."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from itertools import combinations
from pathlib import Path
from typing import Any

from lib import currencies
from lib.domain import pricelist as domain
from lib.domain.pricelist import PriceList, Tariff, Trial
from lib.settings import plain

_NAME = re.compile(r"[a-z0-9_]{1,24}")  # it travels in the 64 bytes of a button
_DEFAULT = Path(domain.__file__).with_name("pricelist.toml")


class InvalidPriceList(plain.UnusableSetting):
    """Its text lists every problem, one a line, by the name of the entry."""


@cache
def load() -> PriceList:
    """The price list in force, read once.

    Raises:
        InvalidPriceList: the file can't be read, or something in it is wrong.
    """
    return read(Path(plain.text("TARIFFS_PATH") or _DEFAULT))


def read(path: Path) -> PriceList:
    """Raises: InvalidPriceList."""
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidPriceList(f"TARIFFS_PATH: {error}") from None
    problems = [f"{name}: unknown entry" for name in _unknown(raw)]
    tariffs = {
        name: Tariff(name, _positive(row, "devices", f"tariffs.{name}", problems), _prices(name, row, problems))
        for name, row in _table(raw, "tariffs", problems).items()
    }
    trial = _trial(_table(raw, "trial", problems), tariffs, problems)
    currency = raw.get("currency")
    if not isinstance(currency, str) or currency not in currencies.ALL:
        problems.append("currency: a code such as RUB is needed, of a currency that Atlas knows")
    minutes = _positive(raw, "order_minutes", "", problems)
    problems += [f"tariffs.{name}: a name is 1 to 24 of a-z 0-9 _" for name in tariffs if not _NAME.fullmatch(name)]
    problems += [
        f"tariffs.{one} and tariffs.{other}: need a period in common, by which time is converted"
        for one, other in combinations(tariffs, 2)
        if not tariffs[one].prices.keys() & tariffs[other].prices.keys()
    ]
    if not tariffs:
        problems.append("tariffs: at least one is needed")
    if problems:
        raise InvalidPriceList("\n".join(problems))
    return PriceList(str(currency), minutes, tariffs, trial)


def _unknown(raw: dict[str, Any]) -> list[str]:
    """Entries that would be passed over in silence: a misspelt one must not be."""
    found = sorted(raw.keys() - {"currency", "order_minutes", "tariffs", "trial"})
    rows = raw.get("tariffs")
    for name, row in rows.items() if isinstance(rows, dict) else ():
        found += (
            [f"tariffs.{name}.{key}" for key in row.keys() - {"devices", "prices"}] if isinstance(row, dict) else []
        )
    trial = raw.get("trial")
    if isinstance(trial, dict):
        found += [f"trial.{key}" for key in trial.keys() - {"tariff", "hours", "daily_cap", "devices", "traffic_gb"}]
    return found


def _table(raw: dict[str, Any], name: str, problems: list[str]) -> dict[str, Any]:
    value = raw.get(name, {})
    if isinstance(value, dict):
        return value
    problems.append(f"{name}: must be a table")
    return {}


def _positive(row: Any, name: str, where: str, problems: list[str]) -> int:
    value = row.get(name) if isinstance(row, dict) else None
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return value
    problems.append(f"{where}.{name}: a whole number above zero is needed".lstrip("."))
    return 1


def _prices(name: str, row: Any, problems: list[str]) -> dict[int, int]:
    prices = row.get("prices") if isinstance(row, dict) else None
    if not isinstance(prices, dict) or not prices:
        problems.append(f"tariffs.{name}.prices: a price for each period is needed")
        return {}
    good: dict[int, int] = {}
    for period, price in prices.items():
        whole = isinstance(price, int) and not isinstance(price, bool) and price > 0
        if not period.isdecimal() or int(period) == 0 or not whole:
            problems.append(f"tariffs.{name}.prices.{period}: days = minor units, both whole and above zero")
            continue
        good[int(period)] = price
    return good


def _trial(row: dict[str, Any], tariffs: dict[str, Tariff], problems: list[str]) -> Trial:
    if row.get("tariff") not in tariffs:
        problems.append("trial.tariff: must be one of the tariffs")
    numbers = {
        name: _positive(row, name, "trial", problems) for name in ("hours", "daily_cap", "devices", "traffic_gb")
    }
    return Trial(tariff=str(row.get("tariff")), **numbers)
