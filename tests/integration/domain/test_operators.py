from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from lib.domain import audit, flags, operators
from lib.domain.operators import Role

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.db import Database, Transaction

OWNER, OPERATOR = 7, 8


def actions(tx: Transaction) -> list[str]:
    return [
        str(row)
        for row in tx.values(
            "select concat_ws(' ', actor, action, subject_key, before, after) from audit_log order by id"
        )
    ]


async def test_roles_are_given_and_end_at_once_and_each_change_is_in_the_audit_log(db: Database) -> None:
    async def roles(telegram_id: int) -> frozenset[Role]:
        return await db.run(operators.roles, telegram_id, {OWNER})

    assert await roles(OWNER) == {Role.OWNER}
    assert await roles(OPERATOR) == frozenset()
    assert await db.run(operators.grant, OWNER, OPERATOR, Role.FINANCE, "c-1")
    assert await db.run(operators.grant, OWNER, OPERATOR, Role.SUPPORT, "c-2")
    assert not await db.run(operators.grant, OWNER, OPERATOR, Role.SUPPORT, "c-3")
    assert await roles(OPERATOR) == {Role.FINANCE, Role.SUPPORT}
    assert await db.run(operators.revoke, OWNER, OPERATOR, Role.FINANCE, "c-4")
    assert not await db.run(operators.revoke, OWNER, OPERATOR, Role.FINANCE, "c-5")
    assert await roles(OPERATOR) == {Role.SUPPORT}
    assert await db.run(actions) == [
        '7 role.granted 8 {"role": "finance"}',
        '7 role.granted 8 {"role": "support"}',
        '7 role.revoked 8 {"role": "finance"}',
    ]
    assert await db.run(audit.verify) == []


@pytest.mark.parametrize("change", [operators.grant, operators.revoke])
async def test_no_operator_becomes_an_owner(db: Database, change: Callable[..., bool]) -> None:
    with pytest.raises(ValueError, match="ADMIN_IDS"):
        await db.run(change, OWNER, OPERATOR, Role.OWNER, "c-1")


async def test_a_switch_tells_who_flipped_it_and_what_it_was(db: Database) -> None:
    assert await db.run(flags.enabled, flags.TRIAL)
    assert not await db.run(lambda tx: operators.switch_flag(tx, OWNER, flags.TRIAL, on=True, correlation_id="c-1"))
    assert await db.run(lambda tx: operators.switch_flag(tx, OWNER, flags.TRIAL, on=False, correlation_id="c-2"))
    assert not await db.run(flags.enabled, flags.TRIAL)
    assert await db.run(lambda tx: operators.switch_flag(tx, None, flags.TRIAL, on=True, correlation_id="c-3"))
    assert await db.run(flags.enabled, flags.TRIAL)
    assert await db.run(actions) == [
        '7 flag.switched trial {"enabled": true} {"enabled": false}',
        'flag.switched trial {"enabled": false} {"enabled": true}',
    ]
