"""Whether Telegram's deliveries arrive, as Telegram itself tells: one row, written by `sweep_outbox` and read by health."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from lib.db import Transaction

TOLD_AFTER_S = 120.0
"""For so long every look must have found them refused: one failed delivery, which is repeated at once, is nothing to tell."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What getWebhookInfo said.

    Attributes:
        is_set: it has an address.
        pending: updates that wait to be delivered.
        last_error_at: of the last delivery that failed, in seconds of Unix time.
        last_error: what Telegram says of it.
    """

    is_set: bool
    pending: int
    last_error_at: int | None
    last_error: str | None


@dataclass(frozen=True, slots=True)
class WebhookState:
    """The row.

    Attributes:
        refused_s: for how many seconds every look has found that nothing arrives; None when the last one did not.
        looked_s: how many seconds ago the last look was; None before the first.
    """

    is_set: bool
    pending: int
    last_error: str | None
    last_error_at: datetime | None
    refused_s: float | None
    looked_s: float | None

    @property
    def refused(self) -> bool:
        """For long enough to be told."""
        return self.refused_s is not None and self.refused_s >= TOLD_AFTER_S


# Refused: something waits, and a delivery failed within three minutes, or there is no address. Telegram repeats ever more
# slowly, so once it is so, it counts as over only when nothing waits any more, or a quarter of an hour brought no new error.
_NOTE = """
update telegram_webhook w
set looked_at = atlas.now(), is_set = :is_set, pending = :pending, last_error = :last_error,
    last_error_at = to_timestamp(cast(:last_error_at as double precision)),
    refused_since = case
        when cast(:pending as integer) = 0 then null
        when not cast(:is_set as boolean)
          or to_timestamp(cast(:last_error_at as double precision)) > atlas.now()
             - case when w.refused_since is null then interval '3 minutes' else interval '15 minutes' end
            then coalesce(w.refused_since, atlas.now())
    end
"""

_STATE = """
select is_set, pending, last_error, last_error_at,
       cast(extract(epoch from atlas.now() - refused_since) as double precision) as refused_s,
       cast(extract(epoch from atlas.now() - nullif(looked_at, '-infinity')) as double precision) as looked_s
from telegram_webhook
"""


def note(tx: Transaction, looked: Looked) -> WebhookState:
    """Write what a look found; how it stands with that."""
    tx.execute(
        _NOTE,
        is_set=looked.is_set,
        pending=looked.pending,
        last_error=looked.last_error,
        last_error_at=looked.last_error_at,
    )
    return state(tx)


def state(tx: Transaction) -> WebhookState:
    """How it stood at the last look."""
    return tx.one(WebhookState, _STATE)
