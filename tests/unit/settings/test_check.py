"""`python -m lib.settings.check`: all problems at once, by name, never a value."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lib.settings import check as settings_check

ROOT = Path(__file__).resolve().parents[3]
GOOD = {
    "DATABASE_URL": "postgresql://atlas:hidden-password@127.0.0.1:5432/atlas",
    "TELEGRAM_BOT_TOKEN": "123456:AAhiddenhidden",
    "TASKS_PROJECT": "atlas",
    "TASKS_LOCATION": "europe-west1",
    "FUNCTION_URL_TEMPLATE": "https://{name}.example.org",
}


def check(settings: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """As an operator runs it: nothing but these settings in the environment."""
    environment = {"PATH": os.environ["PATH"], **settings}
    return subprocess.run(
        [sys.executable, "-m", "lib.settings.check"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def names(done: subprocess.CompletedProcess[str]) -> list[str]:
    return sorted(line.partition(":")[0] for line in done.stderr.splitlines())


def test_good_settings_are_told_to_be_good() -> None:
    done = check(GOOD)
    assert (done.returncode, done.stderr) == (0, "")
    assert "all good" in done.stdout


def test_everything_that_is_missing_is_listed_at_once() -> None:
    done = check({})
    assert done.returncode == 1
    assert names(done) == sorted(GOOD)
    assert all(line.endswith("is not set") for line in done.stderr.splitlines())


def test_an_empty_variable_counts_as_unset() -> None:
    done = check(GOOD | {"DATABASE_URL": "", "SUPPORT_URL": "", "DISPLAY_TZ": ""})
    assert names(done) == ["DATABASE_URL"]
    assert "is not set" in done.stderr


WRONG = {
    "DATABASE_URL": "mysql://secret-1@host",
    "DATABASE_LOCK_URL": "postgresql://secret-2@host",
    "DB_CONNECTIONS": "1",
    "TELEGRAM_BOT_TOKEN": "secret-3",
    "TELEGRAM_WEBHOOK_SECRET": "good, secret 4 with blanks",
    "TELEGRAM_API_BASE": "secret-5",
    "ADMIN_IDS": "17,secret-6",
    "CRYPTOPAY_TOKEN": "1:goodgood,secret-7",
    "CRYPTOPAY_API_BASE": "gopher://secret-8",
    "CRYPTOPAY_ASSETS": "USDT,SECRET16",
    "PAYMENT_METHODS": "stars,secret-17",
    "TELEGRAM_PROVIDER_TOKEN": "1:secret-18",
    "CARD_RECEIPT": "vat_code=secret-19",
    "TASKS_ENDPOINT": "secret-9",
    "FUNCTION_URL_TEMPLATE": "https://secret-10",
    "XRAY_API_URL": "secret-11",
    "LEDGER_EXPORT_ENDPOINT": "http://secret-18.example",
    "LEDGER_EXPORT_KEY": "secret-19",
    "LEDGER_EXPORT_REGION": "Secret-20",
    "LEDGER_EXPORT_URL": "s3:secret-21",
    "SUPPORT_URL": "secret-12",
    "DISPLAY_TZ": "Secret/13",
    "ENVIRONMENT": "secret-14",
    "LOG_LEVEL": "secret-15",
}


def test_everything_that_is_wrong_is_listed_at_once_by_name_and_never_by_value() -> None:
    done = check(GOOD | WRONG)
    assert done.returncode == 1
    assert names(done) == sorted(WRONG)
    assert "secret" not in done.stderr.lower().replace("telegram_webhook_secret", "")
    assert "hidden" not in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", WRONG)
def test_each_problem_is_told_alone_as_well(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*WRONG, *GOOD):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in (GOOD | {name: WRONG[name]}).items():
        monkeypatch.setenv(variable, value)
    assert [problem.partition(":")[0] for problem in settings_check.problems()] == [name]


def test_a_key_without_its_node_is_a_problem() -> None:
    assert names(check(GOOD | {"XRAY_API_KEY": "secret"})) == ["XRAY_API_URL"]


def test_a_store_without_its_key_is_a_problem_of_the_function_that_copies(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*WRONG, *GOOD):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in (GOOD | {"LEDGER_EXPORT_URL": "s3://books/atlas"}).items():
        monkeypatch.setenv(variable, value)
    for target, found in ((None, 1), ("export_ledger", 1), ("sweep_expiry", 0)):
        told = settings_check.problems(target)
        assert told == ["LEDGER_EXPORT_KEY: is not set, but LEDGER_EXPORT_URL is"] * found


def test_the_price_list_is_checked_too_and_its_problems_are_listed_with_the_others(tmp_path: Path) -> None:
    prices = tmp_path / "prices.toml"
    prices.write_text('currency = "rub"\n[tariffs.basic]\ndevices = -3\n[trial]\ntariff = "gold"\n')
    done = check(GOOD | {"TARIFFS_PATH": str(prices), "DISPLAY_TZ": "Mars"})
    lines = done.stderr.splitlines()
    assert {line.partition(":")[0] for line in lines} == {"TARIFFS_PATH", "DISPLAY_TZ"}
    for entry in (
        "currency",
        "order_minutes",
        "tariffs.basic.devices",
        "tariffs.basic.prices",
        "trial.tariff",
        "trial.hours",
    ):
        assert any(line.startswith(f"TARIFFS_PATH: {entry}: ") for line in lines), entry
    assert "gold" not in done.stderr


@pytest.mark.parametrize("content", [None, b"currency = ", b"\xff\xfe", b"[[tariffs]]"])
def test_a_price_list_that_can_not_be_read_is_one_problem(tmp_path: Path, content: bytes | None) -> None:
    prices = tmp_path / "prices.toml"
    if content is not None:
        prices.write_bytes(content)
    done = check(GOOD | {"TARIFFS_PATH": str(prices)})
    assert done.returncode == 1
    assert set(names(done)) == {"TARIFFS_PATH"}
    assert "Traceback" not in done.stderr
