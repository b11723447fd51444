"""A pre-checkout that meets a function which is only just starting, on a quarter of a CPU (N-4): Telegram waits 10 s."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest

from sandbox.processes.child import bare_environment
from sandbox.state.ports import free_port
from tests.integration.domain.test_checkout import ANNA, open_order
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from lib.db import Database

ROOT = Path(__file__).resolve().parents[3]
SECRET = "secret-of-the-webhook"
TELEGRAM_WAITS_S = 10.0
_TURN_S = 0.02


@asynccontextmanager
async def on_a_quarter_of_a_cpu(process_group: int) -> AsyncIterator[None]:
    """SIGSTOP and SIGCONT: of each 20 ms, the group runs for 5."""

    async def take_turns() -> None:
        while True:
            os.killpg(process_group, signal.SIGSTOP)
            await asyncio.sleep(_TURN_S * 3 / 4)
            os.killpg(process_group, signal.SIGCONT)
            await asyncio.sleep(_TURN_S / 4)

    turns = asyncio.create_task(take_turns())
    try:
        yield
    finally:
        turns.cancel()
        with suppress(asyncio.CancelledError, ProcessLookupError):
            await turns


async def first_answer(url: str, update: dict[str, object]) -> httpx.Response:
    """Asked again as long as it does not listen, as the platform does for a request that starts an instance."""
    async with httpx.AsyncClient(timeout=60.0) as client:

        async def answer() -> httpx.Response | None:
            try:
                return await client.post(url, json=update, headers={"X-Telegram-Bot-Api-Secret-Token": SECRET})
            except httpx.ConnectError:
                return None

        found: httpx.Response = await until(answer, "an answer", seconds=60)
        return found


@pytest.mark.full
@pytest.mark.proves("N-4.cold")
async def test_it_is_answered_before_telegram_gives_up(db: Database, functions_url: str, tmp_path: Path) -> None:
    order = await db.run(open_order)
    query = {
        "id": "q1",
        "from": {"id": ANNA, "is_bot": False, "first_name": "Anna"},
        "currency": order.currency,
        "total_amount": order.price,
        "invoice_payload": str(order.purchase_id),
    }
    port = free_port()
    settings = {"DATABASE_URL": functions_url, "TELEGRAM_WEBHOOK_SECRET": SECRET, "HOST": "127.0.0.1"}
    framework = Path(sys.executable).with_name("functions-framework")
    with (tmp_path / "log").open("wb") as output:
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            str(framework), "--target", "telegram_webhook", "--port", str(port),
            cwd=ROOT, env=bare_environment(settings), stdout=output, stderr=output, start_new_session=True,
        )  # fmt: skip
        try:
            async with on_a_quarter_of_a_cpu(process.pid):
                answer = await first_answer(f"http://127.0.0.1:{port}/", {"update_id": 1, "pre_checkout_query": query})
            seconds = time.monotonic() - started
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    assert (answer.status_code, answer.json()) == (
        200,
        {"method": "answerPreCheckoutQuery", "pre_checkout_query_id": "q1", "ok": True},
    )
    assert seconds < TELEGRAM_WAITS_S
