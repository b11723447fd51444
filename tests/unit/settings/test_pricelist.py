from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lib.settings import pricelist

if TYPE_CHECKING:
    from pathlib import Path

GOOD = """
currency = "RUB"
order_minutes = 30
[tariffs.basic]
devices = 3
prices = { 30 = 14900, 365 = 139900 }
[trial]
tariff = "basic"
hours = 72
daily_cap = 500
devices = 1
traffic_gb = 10
"""


def problems(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(pricelist.InvalidPriceList) as raised:
        pricelist.read(path)
    return [line.partition(":")[0] for line in str(raised.value).split("\n")]


def test_the_list_that_is_shipped_has_the_products_prices() -> None:
    prices = pricelist.load()
    assert (prices.currency, prices.order_minutes) == ("RUB", 30)
    assert prices.tariffs["basic"].prices == {30: 14900, 90: 39900, 180: 74900, 365: 139900}
    assert prices.tariffs["plus"].prices == {30: 29900, 90: 69900, 180: 119900, 365: 229900}
    assert (prices.trial.hours, prices.trial.devices, prices.trial.traffic_gb) == (72, 1, 10)


def test_a_good_list_is_read(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(GOOD)
    assert pricelist.read(path).price("basic", 365) == 139900


@pytest.mark.parametrize(
    ("old", "new", "names"),
    [
        ("30 = 14900", "30 = 149.00", ["tariffs.basic.prices.30"]),
        ("30 = 14900", "30 = 0", ["tariffs.basic.prices.30"]),
        ("30 = 14900", "30 = -1", ["tariffs.basic.prices.30"]),
        ("30 = 14900", "30 = true", ["tariffs.basic.prices.30"]),
        ("30 = 14900", '30 = "14900"', ["tariffs.basic.prices.30"]),
        ("30 = 14900", "month = 14900", ["tariffs.basic.prices.month"]),
        ("30 = 14900", "0 = 14900", ["tariffs.basic.prices.0"]),
        ("devices = 3", "devices = 0", ["tariffs.basic.devices"]),
        ('tariff = "basic"', 'tariff = "gold"', ["trial.tariff"]),
        ("hours = 72", "hours = 1.5", ["trial.hours"]),
        ('currency = "RUB"', 'currency = "rub"', ["currency"]),
        ('currency = "RUB"', 'currency = "XXX"', ["currency"]),
        ("order_minutes = 30", "", ["order_minutes"]),
    ],
)
def test_each_problem_is_named(tmp_path: Path, old: str, new: str, names: list[str]) -> None:
    assert GOOD.count(old) == 1
    assert problems(tmp_path, GOOD.replace(old, new)) == names


def test_all_problems_are_named_at_once(tmp_path: Path) -> None:
    assert set(problems(tmp_path, "")) == {
        "currency",
        "order_minutes",
        "tariffs",
        "trial.tariff",
        "trial.hours",
        "trial.daily_cap",
        "trial.devices",
        "trial.traffic_gb",
    }
