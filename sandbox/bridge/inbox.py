"""Updates that were fetched and not yet handled: on disk before Telegram is told that we have them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.state.store import Store
from sandbox.telegram.updates.updates import Updates

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.stand_in.clock import Clock

_NEWEST: Final = "newest_batch"


class Inbox:
    """The queues of `Updates`, filled by batches.

    Telegram forgets a batch when the next one is asked for by its offset. A run that dies in between is given the batch again,
    so the ids of the newest one are kept with it. An offset is not kept: after a week of silence ids begin anew, and an old
    offset could confirm what was never seen.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        self._store = Store(path, durable=True)
        self.updates = Updates(self._store, clock)
        self._newest: set[int] = set(self._store.setting(_NEWEST) or ())

    def take(self, batch: list[dict[str, Any]]) -> int:
        """Keep what is new in a batch, all of it or nothing; the offset that confirms the batch.

        Raises:
            sqlite3.Error: nothing was kept, so nothing may be confirmed.
        """
        ids = [int(update["update_id"]) for update in batch]
        with self._store.transaction():
            for update in batch:
                if update["update_id"] not in self._newest:
                    self.updates.put(update)
            self._store.save_setting(_NEWEST, ids)
        self._newest = set(ids)
        return max(ids) + 1

    def close(self) -> None:
        """Close the file."""
        self._store.close()
