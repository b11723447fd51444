"""A process that delivers one message: `python -m tests.integration.functions.deliver_and_die URL OUTBOX MESSAGE FILE`.

FILE is Telegram: a byte for each message that it was sent. A failpoint of `ATLAS_FAILPOINTS` ends the process.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any
from unittest import mock

from functions.tasks import task_notify
from lib import bootstrap
from lib.bot import sending
from lib.bot.client import Outcome
from lib.db import Database


class NoQueue:
    """Takes every task."""

    async def create(self, _task: object) -> None:
        return


async def main(url: str, outbox_id: int, message_id: int, telegram: Path) -> None:
    database = Database(url, connections=1, application="dying", guards=False)

    async def send(_bot: None, _calls: list[dict[str, Any]]) -> Outcome:
        with telegram.open("a") as file:
            file.write("x")
        return Outcome("sent", 1)

    with (
        mock.patch.object(bootstrap, "database", return_value=database),
        mock.patch.object(bootstrap, "task_queue", NoQueue),
        mock.patch.object(task_notify, "bot", return_value=None),
        mock.patch.object(sending, "send", send),
    ):
        await task_notify._notify({"outbox_id": outbox_id, "message_id": message_id})
    await database.close()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])))
