"""Consent, versioned, each kind by itself (product.md#screens-user). A refusal is stored as a refusal."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lib.db import Transaction


class Kind(StrEnum):
    """What is asked for."""

    DATA = "data"
    TERMS = "terms"


VERSIONS = {Kind.DATA: 1, Kind.TERMS: 1}
"""Of the texts in force. A text whose meaning changes gets the next number, and consent to the one before it no longer counts."""

# The same answer to the same text again, as with every purchase, is no news and writes nothing.
_ANSWER = """
insert into consents (telegram_id, kind, version, accepted)
select cast(:telegram_id as bigint), :kind, cast(:version as integer), cast(:accepted as boolean)
where not exists (
    select from (select version, accepted from consents where telegram_id = :telegram_id and kind = :kind
                 order by id desc limit 1) newest
    where newest.version = :version and newest.accepted = :accepted)
"""

_NEWEST = """
select accepted from (
    select version, accepted from consents where telegram_id = :telegram_id and kind = :kind order by id desc limit 1
) newest where version = :version
"""


def answer(tx: Transaction, telegram_id: int, kind: Kind, *, accepted: bool) -> None:
    """Keep what the person answered to the text in force. Needs no account: a person who refuses has none."""
    tx.execute(_ANSWER, telegram_id=telegram_id, kind=kind.value, version=VERSIONS[kind], accepted=accepted)


def text_in_force(kind: Kind) -> int:
    """The version that is shown, and asked about, now."""
    return VERSIONS[kind]


def answered(tx: Transaction, telegram_id: int, kind: Kind) -> bool | None:
    """The newest answer; None when the person was never asked, or answered an earlier text."""
    accepted = tx.value(_NEWEST, telegram_id=telegram_id, kind=kind.value, version=VERSIONS[kind])
    return None if accepted is None else bool(accepted)


def is_missing(tx: Transaction, telegram_id: int, *, at_start: bool) -> bool:
    """Whether this person is to be asked for their data before anything else, where the shop asks for it.

    A person with an account was told at their first /start and may be owed what they paid for: they are asked again at /start alone,
    once for each version, and are refused nothing.
    """
    said = answered(tx, telegram_id, Kind.DATA)
    if said:
        return False
    if not tx.value("select exists (select from accounts where telegram_id = :id)", id=telegram_id):
        return True
    return at_start and said is None
