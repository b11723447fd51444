"""Customers: one account per Telegram id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from lib import json_reader
from lib.db import Query
from lib.domain import messages

if TYPE_CHECKING:
    from datetime import datetime

    from lib.db import Transaction
    from lib.domain import outbox

LANGUAGES = ("ru", "en")
DEFAULT_LANGUAGE = "ru"
"""Of texts for a customer whose language was never told; never stored."""


@dataclass(frozen=True, slots=True)
class Person:
    """Who wrote to the bot, as Telegram describes them now."""

    telegram_id: int
    first_name: str
    username: str | None
    language_code: str | None


@dataclass(frozen=True, slots=True)
class Account:
    """A customer.

    Attributes:
        language: of what is said to them; the default while none was told.
        was_unreachable: they could not be reached until this update: what is owed to them is to be sent now.
        ban_reason: why they are banned; None: they are not. It holds for the whole transaction, which locks the account's row.
        updates_in_minute: how many of their updates had an effect within the minute that is being counted, this one included.
    """

    id: int
    telegram_id: int
    first_name: str
    language: str
    language_chosen: bool
    trial_used_at: datetime | None
    was_unreachable: bool
    updates_in_minute: int
    is_new: bool
    ban_reason: str | None = None


# An upsert. The language is kept from the first update that tells one: absence is not an answer. The minute that is counted
# begins with the first update after the last one ended.
# One who writes is answered now: the next message to them comes a second later.
# The update's own row was claimed just before: when it turns out to be done, nothing happens here and no row comes back.
# xmax is 0 only for a row that this statement inserted. An unreachable customer stays so until `reached`, which returns what
# is owed to them.
_MEET = f"""
insert into accounts
    (telegram_id, first_name, username, language, start_payload, latest_update_id, updates_counted_from, updates_counted,
     chat_sent_at)
select cast(:telegram_id as bigint), :first_name, :username, :language, :start_payload, cast(:update_id as bigint),
       atlas.now(), 1, atlas.now()
where :even_if_done or not exists (select from updates where update_id = :update_id and done_at is not null)
on conflict (telegram_id) do update
    set first_name = excluded.first_name, username = excluded.username,
        language = coalesce(accounts.language, excluded.language),
        chat_sent_at = excluded.chat_sent_at,
        latest_update_id = coalesce(excluded.latest_update_id, accounts.latest_update_id),
        updates_counted = case when excluded.updates_counted_from < accounts.updates_counted_from + interval '1 minute'
                               then accounts.updates_counted + 1 else 1 end,
        updates_counted_from = case when excluded.updates_counted_from < accounts.updates_counted_from + interval '1 minute'
                                    then accounts.updates_counted_from else excluded.updates_counted_from end
returning id, telegram_id, first_name, coalesce(language, '{DEFAULT_LANGUAGE}') as language, language_chosen, trial_used_at,
          unreachable_since is not null as was_unreachable, updates_counted as updates_in_minute, xmax = 0 as is_new,
          ban_reason
"""  # noqa: S608 -- a constant


def language_told(code: str | None) -> str | None:
    """The language of texts for a `language_code` of Telegram; None when it told none. Any but Russian falls back to English."""
    if not code:
        return None
    return "ru" if code.lower().split("-")[0] == "ru" else "en"


def meet_query(
    person: Person, *, start_payload: str | None = None, update_id: int | None = None, even_if_done: bool = False
) -> Query[Account]:
    """The query that finds the customer's account, or makes it.

    Args:
        person: as the update describes them.
        start_payload: of the deep link that they came by.
        update_id: the update that tells of them, whose effect this transaction has; claimed in it before.
        even_if_done: find them even when that update was done before; otherwise nothing happens, and there is no row.
    """
    found = {
        "telegram_id": person.telegram_id,
        "first_name": json_reader.storable(person.first_name)[:128],
        "username": json_reader.storable(person.username)[:64] if person.username else None,
        "language": language_told(person.language_code),
        "start_payload": start_payload,
        "update_id": update_id,
        "even_if_done": even_if_done,
    }
    return Query(Account, _MEET, found)


def meet(tx: Transaction, person: Person, *, start_payload: str | None = None, update_id: int | None = None) -> Account:
    """The person's account, whatever became of the update; see `meet_query`."""
    (account,) = tx.ask(meet_query(person, start_payload=start_payload, update_id=update_id, even_if_done=True))
    return account


def has_moved_on(tx: Transaction, telegram_id: int, update_id: int) -> bool:
    """Whether a later update of the same customer had its effect."""
    latest = tx.value("select latest_update_id from accounts where telegram_id = :id", id=telegram_id)
    return latest is not None and latest != update_id


def choose_language(tx: Transaction, account_id: int, language: str) -> None:
    """Raises: ValueError for a language there are no texts in."""
    if language not in LANGUAGES:
        raise ValueError("unknown language")
    tx.execute(
        "update accounts set language = :language, language_chosen = true where id = :id",
        language=language,
        id=account_id,
    )


def unreachable(tx: Transaction, telegram_id: int) -> None:
    """They blocked the bot or are gone: nothing is sent until they write again. An unknown person is no error."""
    tx.execute(
        "update accounts set unreachable_since = coalesce(unreachable_since, atlas.now()) where telegram_id = :telegram_id",
        telegram_id=telegram_id,
    )


def reached(tx: Transaction, telegram_id: int) -> list[outbox.Item]:
    """They wrote, or unblocked the bot: what is owed to them is queued again, in the same transaction; the work to enqueue."""
    account_id = tx.value(
        "update accounts set unreachable_since = null where telegram_id = :telegram_id and unreachable_since is not null"
        " returning id",
        telegram_id=telegram_id,
    )
    return messages.resume(tx, account_id) if account_id is not None else []
