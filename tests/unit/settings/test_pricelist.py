from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.domain.pricelist import Quiet
from lib.payments import cryptopay, cryptopay_news
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
    assert pricelist.read(path).tariffs["basic"].prices[365] == 139900


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


ADDED = """
[discounts]
vip_percent = 25
[top_up]
amounts = [25000, 99900]
least = 10000
most = 10000000
star_value = 125
[minimums]
card = 6400
stars = 1
"""


def test_a_list_of_before_has_the_numbers_that_are_shipped(tmp_path: Path) -> None:
    """An operator's own copy goes on working when a release brings a table."""
    path = tmp_path / "prices.toml"
    path.write_text(GOOD)
    read, shipped = pricelist.read(path), pricelist.load()
    assert (read.top_up, read.vip_percent, read.minimums) == (shipped.top_up, 30, shipped.minimums)
    assert read.tariffs["basic"].stars == {}
    path.write_text(GOOD + ADDED)
    own = pricelist.read(path)
    assert own.top_up is not None
    assert (own.vip_percent, own.top_up.amounts, own.minimums) == (25, (25000, 99900), {"card": 6400, "stars": 1})


def test_a_list_of_before_in_another_currency_has_what_is_of_every_currency(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(GOOD.replace('"RUB"', '"EUR"'))
    read = pricelist.read(path)
    assert (read.top_up, read.vip_percent, read.minimums) == (None, 30, {"stars": 1})
    path.write_text(GOOD.replace('"RUB"', '"EUR"') + ADDED)
    assert pricelist.read(path).top_up is not None


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("vip_percent = 25", "vip_percent = 0", "discounts.vip_percent"),
        ("vip_percent = 25", "vip_percent = 100", "discounts.vip_percent"),
        ("vip_percent = 25", "vip = 25", "discounts.vip"),
        ("[25000, 99900]", "[25000, 9999]", "top_up.amounts"),
        ("[25000, 99900]", "[10000001]", "top_up.amounts"),
        ("[25000, 99900]", "[250.0]", "top_up.amounts"),
        ("[25000, 99900]", "25000", "top_up.amounts"),
        ("[25000, 99900]", f"[{', '.join(['25000'] * 11)}]", "top_up.amounts"),
        ("least = 10000\n", "least = 0\n", "top_up.least"),
        ("least = 10000\n", "least = 20000000\n", "top_up.least"),
        ("star_value = 125", "star_value = 0", "top_up.star_value"),
        ("star_value = 125", "star_value = 1.25", "top_up.star_value"),
        ("card = 6400", "card = -1", "minimums.card"),
        ("card = 6400", "card = true", "minimums.card"),
        ("card = 6400", "crad = 6400", "minimums.crad"),
        ("365 = 139900 }", "365 = 139900 }\nstars = { 30 = 120 }", "tariffs.basic.stars"),
        ("365 = 139900 }", "365 = 139900 }\nstars = { 30 = 120, 365 = 0 }", "tariffs.basic.stars.365"),
        ("365 = 139900 }", "365 = 139900 }\nstars = { 30 = 120, 365 = 1.5 }", "tariffs.basic.stars.365"),
        ("365 = 139900 }", "365 = 139900 }\nstars = 120", "tariffs.basic.stars"),
    ],
)
def test_each_number_of_money_is_checked(tmp_path: Path, old: str, new: str, name: str) -> None:
    whole = GOOD + ADDED
    assert whole.count(old) == 1
    assert name in problems(tmp_path, whole.replace(old, new))


RANGES = {
    "order_minutes = {}": ("order_minutes", 1, 44_640),
    "devices = {}\nprices": ("tariffs.basic.devices", 1, 10_000),
    "30 = {}": ("tariffs.basic.prices.30", 1, 10**17 - 1),
    "{} = 14900": ("tariffs.basic.prices", 1, 3_660),
    "hours = {}": ("trial.hours", 1, 87_840),
    "daily_cap = {}": ("trial.daily_cap", 1, 2**31 - 1),
    "devices = {}\ntraffic": ("trial.devices", 1, 10_000),
    "traffic_gb = {}": ("trial.traffic_gb", 1, 10**9),
}
_NOW = {"devices = {}\nprices": "3", "30 = {}": "14900", "{} = 14900": "30", "devices = {}\ntraffic": "1"}


@pytest.mark.proves("G-19")
@pytest.mark.parametrize("entry", RANGES)
@given(data=st.data())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_each_number_has_a_floor_and_a_ceiling(tmp_path: Path, entry: str, data: st.DataObject) -> None:
    name, low, high = RANGES[entry]
    now = _NOW.get(entry) or GOOD.partition(entry.partition("{")[0])[2].partition("\n")[0]
    limits = st.sampled_from([low, high, low - 1, high + 1, -1, 2**31, 2**63, 10**40])
    number = data.draw(limits | st.integers(low, high) | st.integers())
    old = entry.format(now)
    assert GOOD.count(old) == 1, old
    if entry == "{} = 14900" and (
        number < 0 or number == 365
    ):  # a bare key has no sign; the tariff has these days already
        number = 0
    path = tmp_path / "prices.toml"
    path.write_text(GOOD.replace(old, entry.format(number)))
    if low <= number <= high:
        pricelist.read(path)
        return
    with pytest.raises(pricelist.InvalidPriceList) as raised:
        pricelist.read(path)
    lines = str(raised.value).split("\n")
    assert len(lines) == 1
    assert lines[0].startswith(name)


@pytest.mark.proves("G-19")
@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('currency = "RUB"', 'currency = "USDT"', "currency"),
        ('currency = "RUB"', 'currency = "XTR"', "currency"),
        ('currency = "RUB"', 'currency = "ZZZ"', "currency"),
        ("30 = 14900", '"\u0663\u0660" = 14900', "tariffs.basic.prices"),
        ("30 = 14900", "030 = 14900", "tariffs.basic.prices.030"),
        ("30 = 14900", '"3_0" = 14900', "tariffs.basic.prices.3_0"),
        ("devices = 3", 'devices = 3\nsold = "no"', "tariffs.basic.sold"),
        ("devices = 3", "devices = 3\nsold = false", "tariffs"),
        ("hours = 72", f"hours = {'9' * 5000}", "TARIFFS_PATH"),
        ("hours = 72", f"hours = {'[' * 5000}{']' * 5000}", "TARIFFS_PATH"),
        ("hours = 72", "hours = nan", "trial.hours"),
        (
            "[trial]",
            "[tariffs.plus]\ndevices = 1\nprices = { 30 = 1490001, 365 = 139900 }\n[trial]",
            "tariffs.basic and",
        ),
        ("[trial]", "[tariffs.plus]\ndevices = 1\nprices = { 31 = 100 }\n[trial]", "tariffs.basic and"),
    ],
)
def test_what_could_not_be_sold_is_refused(tmp_path: Path, old: str, new: str, named: str) -> None:
    assert GOOD.count(old) == 1
    (problem,) = problems(tmp_path, GOOD.replace(old, new))
    assert problem.startswith(named)


@pytest.mark.proves("G-19")
@given(price=st.integers(1, 10**17 - 1) | st.sampled_from([1, 10**17 - 1]))
def test_each_price_is_one_that_crypto_pay_says_back_exactly(price: int) -> None:
    asked = cryptopay._decimal_string(price, "RUB")
    invoice = {"invoice_id": 1, "status": "paid", "currency_type": "fiat", "fiat": "RUB", "amount": asked}
    money = cryptopay_news.event_of(invoice, b"{}", "sweep", "c").money
    assert money is not None
    assert (money.amount, money.currency) == (price, "RUB")
    beyond = invoice | {"amount": cryptopay._decimal_string(10**17, "RUB")}
    assert cryptopay_news.event_of(beyond, b"{}", "sweep", "c").money is None


def test_a_path_is_not_quoted(tmp_path: Path) -> None:
    with pytest.raises(pricelist.InvalidPriceList) as raised:
        pricelist.read(tmp_path / "q7Zx9K4w")
    assert "q7Zx9K4w" not in str(raised.value)


RENEWALS = """
[auto_renewal]
window_hours = 6
notice_hours = 72
"""


def test_a_list_without_renewals_has_the_built_in_ones_and_its_own_where_it_says_so(tmp_path: Path) -> None:
    path = tmp_path / "prices.toml"
    path.write_text(GOOD)
    assert (pricelist.read(path).auto_renewal.window_hours, pricelist.read(path).auto_renewal.notice_hours) == (6, 72)
    for window, notice in ((1, 24), (23, 24), (23, 720)):
        path.write_text(GOOD + RENEWALS.replace("= 6", f"= {window}").replace("= 72", f"= {notice}"))
        own = pricelist.read(path).auto_renewal
        assert (own.window_hours, own.notice_hours) == (window, notice)


@pytest.mark.proves("G-19")
@pytest.mark.parametrize(
    "value",
    ["0", "-1", "LOW - 1", "HIGH + 1", "6.0", "true", '"6"', "[6]", "{ a = 6 }", "nan", "2026-12-01", f"{10**40}"],
)
@pytest.mark.parametrize(("entry", "low", "high"), [("window_hours = 6", 1, 23), ("notice_hours = 72", 24, 720)])
def test_each_number_of_renewals_is_checked_and_is_the_one_problem(
    tmp_path: Path, entry: str, low: int, high: int, value: str
) -> None:
    """What access was renewed must not be due again, and a price is announced days before, not minutes: one line, with the range."""
    value = {"LOW - 1": str(low - 1), "HIGH + 1": str(high + 1)}.get(value, value)
    path = tmp_path / "prices.toml"
    name = entry.partition(" ")[0]
    path.write_text(GOOD + RENEWALS.replace(entry, f"{name} = {value}"))
    with pytest.raises(pricelist.InvalidPriceList) as raised:
        pricelist.read(path)
    assert str(raised.value) == f"auto_renewal.{name}: a whole number from {low} to {high} is needed"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("[auto_renewal]\nwindow_hours = 6", ["auto_renewal.notice_hours"]),
        ("[auto_renewal]\nnotice_hours = 72", ["auto_renewal.window_hours"]),
        ("[auto_renewal]", ["auto_renewal.window_hours", "auto_renewal.notice_hours"]),
        (RENEWALS + "notice_days = 3", ["auto_renewal.notice_days"]),
        (RENEWALS.replace("window_hours", "window"), ["auto_renewal.window", "auto_renewal.window_hours"]),
    ],
)
def test_renewals_are_said_whole_and_nothing_else(tmp_path: Path, text: str, names: list[str]) -> None:
    assert sorted(problems(tmp_path, GOOD + text)) == sorted(names)


@pytest.mark.parametrize("value", ["5", "[]", '"6 hours"', "true"])
def test_renewals_are_a_table(tmp_path: Path, value: str) -> None:
    assert "auto_renewal" in problems(tmp_path, f"auto_renewal = {value}\n" + GOOD)


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


REMINDERS = """
[reminders]
paid = [72, 24, 3]
given = { 1 = [6], 7 = [24] }
trial = { tip = 6, offer = 48, last = 66 }
quiet = { begins = "22:00", ends = "09:00", before = "21:30" }
"""


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("[72, 24, 3]", "[72, 72]", "reminders.paid"),
        ("[72, 24, 3]", "[0]", "reminders.paid"),
        ("[72, 24, 3]", "[true]", "reminders.paid"),
        ("[72, 24, 3]", "[1.5]", "reminders.paid"),
        ("[72, 24, 3]", "72", "reminders.paid"),
        ("[72, 24, 3]", "[1,2,3,4,5,6,7,8,9,10,11]", "reminders.paid"),
        ("1 = [6]", "1 = [24]", "reminders.given.1"),
        ("1 = [6]", "01 = [6]", "reminders.given.01"),
        ("1 = [6]", "0 = [6]", "reminders.given.0"),
        ("{ 1 = [6], 7 = [24] }", "[6]", "reminders.given"),
        ("last = 66", "last = 72", "reminders.trial"),
        ("offer = 48", "offer = 67", "reminders.trial"),
        ("tip = 6", "hint = 6", "reminders.trial"),
        ("tip = 6", 'tip = "6"', "reminders.trial"),
        ('"22:00"', '"24:00"', "reminders.quiet"),
        ('"22:00"', "22", "reminders.quiet"),
        ('"22:00"', '"09:00"', "reminders.quiet"),
        ('"21:30"', '"23:30"', "reminders.quiet"),
        (', before = "21:30"', "", "reminders.quiet"),
        ("paid =", "payed =", "reminders.payed"),
    ],
)
def test_reminders_that_could_not_be_sent_are_refused(tmp_path: Path, old: str, new: str, named: str) -> None:
    whole = GOOD + REMINDERS
    assert old in whole
    found = problems(tmp_path, whole.replace(old, new))
    assert named in found


def test_a_list_without_reminders_has_those_before_the_end_of_its_trial(tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text(GOOD.replace("hours = 72", "hours = 24"))
    found = pricelist.read(path).reminders
    assert (found.paid, found.trial) == ((72, 24, 3), {"tip": 6})


@pytest.mark.parametrize(
    ("begins", "ends", "quiet", "loud"),
    [(1320, 540, (1320, 0, 539), (540, 1319)), (60, 480, (60, 479), (0, 480, 1439))],
    ids=["over midnight", "within a day"],
)
def test_quiet_hours_may_pass_midnight(begins: int, ends: int, quiet: tuple[int, ...], loud: tuple[int, ...]) -> None:
    hours = Quiet(begins, ends, ends)
    assert all(hours.contains(minute) for minute in quiet)
    assert not any(hours.contains(minute) for minute in loud)
