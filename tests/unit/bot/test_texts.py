from __future__ import annotations

import ast
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from fluent.syntax import FluentParser
from fluent.syntax import ast as ftl
from fluent.syntax.visitor import Visitor

from lib import texts
from lib.bot.callbacks import Platform
from lib.bot.finance.acts import KEEP, TAKE_OFF, Field
from lib.bot.finance.callbacks import Act
from lib.bot.money_screens import TEXTS
from lib.bot.operations.callbacks import Act as OperationsAct
from lib.bot.order_screen import PAID_HERE
from lib.bot.routers.reference import APPS
from lib.domain import renewals
from lib.domain.access_desk import SAID, Change
from lib.domain.accounts import LANGUAGES
from lib.domain.amounts import Refusal
from lib.domain.customer_money import State
from lib.domain.refund_requests import Why as WhyNotRefunded
from lib.domain.refunds_by_hand import Route
from lib.domain.stored_work import Why as WhyNotDone
from lib.domain.suspense_by_hand import Why
from lib.payments import registry
from lib.settings import pricelist
from sandbox.telegram.text.html_markup import parse_html

EVENT_STATES = (
    "new",
    "settled",
    "duplicate",
    "unmatched",
    "no_money",
    "assigned",
    "credited",
    "refunded",
    "moved",
    "asked-back",
)
_ROOT = Path(texts.__file__).parents[2]
_SAMPLES: dict[str, str | int] = {
    **dict.fromkeys(
        ("days", "every", "a_day", "hours", "minutes", "count", "gb", "unmatched", "duplicate", "matched", "lines"), 3
    ),
    **dict.fromkeys(
        (
            *(
                "name",
                "tariff",
                "link",
                "until",
                "left",
                "price",
                "period",
                "devices",
                "traffic",
                "method",
                "what",
                "amount",
                "charged_from",
                "known",
                "notice",
            ),
            *("frozen", "ends", "balance", "missing", "minimum", "least", "most", "when", "state"),
            *("provider", "charge", "username", "reason", "why", "before", "after", "code", "others", "about"),
            *("month", "tariff", "opening", "closing"),
            *("status", "currency", "topped_up", "earned", "debit", "credit", "said", "booked"),
            *(
                "age",
                "troubled",
                "unwell",
                "names",
                "gone",
                "unclear",
                "failed",
                "unreachable",
                "kind",
                "error",
                "account",
            ),
            *("sign", "outcome", "good", "claimed", "done", "seconds", "reconcile", "answer"),
        ),
        "<i>&x",
    ),
    **dict.fromkeys(("version", "number", "id", "app", "platform", "add", "connect"), "<b"),
}


_EVENTS = (
    "granted extended activated expired reissued frozen thawed revoked renewed converted refunded restored".split()  # noqa: SIM905
)


class _Variables(Visitor):
    def __init__(self) -> None:
        self.names: set[str] = set()

    def visit_VariableReference(self, node: ftl.VariableReference) -> None:  # noqa: N802 -- the visitor's own naming
        self.names.add(node.id.name)


@cache
def catalogue(language: str) -> dict[str, set[str]]:
    """Every message's id, and the values it asks for."""
    source = Path(texts.__file__).with_name(f"{language}.ftl").read_text("utf-8")
    found: dict[str, set[str]] = {}
    for entry in FluentParser().parse(source).body:
        assert not isinstance(entry, ftl.Junk), entry.content
        if isinstance(entry, ftl.Message):
            assert entry.id.name not in found, f"{entry.id.name} twice"
            variables = _Variables()
            variables.visit(entry)
            found[entry.id.name] = variables.names
    return found


def ids_in_code() -> set[str]:
    """First arguments of `html`, `plain` and toasts, conditional ones in both branches, and those made of parts."""
    found: set[str] = set()
    for path in (_ROOT / "lib" / "bot").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in {"html", "plain", "say"} and node.args:
                    found |= _strings(node.args[0])
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.startswith("toast-"):
                found.add(node.value)
    found |= {f"message-trial-{name}" for name in pricelist.load().reminders.trial}
    found |= {"left-hours", "left-minutes"}  # lib/texts itself
    found |= {f"top-up-refused-{why.value}" for why in Refusal}
    found |= {f"finance-amount-{why.value}" for why in Refusal if why is not Refusal.TOO_LITTLE}
    found |= {f"finance-title-{act.value}" for act in Act} | {f"button-finance-{act.value}" for act in Act}
    found |= {f"{part}-customers-{one.value}" for part in ("button",) for one in Change}
    found |= {f"customers-title-{one.value}" for one in Change}
    found |= {f"customers-access-{one}" for one in ("active", "frozen", "expired")}
    found |= {f"customers-ask-{one}" for one in ("tariff", "days", "reason")}
    found |= {f"customers-why-{why}" for why in SAID if why not in {"too-often", "stale"}}
    found |= {f"customers-event-{one}" for one in _EVENTS}
    found |= {f"finance-why-{why.value}" for why in Why if why is not Why.OTHER}
    found |= {f"finance-why-{why.value}" for why in WhyNotRefunded if why is not WhyNotRefunded.OTHER}
    found |= {f"button-finance-route-{route.value}" for route in Route}
    found |= {f"button-finance-access-{choice}" for choice in (KEEP, TAKE_OFF)}
    states = ("missing-here", "missing-there", "differs", "balance")
    found |= {f"finance-difference-{state}" for state in states}
    found |= {f"finance-ask-{asked.value}" for asked in Field}
    found |= {f"finance-event-{state.replace('_', '-')}" for state in EVENT_STATES}
    found |= {f"message-renewal-{why.replace('_', '-')}" for why in renewals.TOLD}
    found |= {f"finance-order-{status}" for status in ("open", "paid", "expired", "replaced")}
    found |= ids_of_operations()
    found |= {f"platform-{platform.value}" for platform in Platform}
    found |= {f"button-{language}" for language in LANGUAGES}
    found |= {f"tariff-{name}" for name in pricelist.load().tariffs}
    found |= {step for app in APPS.values() for step in (app.add, app.connect)}
    found |= {"help", "terms", "privacy", *PAID_HERE.values()}
    found |= {f"charge-{state.value}" for state in State} | TEXTS
    found |= {"bot-description", "bot-about"}  # what Telegram shows before the first Start (texts.Texts.profile)
    return found


def ids_of_operations() -> set[str]:
    """Those of the operations desk that are made of a state, by the constraint that lists the states."""
    made = {
        "age": ("s", "m", "h", "d"),
        "node": ("active", "draining", "retired"),
        "trouble": ("authentication", "configuration", "answer", "certificate"),
        "outcome": ("done", "failed", "timed-out"),
        "update": ("waiting", "given-up", "done", "list", "none"),
        "gone": ("list", "none"),
        "message": ("queued", "sent", "unclear", "failed", "unreachable", "cancelled"),
        "refund": ("requested", "sent"),
        "title": tuple(act.value for act in OperationsAct),
        "means": tuple(act.value for act in OperationsAct),
        "why": tuple(why.value for why in WhyNotDone),
    }
    found = {f"operations-{kind}-{state}" for kind, states in made.items() for state in states}
    found |= {f"button-operations-{act.value}" for act in OperationsAct}
    return found | {"button-operations-on-of", "button-operations-off-of"}


def _strings(node: ast.expr) -> set[str]:
    if isinstance(node, ast.IfExp):
        return _strings(node.body) | _strings(node.orelse)
    return {node.value} if isinstance(node, ast.Constant) and isinstance(node.value, str) else set()


def test_an_order_says_where_it_is_paid_with_each_provider() -> None:
    assert {provider.NAME for provider in registry.PROVIDERS} <= PAID_HERE.keys()
    assert len({*PAID_HERE.values()}) == len(PAID_HERE)


def test_languages_are_those_of_the_accounts() -> None:
    assert texts.LANGUAGES == LANGUAGES


def test_catalogues_have_the_same_ids_and_ask_for_the_same_values() -> None:
    assert catalogue("ru") == catalogue("en")


def test_every_id_used_exists_and_every_id_there_is_used() -> None:
    assert ids_in_code() == set(catalogue("ru"))


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_every_message_is_html_that_telegram_takes(language: str) -> None:
    say = texts.of(language)
    for message, variables in catalogue(language).items():
        text = say.html(message, **{name: _SAMPLES[name] for name in variables})
        shown, _ = parse_html(text)
        assert shown.strip(), message
        assert "<i>&x" in shown or "<i>" not in text, f"{message} lets markup through"


@pytest.mark.parametrize("language", texts.LANGUAGES)
def test_buttons_and_toasts_are_plain_and_short(language: str) -> None:
    say = texts.of(language)
    for message, variables in catalogue(language).items():
        if message.startswith(("button-", "toast-")):
            text = say.plain(message, **dict.fromkeys(variables, "Plus"))
            assert "<" not in text
            assert len(text) <= 64


@pytest.mark.parametrize(
    ("days", "ru", "en"),
    [
        (1, "1 день", "1 day"),
        (2, "2 дня", "2 days"),
        (5, "5 дней", "5 days"),
        (11, "11 дней", "11 days"),
        (21, "21 день", "21 days"),
        (22, "22 дня", "22 days"),
        (30, "30 дней", "30 days"),
        (365, "365 дней", "365 days"),
    ],
)
def test_plurals(days: int, ru: str, en: str) -> None:
    assert texts.of("ru").plain("period", days=days) == ru
    assert texts.of("en").plain("period", days=days) == en


@pytest.mark.parametrize(
    ("amount", "currency", "ru", "en"),
    [
        (14_900, "RUB", "149 ₽", "149 ₽"),
        (139_900, "RUB", "1\u00a0399 ₽", "1\u00a0399 ₽"),
        (14_950, "RUB", "149,50 ₽", "149.50 ₽"),
        (5, "RUB", "0,05 ₽", "0.05 ₽"),
        (250, "XTR", "250 ⭐", "250 ⭐"),
        (1_862_500, "USDT", "1,862500 USDT", "1.862500 USDT"),
    ],
)
def test_money(amount: int, currency: str, ru: str, en: str) -> None:
    assert texts.of("ru").money(amount, currency) == ru
    assert texts.of("en").money(amount, currency) == en


@pytest.mark.parametrize("currency", ["XXX", "rub", ""])
def test_no_digits_are_made_up_for_a_currency_that_no_list_has(currency: str) -> None:
    with pytest.raises(LookupError, match="unknown currency"):
        texts.of("ru").money(14_900, currency)


def test_times_are_the_operators_and_say_so() -> None:
    when = datetime(2026, 11, 23, 21, 5, tzinfo=UTC)
    assert texts.of("ru").moment(when, ZoneInfo("Europe/Moscow")) == "24.11.2026 00:05 MSK"
    assert texts.of("en").moment(when, ZoneInfo("UTC")) == "23 Nov 2026 21:05 UTC"


def test_text_is_escaped_in_messages_and_left_alone_in_buttons() -> None:
    say = texts.of("en")
    assert "&lt;b&gt;A &amp; B&lt;/b&gt;" in say.html("menu-welcome", name="<b>A & B</b>")
    assert "A & B" in say.plain("menu-welcome", name="A & B")


def test_a_name_is_never_a_pattern() -> None:
    assert "{ $price }" in texts.of("en").html("menu-welcome", name="{ $price }")


def test_an_operators_own_tariff_goes_by_its_name() -> None:
    assert texts.of("ru").tariff("family") == "Family"


def test_an_unknown_message_and_a_missing_value_are_errors() -> None:
    with pytest.raises(LookupError, match="no message"):
        texts.of("en").html("no-such-message")
    with pytest.raises(LookupError, match="menu-welcome"):
        texts.of("en").html("menu-welcome")


def test_another_language_falls_back_to_english() -> None:
    assert texts.of("de").language == "en"


def test_the_menu_of_commands_is_what_the_help_lists() -> None:
    known = {"start", "buy", "profile", "instruction", "language", "paysupport", "terms", "privacy", "help"}
    for language in texts.LANGUAGES:
        commands = texts.of(language).commands()
        assert {command["command"] for command in commands} == known
        assert all(command["description"] for command in commands)
