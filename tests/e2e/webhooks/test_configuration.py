"""Wrong settings: every problem is told at once, by name and never by value, and nothing is begun with them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.e2e.webhooks.steps import FunctionLog, another, post

if TYPE_CHECKING:
    from pathlib import Path

    from sandbox.system.system import System

WRONG = {
    "TELEGRAM_API_BASE": "ftp://hidden-value-1",
    "CRYPTOPAY_API_BASE": "hidden-value-2",
    "DISPLAY_TZ": "Mars/Hidden-value-3",
    "ADMIN_IDS": "1,hidden-value-4",
    "FUNCTION_URL_TEMPLATE": "http://127.0.0.1/hidden-value-5",
    "XRAY_API_URL": "",
    "XRAY_API_KEY": "hidden-value-6",
}
NAMES = {"TELEGRAM_API_BASE", "CRYPTOPAY_API_BASE", "DISPLAY_TZ", "ADMIN_IDS", "FUNCTION_URL_TEMPLATE", "TARIFFS_PATH"}


@pytest.mark.parametrize("target", ["sweep_payments", "sweep_activation", "task_notify", "task_provision"])
async def test_a_task_or_sweep_with_wrong_settings_lists_all_of_them(
    system: System, tmp_path: Path, target: str
) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('currency = "roubles"\norder_minutes = 0\n[tariffs.basic]\ndevices = 0\nprices = { x = 14901 }\n')
    await system.settled()
    runs = await system.sql("select count(*) as n from sweep_runs")
    async with another(system, target, TARIFFS_PATH=str(prices), **WRONG) as process:
        log = FunctionLog(process.log)
        body = json.dumps({"outbox_id": 1, "message_id": 1, "subscription_id": 1}).encode()
        answer = await post(process, body)
        assert answer.status_code == 500
        error = answer.json()["error"]
        [line] = log.lines()
        assert (line["severity"], line["event"]) == ("ERROR", "configuration_invalid")
        told = {problem.partition(":")[0] for problem in line["problems"]}
        expected = NAMES | ({"XRAY_API_URL"} if target in {"sweep_activation", "task_provision"} else set())
        assert told == expected
        for name in expected:
            assert f"{name}: " in error
        for entry in ("currency", "order_minutes", "tariffs.basic.devices", "tariffs.basic.prices.x", "trial.tariff"):
            assert f"TARIFFS_PATH: {entry}" in error
        for text in (error, process.log.read_text()):
            assert "hidden-value" not in text.lower()
            assert "14901" not in text
            assert "roubles" not in text
    assert await system.sql("select count(*) as n from sweep_runs") == runs
