"""From a webhook's body to an effect: which path an update takes, and what becomes of one that fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from lib import bootstrap, json_reader
from lib.db import idempotent
from lib.domain import updates
from lib.domain.updates import Handled, Incoming
from lib.payments.reporting import report
from lib.settings import pricelist
from lib.telegram import payments

if TYPE_CHECKING:
    from lib.db import Transaction
    from lib.domain.outbox import Item

_BOT_KINDS = frozenset({"message", "callback_query", "my_chat_member"})


class UnreadableUpdate(Exception):
    """Not JSON, not UTF-8, or without its update_id: answered 400."""


def read(body: bytes) -> tuple[Incoming, dict[str, Any]]:
    """The update and its key.

    Raises:
        UnreadableUpdate: see there.
    """
    try:
        update = json_reader.read_object(body)
    except json_reader.UnreadableJson as error:
        raise UnreadableUpdate(str(error)) from None
    update_id = json_reader.id_or_zero(update.get("update_id"))
    if not update_id:
        raise UnreadableUpdate("no update_id")
    return Incoming(update_id, body.decode("utf-8").replace("\x00", ""), f"tg-{update_id}"), update


def read_again(incoming: Incoming) -> dict[str, Any]:
    """The update of a stored body.

    Raises:
        lib.json_reader.UnreadableJson: something else than `read` put it there.
    """
    return json_reader.read_object(incoming.body.encode())


async def handle(incoming: Incoming, update: dict[str, Any]) -> Handled:
    """Give the update its one effect, or the stored reply when it had it before.

    Raises:
        lib.db.DatabaseError: Postgres can't be had.
        Exception: whatever the handler raised; nothing was changed then.
    """
    db = bootstrap.database()
    if (charge := payments.read_charge(update, incoming)) is not None:
        received = await db.run_reserved(payments.record_charge, incoming, charge, pricelist.load())
        if received is None:
            return Handled([])
        report(charge.provider, charge.via, received)
        return Handled([], received.follow_up)
    if "pre_checkout_query" in update:
        return Handled(await db.run_reserved(payments.answer_checkout, incoming, update["pre_checkout_query"]))
    if not _BOT_KINDS & update.keys():
        return Handled(await db.run(ignore, incoming))
    # aiogram is loaded here and not before: the paths above must answer without it
    from lib.bot.handle import handle as handle_with_bot  # noqa: PLC0415 -- as said above
    from lib.bot.wiring import services  # noqa: PLC0415 -- as said above

    return await handle_with_bot(services(), incoming, update)


def tells_of_money(incoming: Incoming) -> bool:
    """Whether a stored update holds a charge."""
    try:
        return payments.read_charge(read_again(incoming), incoming) is not None
    except json_reader.UnreadableJson:
        return False


@idempotent
def ignore(tx: Transaction, incoming: Incoming) -> list[dict[str, Any]]:
    """A kind of update the bot does not use: recorded as done."""
    if not updates.claim(tx, incoming).done:
        updates.finish(tx, incoming.update_id, [])
    return []


@idempotent
def keep(tx: Transaction, incoming: Incoming, error: str) -> Item | None:
    """The handler failed or ran out of time: the body stays and `task_update` tries again (`updates.keep`)."""
    return updates.keep(tx, incoming, error)
