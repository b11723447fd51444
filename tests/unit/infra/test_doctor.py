"""The doctor without a running system: what only a cloud has, certificates, a node's own words, what hangs, and the list itself."""

from __future__ import annotations

import asyncio
import os
import re
import socket
import ssl
import threading
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import httpx
import pg8000.native
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from infra.doctor import certificate, google_cloud, nodes, report, schedules, settings, telegram
from infra.doctor.check import Check, State, WrongError
from infra.doctor.deployment import Deployment
from infra.doctor.examine import examine
from infra.doctor.registry import BY_NAME, CHECKS
from infra.doctor.table import table
from infra.google.client import GoogleError
from lib import function_table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from infra.doctor.check import Finding

ROOT = Path(__file__).resolve().parents[3]
NOW = datetime(2026, 11, 30, 12, tzinfo=UTC)
CHANNEL = "projects/p/notificationChannels/1"
Json = dict[str, Any]


def _service(name: str) -> Json:
    return {
        "name": f"projects/p/locations/l/services/{name}",
        "terminalCondition": {"type": "Ready", "state": "CONDITION_SUCCEEDED"},
        "latestReadyRevision": f"{name}-00002",
        "latestCreatedRevision": f"{name}-00002",
        "trafficStatuses": [{"type": "TRAFFIC_TARGET_ALLOCATION_TYPE_LATEST", "percent": 100}],
        "template": {
            "containers": [
                {
                    "image": "registry/atlas@sha256:1",
                    "env": [
                        {
                            "name": "HEALTH_KEY",
                            "valueSource": {
                                "secretKeyRef": {"secret": "projects/p/secrets/health-key", "version": "3"}
                            },
                        }
                    ],
                }
            ]
        },
    }


def _answers() -> Json:
    """Of a project in which all is well."""
    return {
        "services": [_service(row.service) for row in function_table.load().functions.values()],
        "migration": [{"name": "projects/p/locations/l/jobs/migrate", "template": _service("migrate")}],
        "versions": [
            {"name": "projects/1/secrets/health-key/versions/3", "state": "ENABLED"},
            {"name": "projects/1/secrets/health-key/versions/2", "state": "DISABLED"},
        ],
        "database": {
            "state": "RUNNABLE",
            "createTime": "2026-01-01T00:00:00Z",
            "settings": {
                "backupConfiguration": {
                    "enabled": True,
                    "pointInTimeRecoveryEnabled": True,
                    "transactionLogRetentionDays": 7,
                }
            },
        },
        "backups": [{"status": "SUCCESSFUL", "endTime": "2026-11-30T03:00:00Z"}],
        "policies": [{"displayName": "Sweeps are silent", "enabled": True, "notificationChannels": [CHANNEL]}],
        "channels": [{"name": CHANNEL, "enabled": True}],
        "budgets": [
            {
                "thresholdRules": [{"thresholdPercent": 0.9}],
                "amount": {"specifiedAmount": {"currencyCode": "USD", "units": "90"}},
            }
        ],
        "disk": 0.4,
        "drift": [],
    }


class FakeCloud:
    """Answers in the shapes of the discovery documents."""

    def __init__(self, answers: Json) -> None:
        self.answers = answers

    def queues(self) -> list[Json]:
        return []

    def tasks(self, _queue: str) -> list[Json]:
        return []

    def jobs(self) -> list[Json]:
        return []

    def services(self) -> list[Json]:
        return list(self.answers["services"])

    def run_jobs(self) -> list[Json]:
        return list(self.answers["migration"])

    def secret_versions(self, _secret: str) -> list[Json]:
        return list(self.answers["versions"])

    def database(self) -> Json | None:
        found: Json | None = self.answers["database"]
        return found

    def backups(self) -> list[Json]:
        return list(self.answers["backups"])

    def disk_used(self) -> float | None:
        found: float | None = self.answers["disk"]
        return found

    def alert_policies(self) -> list[Json]:
        return list(self.answers["policies"])

    def channels(self) -> list[Json]:
        return list(self.answers["channels"])

    def budgets(self) -> list[Json]:
        return list(self.answers["budgets"])

    def drift(self) -> list[str]:
        return list(self.answers["drift"])


class OfCloud(Deployment):
    """Whose database says what time it is, and no more."""

    async def now(self) -> datetime:
        return NOW


async def _look(answers: Json, name: str) -> Finding:
    deployment = OfCloud("prod", {}, connect=lambda: None, cloud=FakeCloud(answers))
    try:
        (found,) = await examine(deployment, [BY_NAME[name]])
        return found
    finally:
        await deployment.close()


def _put(*path: str | int, value: Any) -> Callable[[Json], None]:
    def put(answers: Any) -> None:
        for step in path[:-1]:
            answers = answers[step]
        answers[path[-1]] = value

    return put


def _without(*path: str | int) -> Callable[[Json], None]:
    def take(answers: Any) -> None:
        for step in path[:-1]:
            answers = answers[step]
        del answers[path[-1]]

    return take


KEPT = ("database", "settings", "backupConfiguration")
CLOUD: list[tuple[str, Callable[[Json], None], str]] = [
    ("services-ready", _without("services", 0), "telegram-webhook is not there"),
    ("services-ready", _put("services", 1, "terminalCondition", value={"state": "CONDITION_FAILED", "message": "no port"}), "no port"),
    ("services-ready", _put("services", 2, "latestCreatedRevision", value="health-00003"), "did not become ready"),
    ("services-ready", _put("services", 3, "trafficStatuses", 0, "percent", value=50), "50 % of the traffic"),
    ("services-ready", _put("services", 4, "template", "containers", 0, "image", value="other"), "2 different images"),
    ("secret-versions", _put("versions", 0, "state", value="DISABLED"), "health-key: version 3, which is read, is disabled"),
    ("secret-versions", _put("migration", 0, "template", "template", "containers", 0, "env", 0, "valueSource", "secretKeyRef", "version", value="2"), "version 2, which is read, is disabled"),
    ("secret-versions", _put("versions", value=[]), "is missing"),
    ("database-backups", _put(*KEPT, "enabled", value=False), "automatic backups are off"),
    ("database-backups", _without(*KEPT, "pointInTimeRecoveryEnabled"), "point-in-time recovery is off"),
    ("database-backups", _put(*KEPT, "transactionLogRetentionDays", value=3), "for 3 days"),
    ("database-backups", _put("database", "state", value="SUSPENDED"), "suspended"),
    ("database-backups", _put("backups", 0, "endTime", value="2026-11-28T03:00:00Z"), "57 h old"),
    ("database-backups", _put("backups", 0, "status", value="FAILED"), "no backup succeeded"),
    ("database-disk", _put("disk", value=0.9), "90% full"),
    ("alerts-recipient", _put("policies", value=[]), "no alert policy"),
    ("alerts-recipient", _put("policies", 0, "notificationChannels", value=[]), "reaches no addressee"),
    ("alerts-recipient", _put("policies", 0, "enabled", value=False), "switched off"),
    ("alerts-recipient", _put("channels", 0, "enabled", value=False), "reaches no addressee"),
    ("alerts-recipient", _put("channels", 0, "verificationStatus", value="UNVERIFIED"), "reaches no addressee"),
    ("alerts-recipient", _put("channels", value=[]), "reaches no addressee"),
    ("budget", _put("budgets", value=[]), "there is no budget"),
    ("budget", _put("budgets", 0, "thresholdRules", value=[]), "no budget tells"),
    ("budget", _put("budgets", 0, "notificationsRule", value={"disableDefaultIamRecipients": True}), "no budget tells"),
    ("drift", _put("drift", value=["module.platform.google_cloud_tasks_queue.this (update)"]), "would change module.platform"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "broken", "words"),
    [
        pytest.param(*row, id=f"{row[0]}-{number}", marks=pytest.mark.proves(f"N-60.{BY_NAME[row[0]].part}"))
        for number, row in enumerate(CLOUD)
    ],
)
async def test_what_is_broken_in_the_cloud_is_named_and_what_is_well_is_ok(
    name: str, broken: Callable[[Json], None], words: str
) -> None:
    answers = _answers()
    well = await _look(answers, name)
    assert well.state is State.OK, well
    broken(answers)
    found = await _look(answers, name)
    assert found.state is State.WRONG
    assert words in " ".join(found.problems)


class Told:
    """What is in front of the functions: the answer to each address, and what was asked."""

    def __init__(self, answers: dict[str, int]) -> None:
        self.answers = answers

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("/getMe"):
            return httpx.Response(200, json={"ok": True, "result": {"username": "Atlas_Bot"}})
        return httpx.Response(self.answers[request.url.host])


async def _at_telegram(name: str, told: Told, **settings: str) -> Finding:
    given = {
        "FUNCTION_URL_TEMPLATE": "https://{name}-1.r.run.app",
        "TELEGRAM_BOT_TOKEN": "1:marked",
        "TELEGRAM_WEBHOOK_SECRET": "marked",
    }
    deployment = OfCloud("prod", given | settings, connect=lambda: None, cloud=FakeCloud(_answers()))
    await deployment.http.aclose()
    deployment.http = httpx.AsyncClient(transport=httpx.MockTransport(told))
    try:
        (found,) = await examine(deployment, [BY_NAME[name]])
        return found
    finally:
        await deployment.close()


@pytest.mark.proves("N-60.webhook")
async def test_the_secret_is_tried_at_the_address_that_telegram_is_told() -> None:
    front = "https://bot.example.com/updates"
    told = Told({"telegram-webhook-1.r.run.app": 400, "bot.example.com": 403})
    assert (await _at_telegram("webhook-secret", told)).state is State.OK
    found = await _at_telegram("webhook-secret", told, TELEGRAM_WEBHOOK_URL=front)
    assert found.problems == ("https://bot.example.com answers 403 to the current secret",)
    told.answers["bot.example.com"] = 400
    assert (await _at_telegram("webhook-secret", told, TELEGRAM_WEBHOOK_URL=front)).state is State.OK


@pytest.mark.proves("N-60.webhook")
async def test_a_bot_has_one_name_however_it_is_written() -> None:
    told = Told({})
    assert (await _at_telegram("telegram-token", told, TELEGRAM_BOT_USERNAME="atlas_bot")).state is State.OK
    found = await _at_telegram("telegram-token", told, TELEGRAM_BOT_USERNAME="another_bot")
    assert found.state is State.WRONG


@pytest.mark.proves("N-60.functions")
async def test_a_small_shop_has_one_service_for_all_private_functions() -> None:
    table = function_table.load()
    answers = _answers()
    public = [row.service for row in table.functions.values() if row.trigger == "public"]
    answers["services"] = [_service(name) for name in [*public, "private"]]
    settings = {"FUNCTION_URL_TEMPLATE": "https://{name}-1.r.run.app"}
    small = OfCloud("prod", settings, connect=lambda: None, cloud=FakeCloud(answers), together="private")
    (found,) = await examine(small, [BY_NAME["services-ready"]])
    sweep = await small.function_url(table.functions["sweep_expiry"])
    webhook = await small.function_url(table.functions["telegram_webhook"])
    await small.close()
    assert found.state is State.OK
    assert (sweep, webhook) == ("https://private-1.r.run.app/sweep-expiry", "https://telegram-webhook-1.r.run.app")


async def test_a_new_project_whose_first_backup_is_to_come_is_not_wrong() -> None:
    answers = _answers() | {"backups": []}
    answers["database"]["createTime"] = (NOW - timedelta(hours=2)).isoformat()
    assert (await _look(answers, "database-backups")).state is State.NOT_CHECKED


async def test_what_a_database_of_ones_own_and_this_machine_lack_is_not_checked() -> None:
    answers = _answers() | {"database": None, "disk": None}
    assert (await _look(answers, "database-backups")).state is State.NOT_CHECKED
    assert (await _look(answers, "database-disk")).state is State.NOT_CHECKED
    local = OfCloud("local", {}, connect=lambda: None)
    found = await examine(
        local, [BY_NAME[name] for name in ("services-ready", "secret-versions", "drift", "queues-running")]
    )
    await local.close()
    assert {one.state for one in found} == {State.NOT_CHECKED}


# -- Terraform ---------------------------------------------------------------------------------------------------------------

PLANNED = """
{"@level":"info","@message":"x: Plan to update","change":{"resource":{"addr":"module.platform.x"},"action":"update"},"type":"planned_change"}
not JSON
{"@level":"info","type":"change_summary"}
"""
REFUSED = '{"@level":"error","type":"diagnostic","diagnostic":{"severity":"error","summary":"Backend initialization required"}}'


@pytest.mark.proves("N-60.cloud")
def test_what_terraform_would_change_is_read_from_its_plan() -> None:
    assert google_cloud._changes(PLANNED) == ["module.platform.x (update)"]
    assert google_cloud._changes('{"type":"outputs"}') == ["outputs alone"]
    assert google_cloud._why(REFUSED) == "Backend initialization required"


# -- certificates ------------------------------------------------------------------------------------------------------------


class Shown:
    """A certificate for `localhost` that signs itself, and a server that shows it."""

    def __init__(self, folder: Path, days: float) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
        began = datetime.now(UTC) - timedelta(days=1)
        made = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(began)
            .not_valid_after(datetime.now(UTC) + timedelta(days=days))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
            .sign(key, hashes.SHA256())
        )
        self.path, key_path = folder / "node.pem", folder / "node.key"
        self.path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self.pin = certificate.read(made.public_bytes(serialization.Encoding.DER)).pin
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.path, key_path)

    @asynccontextmanager
    async def served(self) -> AsyncIterator[int]:
        async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=self._context)
        async with server:
            yield server.sockets[0].getsockname()[1]


@pytest.mark.proves("N-60.webhook")
async def test_a_certificate_that_is_trusted_and_lasts_is_ok(tmp_path: Path) -> None:
    shown = Shown(tmp_path, days=60.5)
    trusting = ssl.create_default_context(cafile=str(shown.path))
    async with shown.served() as port:
        assert await telegram.trusted("localhost", port, trusting) == "60 days left"


@pytest.mark.proves("N-60.webhook")
async def test_a_certificate_that_is_foreign_or_ends_soon_is_wrong(tmp_path: Path) -> None:
    shown = Shown(tmp_path, days=5.5)
    async with shown.served() as port:
        with pytest.raises(WrongError, match="is not trusted"):
            await telegram.trusted("localhost", port, ssl.create_default_context())
        with pytest.raises(WrongError, match="ends in 5 days"):
            await telegram.trusted("localhost", port, ssl.create_default_context(cafile=str(shown.path)))
    with pytest.raises(WrongError, match="no TLS connection"):
        await telegram.trusted("localhost", port, ssl.create_default_context())


# -- nodes -------------------------------------------------------------------------------------------------------------------

INBOUND = {"public_key": "key", "port": 443}
HEALTH = {
    "xray": {"up": True, "version": nodes.XRAY_VERSION},
    "writable": True,
    "can_cut": True,
    "clients": 0,
    "pending": 0,
    "inbound": INBOUND,
}


def _row(**changed: Any) -> Json:
    row = {
        "name": "de1",
        "api_url": "https://de1.example.com:8443",
        "key_name": "X",
        "state": "active",
        "pin": None,
        "next_pin": None,
    }
    return row | {"trouble": None, "clock_off_ms": None, "lost": False, "held": 0, "late": 0} | changed


async def _of_node(name: str, node: nodes.Node, *, cloud: bool = True) -> Finding:
    deployment = OfCloud("prod", {}, connect=lambda: None, cloud=FakeCloud(_answers()) if cloud else None)

    async def known() -> list[nodes.Node]:
        return [node]

    await deployment.once.get("nodes", known)
    try:
        (found,) = await examine(deployment, [BY_NAME[name]])
        return found
    finally:
        await deployment.close()


@pytest.mark.proves("N-60.nodes")
async def test_a_node_of_another_xray_or_that_can_cut_nothing_is_named() -> None:
    well = nodes.Node(_row(), status=200, health=HEALTH)
    other = nodes.Node(
        _row(), status=200, health=HEALTH | {"xray": {"up": True, "version": "26.9.9"}, "can_cut": False}
    )
    silent = nodes.Node(_row(), status=200, health=HEALTH | {"xray": {"up": True}})
    assert (await _of_node("nodes-version", well)).state is State.OK
    assert (await _of_node("nodes-version", other)).problems == ("de1 runs Xray 26.9.9, not 26.7.28",)
    assert (await _of_node("nodes-version", silent)).state is State.NOT_CHECKED
    assert (await _of_node("nodes-cut", well)).state is State.OK
    assert (await _of_node("nodes-cut", other)).problems == ("de1 can't cut connections",)
    assert (await _of_node("nodes-cut", other, cloud=False)).state is State.NOT_CHECKED


@pytest.mark.proves("N-60.nodes")
async def test_a_node_that_shows_another_key_or_whose_certificate_ends_is_named() -> None:
    lasts = certificate.Certificate("a" * 64, datetime.now(UTC) + timedelta(days=99))
    ends = certificate.Certificate("a" * 64, datetime.now(UTC) + timedelta(days=3, hours=1))

    def node(shown: certificate.Certificate, **changed: Any) -> nodes.Node:
        return nodes.Node(_row(**changed), status=200, health=HEALTH, certificate=shown)

    assert (await _of_node("nodes-certificate", node(lasts, pin="a" * 64))).state is State.OK
    assert (await _of_node("nodes-certificate", node(lasts, pin="b" * 64, next_pin="a" * 64))).state is State.OK
    assert (await _of_node("nodes-certificate", node(lasts, pin="b" * 64))).problems == (
        "de1 shows another public key than its pin",
    )
    assert (await _of_node("nodes-certificate", node(ends))).problems == ("de1: its certificate ends in 3 days",)
    clear = nodes.Node(_row(api_url="http://de1.example.com"), status=200, health=HEALTH)
    assert "in the clear" in (await _of_node("nodes-certificate", clear)).problems[0]
    assert (await _of_node("nodes-certificate", clear, cloud=False)).state is State.NOT_CHECKED


@pytest.mark.proves("N-60.nodes")
async def test_a_node_whose_key_is_not_the_pinned_one_is_not_told_its_key(tmp_path: Path) -> None:
    shown = Shown(tmp_path, days=60)
    deployment = OfCloud("prod", {"X": "the-key"}, connect=lambda: None)
    async with shown.served() as port:
        found = await nodes._asked(deployment, _row(api_url=f"https://localhost:{port}", pin="b" * 64))
    await deployment.close()
    assert found.trouble == "it shows another public key than its pin, so it was not asked"
    assert found.certificate is not None
    assert found.certificate.pin == shown.pin


# -- side by side ------------------------------------------------------------------------------------------------------------


def _check(name: str, look: Any, *, after: tuple[str, ...] = (), timeout_s: float = 5) -> Check:
    return Check(name, "bounded", "Subject", "asks", "customers", "mend", "README.md", look, after, timeout_s)


@pytest.mark.proves("N-60.bounded")
async def test_what_hangs_is_wrong_and_holds_up_nothing_else() -> None:
    ended = asyncio.Event()

    async def hangs(_: Deployment) -> str:
        await asyncio.Event().wait()
        return ""

    async def fine(_: Deployment) -> str:
        ended.set()
        return "fine"

    async def waits_for_the_others(_: Deployment) -> str:
        await ended.wait()
        return ""

    async def broken(_: Deployment) -> str:
        raise RuntimeError("postgresql://user:secret@host/db")

    async def refused(_: Deployment) -> str:
        raise GoogleError("run.services.list", 403, "SERVICE_DISABLED", "enable it")

    deployment = OfCloud("local", {}, connect=lambda: None)
    checks = [
        _check("waits", waits_for_the_others),
        _check("hangs", hangs, timeout_s=0.05),
        _check("behind", fine, after=("hangs",)),
        _check("fine", fine),
        _check("broken", broken),
        _check("refused", refused),
    ]
    async with asyncio.timeout(30):  # a guard: what hangs is waited for by nothing
        found = {one.check.name: one for one in await examine(deployment, checks)}
    await deployment.close()
    assert list(found) == [check.name for check in checks]
    assert found["hangs"].state is State.WRONG
    assert found["hangs"].problems == ("no answer within 0.05 s",)
    assert (found["behind"].state, found["behind"].said) == (State.NOT_CHECKED, "for want of hangs")
    assert {found[name].state for name in ("waits", "fine")} == {State.OK}
    assert found["broken"].problems == ("the answer can't be read: RuntimeError",)
    assert found["refused"].problems == ("run.services.list: 403 SERVICE_DISABLED: enable it",)
    said = "\n".join(report.lines("local", list(found.values()), 1))
    assert "secret" not in said
    assert "2 ok, 3 wrong, 1 not checked" in said


@asynccontextmanager
async def _silent_server() -> AsyncIterator[int]:
    """Takes connections, and says nothing."""
    over = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await over.wait()
        writer.close()

    server = await asyncio.start_server(silent, "127.0.0.1", 0)
    yield server.sockets[0].getsockname()[1]
    over.set()
    server.close()
    await server.wait_closed()


@pytest.mark.proves("N-60.bounded")
async def test_a_database_and_a_telegram_that_take_connections_and_say_nothing_are_wrong_within_their_time() -> None:
    async with _silent_server() as port:
        settings = {"TELEGRAM_API_BASE": f"http://127.0.0.1:{port}", "TELEGRAM_BOT_TOKEN": "1:x"}

        def connect() -> pg8000.native.Connection:
            plain = socket.create_connection(("127.0.0.1", port), 60)
            try:
                return pg8000.native.Connection("u", sock=plain, password="secret")
            except BaseException:
                os.close(plain.detach())  # the driver leaves it open when the peer goes while it writes
                raise

        deployment = OfCloud("local", settings, connect=connect)
        names = ("telegram-token", "database", "schema")
        found = await examine(deployment, [replace(BY_NAME[name], timeout_s=0.2) for name in names])
        await deployment.close()
    assert [one.problems for one in found] == [("no answer within 0.2 s",), ("no answer within 0.2 s",), ()]
    assert found[2].said == "for want of database"


@pytest.mark.proves("N-60.bounded")
def test_the_look_ends_while_a_thread_still_hangs() -> None:
    go = threading.Event()

    def hangs() -> Any:
        go.wait()

    async def look() -> list[Finding]:
        deployment = OfCloud("local", {}, connect=hangs)
        try:
            return await examine(deployment, [replace(BY_NAME["database"], timeout_s=0.05)])
        finally:
            await deployment.close()

    (found,) = asyncio.run(look())  # which waits for the threads of its own executor, if there are any
    assert not go.is_set()
    go.set()
    assert found.problems == ("no answer within 0.05 s",)


@pytest.mark.proves("N-60.bounded")
async def test_a_database_that_refuses_is_said_without_its_words() -> None:
    def never() -> Any:
        raise OSError("no route to 10.0.0.1 for user:secret")

    deployment = OfCloud("local", {}, connect=never)
    found = await examine(deployment, [BY_NAME["database"], BY_NAME["schema"], BY_NAME["invariants"]])
    await deployment.close()
    assert found[0].problems == ("the database does not answer: OSError",)
    assert [one.said for one in found[1:]] == ["for want of database", "for want of schema"]


async def test_what_several_ask_is_asked_once_and_outlives_the_first_that_gives_up() -> None:
    deployment = OfCloud("local", {}, connect=lambda: None)
    asked, go = [], asyncio.Event()

    async def ask() -> int:
        asked.append(1)
        await go.wait()
        return 7

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await deployment.once.get("x", ask)
    go.set()
    both = await asyncio.gather(deployment.once.get("x", ask), deployment.once.get("x", ask))
    assert list(both) == [7, 7]
    assert asked == [1]
    await deployment.close()


# -- the list ----------------------------------------------------------------------------------------------------------------


def test_the_page_is_the_list() -> None:
    page = (ROOT / "docs" / "doctor.md").read_text()
    assert re.findall(r"^\|.*$", page.partition("## The checks")[2], re.MULTILINE) == list(table())


def test_each_check_has_a_name_of_its_own_a_page_and_whole_sentences() -> None:
    assert len(BY_NAME) == len(CHECKS)
    for check in CHECKS:
        assert re.fullmatch(r"[a-z]+(-[a-z]+)*", check.name)
        page, _, place = check.page.partition("#")
        headings = re.findall(r"^#+ (.+)$", (ROOT / report.PAGES / page).read_text(), re.MULTILINE)
        assert not place or place in {re.sub(r"[^a-z0-9 -]", "", one.lower()).replace(" ", "-") for one in headings}, (
            check.name
        )
        assert check.customers.endswith("."), check.name
        assert check.mend.endswith((".", "?")), check.name
        assert set(check.after) <= BY_NAME.keys(), check.name
    ids = (ROOT / "docs" / "acceptance.toml").read_text()
    assert {f'"N-60.{check.part}"' for check in CHECKS} <= set(re.findall(r'^("N-60\.[a-z]+") =', ids, re.MULTILINE))


@pytest.mark.parametrize(("made_s", "expected_s"), [(None, 40.0), (30.0, 30.0)])
async def test_a_first_tick_is_expected_since_its_job_was_made(made_s: float | None, expected_s: float) -> None:
    """After a release with a new sweep nothing is silent yet; where nothing tells of the job, the shop's age counts."""
    now = datetime(2026, 11, 30, 12, tzinfo=UTC)

    class Shop:
        async def now(self) -> datetime:
            return now

        async def rows(self, _sql: str) -> list[dict[str, float]]:
            return [{"age_s": 40.0}]

    job = {} if made_s is None else {"userUpdateTime": (now - timedelta(seconds=made_s)).isoformat()}
    assert await schedules._expected_s(cast("Deployment", Shop()), job) == expected_s


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, ""),
        ({"TELEGRAM_BOT_TOKEN": "1:x"}, ""),
        ({"CRYPTOPAY_TOKEN": "1:x"}, "cryptobot"),
        ({"CRYPTOPAY_TOKEN": "1:x", "TELEGRAM_PROVIDER_TOKEN": "2:y"}, "cryptobot and card"),
        ({"CRYPTOPAY_TOKEN": "1:x", "PAYMENT_METHODS": "stars, balance"}, ""),
        ({"CRYPTOPAY_TOKEN": "1:x", "PAYMENT_METHODS": "stars,card"}, ""),
        ({"CRYPTOPAY_TOKEN": "1:x", "PAYMENT_METHODS": "stars,cryptobot"}, "cryptobot"),
    ],
)
def test_more_than_stars_and_the_balance_is_said(given: dict[str, str], named: str) -> None:
    said = settings.beside_stars(given)
    assert bool(said) == bool(named)
    assert f"may pay by {named} (" in said or not named
