"""The command that changes a customer's access from a shell: a dry run first, once under its name, who and why in the audit log."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from infra import access, environment
from lib.domain import access_desk, operators
from lib.domain.access_desk import Change
from lib.domain.operators import Role
from tests.integration.infra.test_end_suspense import OWNER, Found
from tests.integration.sweeps.lives import bought

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lib.db import Database, Transaction

REASON = "as the customer asked in the ticket"
AUDIT = "select actor || ' ' || action || ' ' || subject_key || ' ' || (after ->> 'reason') from audit_log order by id"


class Command:
    """The command, as its make target gives it words."""

    def __init__(self, account: int) -> None:
        self.account = account

    def run(self, change: str, *, once: str = "ticket-9", env: str = "local", sure: bool = True, **said: object) -> int:
        given: dict[str, object] = {"account": self.account, "change": change, "operator": OWNER, "reason": REASON}
        given |= {"once": once} | ({"confirm": self.account} if sure else {}) | said
        return access.main(
            ["--env", env, *(word for name, value in given.items() for word in (f"--{name}", str(value)))]
        )


def audited(tx: Transaction) -> list[Any]:
    return tx.values(AUDIT)


@pytest.fixture
async def command(racing_db: Database, database_url: str, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Of a customer who bought 30 days."""
    monkeypatch.setattr(environment, "load", lambda name: Found(database_url, name))
    return Command(await racing_db.run(bought))


@pytest.mark.parametrize(
    ("changes", "states"),
    [
        ([("grant", {"tariff": "basic", "days": 30})], "active, basic"),
        ([("reissue", {})], "key 2"),
        ([("freeze", {"days": 10})], "frozen, basic"),
        ([("freeze", {"days": 10}), ("thaw", {})], "active, basic"),
        ([("revoke", {})], "expired, basic"),
        ([("ban", {})], "banned"),
        ([("ban", {}), ("unban", {})], "active, basic"),
    ],
)
async def test_each_change_is_tried_and_then_made_once(
    racing_db: Database,
    command: Command,
    capsys: pytest.CaptureFixture[str],
    changes: Sequence[tuple[str, Any]],
    states: str,
) -> None:
    *before, (change, said) = changes
    for number, (earlier, of_it) in enumerate(before):
        assert command.run(earlier, once=f"before-{number}", **of_it) == 0
    stood, told = await racing_db.run(access_desk.state, command.account), await racing_db.run(audited)
    work = "select count(*) from outbox"
    owed = await racing_db.run(lambda tx: tx.value(work))
    capsys.readouterr()
    assert command.run(change, sure=False, **said) == 0
    tried = capsys.readouterr().out
    assert tried.startswith(f"Dry run, nothing was changed. {change} of account {command.account}: ")
    assert states in tried.rpartition(" -> ")[2]
    assert f"CONFIRM={command.account} makes it" in tried
    assert (await racing_db.run(access_desk.state, command.account), await racing_db.run(audited)) == (stood, told)
    assert await racing_db.run(lambda tx: tx.value(work)) == owed
    assert command.run(change, **said) == 0
    assert states in capsys.readouterr().out
    action = {"grant": "access.granted"}.get(change, f"access.{change}")
    assert await racing_db.run(audited) == [*told, f"{OWNER} {action} {command.account} {REASON}"]
    made = await racing_db.run(access_desk.state, command.account)
    assert made != stood
    assert command.run(change, **said) == 0
    assert "was made before; nothing was changed now" in capsys.readouterr().out
    assert await racing_db.run(access_desk.state, command.account) == made
    assert len(await racing_db.run(audited)) == len(told) + 1


async def test_a_name_stands_for_one_change_of_one_customer(
    racing_db: Database, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    other = await racing_db.run(lambda tx: bought(tx, 2))
    assert command.run("freeze", days=10) == 0
    await racing_db.run(lambda tx: operators.grant(tx, OWNER, 8, Role.SUPPORT, "c"))
    stood = await racing_db.run(audited)
    for change, said in (
        ("freeze", {"days": 11}),
        ("freeze", {"days": 10, "account": other, "confirm": other}),
        ("revoke", {}),
        ("revoke", {"account": other, "confirm": other}),
        ("grant", {"tariff": "basic", "days": 10}),
    ):
        assert command.run(change, **said) == 2, (change, said)
        assert "'ticket-9' stands for another change already" in capsys.readouterr().err
    assert command.run("grant", once="gift-1", tariff="basic", days=3) == 0
    assert command.run("grant", once="gift-1", tariff="basic", days=4) == 2
    assert command.run("thaw", once="gift-1") == 2
    assert await racing_db.run(audited) == [*stood, f"{OWNER} access.granted {command.account} {REASON}"]
    assert (await racing_db.run(access_desk.state, other)).status == "active"


async def test_what_may_not_be_is_refused_in_words_and_changes_nothing(
    racing_db: Database, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    await racing_db.run(lambda tx: operators.grant(tx, OWNER, 8, Role.FINANCE, "c"))
    stood = await racing_db.run(access_desk.state, command.account)
    refusals: tuple[tuple[str, dict[str, Any], str], ...] = (
        ("revoke", {"operator": 8}, "roles do not allow it"),
        ("ban", {"operator": 9}, "roles do not allow it"),
        ("revoke", {"env": "prod"}, "belongs to environment local, not prod"),
        ("revoke", {"account": 99, "confirm": 99}, "there is no such account"),
        ("thaw", {}, "access is not frozen"),
        ("unban", {}, "they are not banned"),
        ("freeze", {"days": 3661}, "DAYS must be"),
        ("freeze", {}, "DAYS must be"),
        ("freeze", {"days": "-1"}, "DAYS must be"),
        ("freeze", {"days": "٣"}, "DAYS must be"),
        ("freeze", {"days": "1e1"}, "DAYS must be"),
        ("revoke", {"days": 3}, "DAYS: CHANGE=revoke takes no such thing"),
        ("revoke", {"tariff": "basic"}, "TARIFF: CHANGE=revoke takes no such thing"),
        ("grant", {"days": 3}, "TARIFF must name"),
        ("grant", {"days": 3, "tariff": "gold"}, "there is no tariff 'gold'"),
        ("fly", {}, "CHANGE must be one of grant, reissue, freeze, thaw, revoke, ban, unban"),
        ("revoke", {"confirm": 7_000}, "CONFIRM must be the account's number"),
        ("revoke", {"reason": "short"}, "REASON must say"),
        ("revoke", {"reason": "two lines\nare none of it"}, "REASON must say"),
        ("revoke", {"once": "x"}, "ONCE must name"),
        ("revoke", {"account": 0, "confirm": 0}, "ACCOUNT must be a whole number"),
        ("revoke", {"account": 2**63, "confirm": 2**63}, "ACCOUNT must be a whole number"),
        ("revoke", {"operator": "@olga"}, "OPERATOR must be a whole number"),
    )
    for change, said, why in refusals:
        assert command.run(change, **said) == 2, (change, said)
        told = capsys.readouterr()
        assert why in told.err, (change, said, told.err)
        assert ("Nothing was changed" in told.err, told.out) == (True, "")
    assert await racing_db.run(access_desk.state, command.account) == stood
    assert [one for one in await racing_db.run(audited) if one and "access." in one] == []
    assert {change.value for change in Change} >= {change for change, *_ in refusals} - {"fly"}
