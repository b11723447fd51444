"""Reads the price list and says everything that is wrong with it at once. Plain Python: it is on the payment path."""

from __future__ import annotations

import re
import tomllib
from functools import cache
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, TypeGuard

from lib import currencies
from lib.domain import pricelist as domain
from lib.domain.pricelist import AutoRenewal, PriceList, Quiet, Reminders, SelfService, Tariff, TopUp, Trial
from lib.settings import plain, values

_NAME = re.compile(r"[a-z0-9_]{1,24}")  # it travels in the 64 bytes of a button
_PERIOD = re.compile(r"[1-9][0-9]{0,4}")  # as text it must be the only one of its number: 30 and 030 are one period
_RANGES = {
    "order_minutes": (1, 44_640),  # Crypto Pay's longest life of an invoice: 31 days
    "period": (
        1,
        3_660,
    ),  # with the ratio below, ten years converted end long before the last year that a date can hold
    "price": (1, 10**17 - 1),  # minor units; above it Crypto Pay's amounts are read as none
    "devices": (1, 10_000),
    "hours": (1, 87_840),
    "daily_cap": (1, 2**31 - 1),  # trial_days.used
    "traffic_gb": (1, 1_000_000_000),  # in bytes, a bigint
    "stars": (1, 10**8),  # in nanostars far below what the books hold
    "vip_percent": (1, 99),  # only a code makes it free
    "window_hours": (1, 23),  # less than the shortest period: what was just renewed is not due again
    "notice_hours": (24, 720),
    "least": (1, 10**17 - 1),
    "most": (1, 10**17 - 1),
    "star_value": (1, 10**9),
    "minimum": (1, 10**17 - 1),
    "reissues_a_day": (0, 1_000),
    "freeze_every_days": (1, 3_660),
    "freeze_most_days": (1, 366),
    "reminder": (1, 87_840),  # hours
}
_MOST_AMOUNTS = 10
_MOST_REMINDERS = 10
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_OF_TRIAL = ("tip", "offer", "last")
_ADDED = ("discounts", "top_up", "minimums", "reminders", "auto_renewal", "access")
_MOST_TARIFFS, _MOST_PERIODS = 20, 20  # one message has 4096 characters and a hundred buttons
_MOST_RATIO = 100
"""Between the prices of two tariffs for one period: what is left of ten years becomes a thousand, and a date."""
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


def read(path: Path = _DEFAULT) -> PriceList:
    """The price list of that file, or the built-in one.

    Raises:
        InvalidPriceList: as `load`.
    """
    raw = _with_what_was_added(_parsed(path))
    problems = [f"{name}: unknown entry" for name in _unknown(raw)]
    tariffs = {
        name: Tariff(
            name,
            _number(row, "devices", f"tariffs.{name}", problems),
            _prices(name, row, problems),
            sold=_sold(name, row, problems),
            stars=_stars(name, row, problems),
        )
        for name, row in _table(raw, "tariffs", problems).items()
    }
    trial = _trial(_table(raw, "trial", problems), tariffs, problems)
    vip_percent = _number(_table(raw, "discounts", problems), "vip_percent", "discounts", problems)
    top_up = _top_up(_table(raw, "top_up", problems), problems) if "top_up" in raw else None
    auto_renewal = _auto_renewal(_table(raw, "auto_renewal", problems), problems)
    minimums = _minimums(_table(raw, "minimums", problems), problems)
    reminders = _reminders(_table(raw, "reminders", problems), trial.hours, problems)
    access = _access(_table(raw, "access", problems), problems)
    currency = raw.get("currency")
    if not isinstance(currency, str) or currency not in currencies.FIAT:
        problems.append("currency: a code such as RUB is needed, of a currency that Crypto Pay makes invoices in")
    minutes = _number(raw, "order_minutes", "", problems)
    problems += [f"tariffs.{name}: a name is 1 to 24 of a-z 0-9 _" for name in tariffs if not _NAME.fullmatch(name)]
    problems += [
        f"tariffs.{one} and tariffs.{other}: need a period in common, by which time is converted"
        for one, other in combinations(tariffs, 2)
        if not tariffs[one].prices.keys() & tariffs[other].prices.keys()
    ]
    problems += _unbalanced(tariffs)
    if not any(tariff.sold for tariff in tariffs.values()):
        problems.append("tariffs: at least one that is sold is needed")
    if len(tariffs) > _MOST_TARIFFS:
        problems.append(f"tariffs: at most {_MOST_TARIFFS}")
    if problems:
        raise InvalidPriceList("\n".join(problems))
    return PriceList(
        str(currency), minutes, tariffs, trial, top_up, vip_percent, minimums, reminders, auto_renewal, access
    )


def _access(row: dict[str, Any], problems: list[str]) -> SelfService:
    return SelfService(
        _number(row, "reissues_a_day", "access", problems),
        _number(row, "freeze_every_days", "access", problems),
        _number(row, "freeze_most_days", "access", problems),
    )


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise InvalidPriceList(f"TARIFFS_PATH: the file can't be read: {error.strerror}") from None
    except tomllib.TOMLDecodeError as error:
        raise InvalidPriceList(f"TARIFFS_PATH: {error}") from None
    except (ValueError, RecursionError):  # not UTF-8, a number of thousands of digits, thousands of brackets
        raise InvalidPriceList("TARIFFS_PATH: the file is not TOML in UTF-8") from None


def _with_what_was_added(raw: dict[str, Any]) -> dict[str, Any]:
    """A list that lacks a table of later is one of before: it has the one that is shipped, as far as that is of its currency."""
    if all(name in raw for name in _ADDED):
        return raw
    shipped = _parsed(_DEFAULT)
    added = {name: shipped[name] for name in _ADDED}
    if raw.get("currency") in currencies.FIAT - {shipped["currency"]}:
        added["minimums"] = {"stars": added["minimums"]["stars"]}
        del added["top_up"]
    added["reminders"] = _within(added["reminders"], raw.get("trial"))
    return added | raw


def _within(shipped: dict[str, Any], trial: Any) -> dict[str, Any]:
    """The shipped reminders, without what a shorter trial would have after its end."""
    hours = trial.get("hours") if isinstance(trial, dict) else None
    last = hours if _fits(hours, "hours") else 0  # what is wrong with the trial is told by itself
    return shipped | {"trial": {name: after for name, after in shipped["trial"].items() if after < last}}


def _unknown(raw: dict[str, Any]) -> list[str]:
    """Entries that would be passed over in silence: a misspelt one must not be."""
    found = sorted(raw.keys() - {"currency", "order_minutes", "tariffs", "trial", *_ADDED})
    rows = raw.get("tariffs")
    for name, row in rows.items() if isinstance(rows, dict) else ():
        found += (
            [f"tariffs.{name}.{key}" for key in row.keys() - {"devices", "prices", "sold", "stars"}]
            if isinstance(row, dict)
            else []
        )
    known = {
        "trial": {"tariff", "hours", "daily_cap", "devices", "traffic_gb"},
        "discounts": {"vip_percent"},
        "top_up": {"amounts", "least", "most", "star_value"},
        "auto_renewal": {"window_hours", "notice_hours"},
        "minimums": set(values.PAYMENT_METHODS),
        "reminders": {"paid", "given", "trial", "quiet"},
        "access": {"reissues_a_day", "freeze_every_days", "freeze_most_days"},
    }
    for name, keys in known.items():
        table = raw.get(name)
        found += [f"{name}.{key}" for key in table.keys() - keys] if isinstance(table, dict) else []
    return found


def _table(raw: dict[str, Any], name: str, problems: list[str]) -> dict[str, Any]:
    value = raw.get(name, {})
    if isinstance(value, dict):
        return value
    problems.append(f"{name}: must be a table")
    return {}


def _number(row: Any, name: str, where: str, problems: list[str]) -> int:
    value = row.get(name) if isinstance(row, dict) else None
    if _fits(value, name):
        return value
    low, high = _RANGES[name]
    problems.append(f"{where}.{name}: a whole number from {low} to {high} is needed".lstrip("."))
    return 1


def _fits(value: object, name: str) -> TypeGuard[int]:
    low, high = _RANGES[name]
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _sold(name: str, row: Any, problems: list[str]) -> bool:
    sold = row.get("sold", True) if isinstance(row, dict) else True
    if not isinstance(sold, bool):
        problems.append(f"tariffs.{name}.sold: true or false; false retires it")
    return sold is not False


def _unbalanced(tariffs: dict[str, Tariff]) -> list[str]:
    """Pairs whose prices are so far apart that converted time would end after all dates."""
    return [
        f"tariffs.{one} and tariffs.{other}: for {period} days one costs more than {_MOST_RATIO} times the other"
        for one, other in combinations(tariffs, 2)
        for period in sorted(tariffs[one].prices.keys() & tariffs[other].prices.keys())
        if max(prices := (tariffs[one].prices[period], tariffs[other].prices[period])) > _MOST_RATIO * min(prices)
    ]


def _prices(name: str, row: Any, problems: list[str]) -> dict[int, int]:
    prices = row.get("prices") if isinstance(row, dict) else None
    if not isinstance(prices, dict) or not prices:
        problems.append(f"tariffs.{name}.prices: a price for each period is needed")
        return {}
    good: dict[int, int] = {}
    for period, price in prices.items():
        if not _PERIOD.fullmatch(period) or not _fits(int(period), "period") or not _fits(price, "price"):
            most_days, most = _RANGES["period"][1], _RANGES["price"][1]
            problems.append(
                f"tariffs.{name}.prices.{period}: days = minor units, whole, above zero, up to {most_days} and {most}"
            )
            continue
        good[int(period)] = price
    if len(prices) > _MOST_PERIODS:
        problems.append(f"tariffs.{name}.prices: at most {_MOST_PERIODS}")
    return good


def _stars(name: str, row: Any, problems: list[str]) -> dict[int, int]:
    """Prices in Stars: for every period that has a price, or for none."""
    stars = row.get("stars", {}) if isinstance(row, dict) else {}
    prices = row.get("prices") if isinstance(row, dict) else None
    if not stars and isinstance(stars, dict):
        return {}
    if not isinstance(stars, dict) or not isinstance(prices, dict) or stars.keys() != prices.keys():
        problems.append(f"tariffs.{name}.stars: whole Stars for exactly the periods that have a price")
        return {}
    good: dict[int, int] = {}
    for period, price in stars.items():
        if not _fits(price, "stars"):
            problems.append(f"tariffs.{name}.stars.{period}: whole Stars, above zero, up to {_RANGES['stars'][1]}")
        elif _PERIOD.fullmatch(period):  # one that is none is told of beside its price
            good[int(period)] = price
    return good


def _top_up(row: dict[str, Any], problems: list[str]) -> TopUp:
    least, most, star_value = (_number(row, name, "top_up", problems) for name in ("least", "most", "star_value"))
    amounts = row.get("amounts")
    if least > most:
        problems.append("top_up.least: must not be above top_up.most")
    if (
        not isinstance(amounts, list)
        or len(amounts) > _MOST_AMOUNTS
        or not all(_fits(amount, "price") and least <= amount <= most for amount in amounts)
    ):
        problems.append(f"top_up.amounts: up to {_MOST_AMOUNTS} whole numbers from top_up.least to top_up.most")
        amounts = []
    return TopUp(tuple(amounts), least, most, star_value)


def _auto_renewal(row: dict[str, Any], problems: list[str]) -> AutoRenewal:
    # their ranges keep the notice before the window
    window, notice = (_number(row, name, "auto_renewal", problems) for name in ("window_hours", "notice_hours"))
    return AutoRenewal(window, notice)


def _minimums(row: dict[str, Any], problems: list[str]) -> dict[str, int]:
    low, high = _RANGES["minimum"]
    wrong = [name for name in row if not _fits(row[name], "minimum")]
    problems += [f"minimums.{name}: a whole number from {low} to {high} is needed" for name in wrong]
    return {name: least for name, least in row.items() if name not in wrong}


def _trial(row: dict[str, Any], tariffs: dict[str, Tariff], problems: list[str]) -> Trial:
    if row.get("tariff") not in tariffs:
        problems.append("trial.tariff: must be one of the tariffs")
    numbers = {name: _number(row, name, "trial", problems) for name in ("hours", "daily_cap", "devices", "traffic_gb")}
    return Trial(tariff=str(row.get("tariff")), **numbers)


def _reminders(row: dict[str, Any], trial_hours: int, problems: list[str]) -> Reminders:
    paid = _hours(row.get("paid"), "reminders.paid", problems)
    given: dict[int, tuple[int, ...]] = {}
    listed = row.get("given", {})
    if not isinstance(listed, dict) or len(listed) > _MOST_PERIODS:
        problems.append(f"reminders.given: hours by days, at most {_MOST_PERIODS}")
        listed = {}
    for days, hours in listed.items():
        if not _PERIOD.fullmatch(days) or not _fits(int(days), "period"):
            problems.append(f"reminders.given.{days}: days, whole, from 1 to {_RANGES['period'][1]}")
            continue
        given[int(days)] = _hours(hours, f"reminders.given.{days}", problems, below=24 * int(days))
    return Reminders(
        paid, given, _of_trial(row.get("trial", {}), trial_hours, problems), _quiet(row.get("quiet"), problems)
    )


def _hours(value: Any, where: str, problems: list[str], *, below: int | None = None) -> tuple[int, ...]:
    """Hours before an end; each one once. None at all: nothing is said before it."""
    good = (
        isinstance(value, list)
        and len(value) <= _MOST_REMINDERS
        and all(_fits(hours, "reminder") and (below is None or hours < below) for hours in value)
        and len(set(value)) == len(value)
    )
    if good:
        return tuple(value)
    most = _RANGES["reminder"][1] if below is None else below - 1
    problems.append(f"{where}: up to {_MOST_REMINDERS} different whole numbers of hours, from 1 to {most}")
    return ()


def _of_trial(row: Any, trial_hours: int, problems: list[str]) -> dict[str, int]:
    hours = list(row.values()) if isinstance(row, dict) else [None]
    in_turn = [row[name] for name in _OF_TRIAL if name in row] if isinstance(row, dict) else []
    if (
        not isinstance(row, dict)
        or row.keys() - set(_OF_TRIAL)
        or not all(_fits(after, "reminder") and after < trial_hours for after in hours)
        or any(later <= earlier for earlier, later in pairwise(in_turn))
    ):
        problems.append(
            f"reminders.trial: hours after the start for any of {', '.join(_OF_TRIAL)}, each later than the one before and below trial.hours"
        )
        return {}
    return dict(row)


def _quiet(row: Any, problems: list[str]) -> Quiet:
    names = ("begins", "ends", "before")
    found = row if isinstance(row, dict) and row.keys() == set(names) else {}
    minutes = [_minute(found.get(name)) for name in names]
    begins, ends, before = (minute if minute is not None else 0 for minute in minutes)
    quiet = Quiet(begins, ends, before)
    if None in minutes or begins == ends or quiet.contains(before):
        problems.append(
            'reminders.quiet: begins, ends and before, each as "22:00"; it is not empty, and `before` is not in it'
        )
    return quiet


def _minute(value: object) -> int | None:
    """Of the day."""
    found = _CLOCK.fullmatch(value) if isinstance(value, str) else None
    return int(found[1]) * 60 + int(found[2]) if found else None
