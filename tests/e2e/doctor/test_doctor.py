"""`make doctor ENV=local` over one running system: each thing broken is named, and ok once it is mended."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from infra import environment
from infra.doctor.__main__ import main
from infra.doctor.check import State
from infra.doctor.registry import BY_NAME
from sandbox.system.system import System
from tests.e2e.doctor.breaks import BREAKS, MORE, NOT_HERE, Shop
from tests.e2e.sweeps.customers import a_customer, accept_trial
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
async def shop(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Shop]:
    """A system with a customer who has a key, every sweep run once."""
    async with System(tmp_path_factory.mktemp("doctor"), guards=True, forked=True) as system:
        customer = a_customer(system)
        await accept_trial(customer)
        await system.settled()
        await customer.gets_key()
        found = Shop(system, customer)
        for sweep in system.sweeps:
            await system.sweep(sweep)
        await system.settled()
        found.announce()
        yield found


async def state(system: System) -> dict[str, Any]:
    """Everything that a look could change: rows, tasks, messages, what nodes hold."""
    tables = await system.sql(
        "select cast(c.oid::regclass as text) as name from pg_catalog.pg_class c"
        " where c.relnamespace = 'atlas'::regnamespace and c.relkind = 'r' order by 1"
    )
    digest = "select md5(string_agg(cast(t as text), '|' order by cast(t as text))) as digest from "
    rows = {one["name"]: (await system.sql(f"{digest} {one['name']} t"))[0]["digest"] for one in tables}
    held = [await system.nodes.health(index) for index in range(len(system.nodes))]
    return {
        "rows": rows,
        "tasks": (len(system.tasks.tasks), len(system.tasks.attempts)),
        "runs": len(system.scheduler.runs),
        "calls": [call for call in system.telegram.calls if call.method.lower() not in {"getme", "getwebhookinfo"}],
        "nodes": [(one["state_id"], one["clients"], one["pending"], one["clock"]["sure"]) for one in held],
        "invoices": len(system.cryptopay.invoices),
    }


def _said(findings: dict[str, Any]) -> dict[str, Any]:
    return {name: (one.problems, one.said) for name, one in findings.items() if one.state is not State.OK}


@pytest.mark.proves("N-60.bounded")
async def test_all_is_well_and_looking_changes_nothing(shop: Shop) -> None:
    # what an earlier test left to be tried again in a few seconds is done first: it is not the look that did it
    await until(lambda: not shop.system.tasks.tasks, "every task done", 60)
    await shop.system.settled()
    before = await state(shop.system)
    findings = await shop.look()
    assert _said(findings).keys() == NOT_HERE - _CUTS
    assert {one.state for one in findings.values()} == {State.OK, State.NOT_CHECKED}
    assert await state(shop.system) == before


_CUTS = {"nodes-cut"} if os.geteuid() == 0 else set()


def _broken() -> list[Any]:
    return [pytest.param(name, marks=pytest.mark.proves(f"N-60.{BY_NAME[name].part}")) for name in sorted(BREAKS)]


def test_each_check_has_its_break() -> None:
    assert BREAKS.keys() | NOT_HERE == BY_NAME.keys()
    assert not BREAKS.keys() & NOT_HERE


@pytest.mark.parametrize("name", _broken())
async def test_what_is_broken_is_named_and_what_is_mended_is_ok(
    shop: Shop, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with BREAKS[name](shop, monkeypatch):
        (found,) = (await shop.look(name)).values()
    assert found.state is State.WRONG, found
    assert found.problems
    monkeypatch.undo()
    (found,) = (await shop.look(name)).values()
    assert found.state is State.OK, found


async def test_a_real_bot_whose_token_is_kept_elsewhere_is_not_checked_until_it_is_given(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("TELEGRAM_BOT_TOKEN", raising=False)
    facts = shop.system.facts()
    token = facts["settings"].pop("TELEGRAM_BOT_TOKEN")
    shop.system.home.announce({"url": "http://127.0.0.1:1", **facts})
    without = await shop.look("settings", "telegram-token", "webhook-address", "webhook-secret")
    monkeypatch.setenv("TELEGRAM_BOT_TOKEN", token)
    given = await shop.look("settings", "telegram-token", "webhook-address", "webhook-secret")
    shop.announce()
    assert {one.state for one in without.values() if one.check.name != "webhook-secret"} == {State.NOT_CHECKED}
    assert "give it in the environment" in without["telegram-token"].said
    assert given["webhook-address"].said == "the local system fetches a real bot's updates itself"
    assert [given[name].state for name in ("settings", "telegram-token", "webhook-secret")] == [State.OK] * 3


@pytest.mark.full
@pytest.mark.parametrize("row", range(len(MORE)), ids=[f"{name}-{number}" for number, (name, _, _) in enumerate(MORE)])
async def test_other_ways_to_break_are_named_too(shop: Shop, row: int, monkeypatch: pytest.MonkeyPatch) -> None:
    name, broken, words = MORE[row]
    async with broken(shop, monkeypatch):
        (found,) = (await shop.look(name)).values()
    assert found.state is State.WRONG, found
    assert words in " ".join(found.problems)
    (found,) = (await shop.look(name)).values()
    assert found.state is State.OK, found


@pytest.mark.proves("N-60.bounded")
async def test_the_command_says_it_in_lines_and_in_json_and_never_a_secret(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(environment, "LOCAL_HOME", shop.system.home.path)

    async def run(*arguments: str) -> tuple[int, str]:
        code = await asyncio.to_thread(main, ["--env", "local", *arguments])  # it makes a loop of its own
        return code, "".join(capsys.readouterr())

    code, said = await run("--json", "--only", "schema", "webhook-kinds", "nodes-key")
    assert code == 0, said
    told = json.loads(said)
    assert (told["ok"], told["environment"]) == (True, "local")
    assert [(one["name"], one["state"]) for one in told["checks"]] == [
        ("webhook-kinds", "ok"),
        ("schema", "ok"),
        ("nodes-key", "ok"),
    ]
    token, key = "7000000001:SECRETSECRETSECRETSECRETSECRETSECRE", "1:SECRETSECRETSECRETSECRETSECRETSECR"
    shop.announce(TELEGRAM_BOT_TOKEN=token, CRYPTOPAY_TOKEN=key, HEALTH_KEY="SECRET-key")
    code, said = await run("--only", "telegram-token", "cryptopay-token", "functions-health", "webhook-kinds")
    shop.announce()
    assert code == 1
    lines = said.splitlines()
    assert any(line.startswith("  WRONG       telegram-token") for line in lines)
    assert any("docs/runbooks/rotate-secrets.md" in line for line in lines)
    assert any(line.startswith("  not checked webhook-kinds") and "telegram-token" in line for line in lines)
    assert "SECRET" not in said
    code, said = await run("--only", "nothing", "sweeps")
    assert (code, said) == (2, "doctor: there is no check nothing; docs/doctor.md lists them\n")


@pytest.mark.full
@pytest.mark.proves("N-60.bounded")
async def test_make_doctor_looks_at_everything_as_a_process_of_its_own(shop: Shop) -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", _COMMAND, str(shop.system.home.path)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert re.search(rf"^{len(BREAKS)} ok, 0 wrong, ", said.decode(), re.MULTILINE) or "nodes-cut" in said.decode()


_COMMAND = """
import pathlib, runpy, sys
from infra import environment
environment.LOCAL_HOME = pathlib.Path(sys.argv[1])
sys.argv = ["doctor", "--env", "local"]
runpy.run_module("infra.doctor", run_name="__main__")
"""
