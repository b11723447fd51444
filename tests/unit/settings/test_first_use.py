"""G-19: a setting is refused at check exactly when its first use fails, and no refusal quotes it."""

from __future__ import annotations

import http.client
import json
import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import yarl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib import function_table, log
from lib.bot.client import bot_for
from lib.db.address import DatabaseAddress
from lib.nodes import keys
from lib.off_site import signature
from lib.settings import check, plain, pricelist, values
from lib.tasks.rest import RestTaskQueue, function_url, invoker
from sandbox.telegram.text.links import check_link

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MARK = "q7Zx9K4w"
"""Is in every value that is tried and in no refusal."""
GOOD = {
    "DATABASE_URL": f"postgresql://atlas:{MARK}@127.0.0.1:5432/atlas",
    "TELEGRAM_BOT_TOKEN": f"123456:AA{MARK}",
    "TASKS_PROJECT": f"project-{MARK}",
    "TASKS_LOCATION": "europe-west1",
    "FUNCTION_URL_TEMPLATE": f"https://{{name}}.{MARK}.example.org",
}
_NO_HOST = "the host is none that HTTP reaches"


def _database(name: str) -> None:
    read = plain.database()
    address = DatabaseAddress.parse(read.lock_url if name == "DATABASE_LOCK_URL" else read.url)
    address.driver_arguments()
    address.host.encode("idna")
    assert 0 < address.port < 65_536


async def _telegram(_name: str) -> None:
    read = plain.telegram()
    bot = bot_for(read)
    url = yarl.URL(bot.session.api.api_url(token=bot.token, method="sendMessage"))
    assert url.host, _NO_HOST
    assert (url.user, url.password, url.query_string, url.fragment) == (None, None, "", "")
    assert url.path.endswith(f"/bot{read.token}/sendMessage")


def _support(_name: str) -> None:
    check_link(plain.telegram().support_url)  # as Telegram does it, before it takes a message with such a button


def _cryptopay(_name: str) -> None:
    read = plain.cryptopay()
    headers = {"Crypto-Pay-API-Token": read.tokens[0]} if read.tokens else {}
    request = httpx.Client().build_request("POST", f"{read.api_base}/api/getMe", headers=headers)
    assert request.url.host, _NO_HOST
    assert request.url.path.endswith("/api/getMe")
    assert all(asset.isascii() for asset in read.assets)


def _card(_name: str) -> None:
    read = plain.card()
    assert ":LIVE:" in read.token or not read.token
    json.dumps(dict(read.receipt))


def _tasks(_name: str) -> None:
    read = plain.tasks()
    server = RestTaskQueue(read)._service._address
    connection = http.client.HTTPConnection(server.hostname or "", server.port)
    connection.putrequest("POST", f"{server.path}/v2/projects/{read.project}/locations/{read.location}/queues/x/tasks")
    for function in function_table.load().functions.values():
        url = httpx.URL(function_url(read, function.service))
        assert url.host, _NO_HOST
        assert function.service in str(url)
    for queue in function_table.load().queues if read.invoker else ():
        name, _, domain = invoker(read, queue).partition("@")
        assert name
        assert "." in domain
        assert not {*name, *domain} & {*"{}@"}


def _first_node(_name: str) -> None:
    read = plain.first_node()
    assert read is not None
    url = yarl.URL(f"{read.url}/apply")
    assert url.host, _NO_HOST
    assert url.path.endswith("/apply")
    assert (url.user, url.query_string) == (None, "")


def _node_key(name: str) -> None:
    key = keys.api_keys("first", name)[0]
    httpx.Headers({"X-API-Key": key})
    assert key.isascii()
    assert key.isprintable()


def _zone(_name: str) -> None:
    assert datetime.now(UTC).astimezone(plain.zone()).tzname()


def _sweep_seconds(name: str) -> None:
    read = plain.read(name, values.seconds)
    assert read is not None
    assert int(read * 1000) >= 1


def _log_level(_name: str) -> None:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        log.configure()
        assert root.level in {logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR}
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _secret(_name: str) -> None:
    for one in plain.telegram_secrets():
        assert httpx.Headers({"X-Telegram-Bot-Api-Secret-Token": one}).raw[0][1] == one.encode("ascii")


def _payment_methods(_name: str) -> None:
    methods = plain.payment_methods()
    assert methods is not None
    assert len(set(methods)) == len(methods) > 0


def _owners(_name: str) -> None:
    assert all(0 < one < 2**63 for one in plain.owners())


def _store(_name: str) -> None:
    """A call to it is signed and made."""
    read = plain.store_of(plain.read("LEDGER_EXPORT_URL", values.store_folder) or ("books", "atlas"))
    url = f"{read.endpoint}/{read.bucket}/{read.prefix}"
    keys_of_it = {"key_id": read.key_id, "secret": read.secret, "region": read.region}
    at = datetime(2026, 11, 30, tzinfo=UTC)
    headers = signature.signed("GET", url, {}, {}, body_sha256=signature.NOTHING, at=at, **keys_of_it)
    request = httpx.Client().build_request("GET", url, headers=headers)
    assert request.url.host, _NO_HOST
    assert request.url.raw_path.decode() == f"/{read.bucket}/{read.prefix}"
    assert request.headers["host"] == request.url.netloc.decode()
    assert request.headers["authorization"].count("/") == 4, "parts of the scope"


def _health(_name: str) -> None:
    key = plain.health_key()
    assert key is not None
    assert httpx.Headers({"X-Health-Key": key}).raw[0][1] == key.encode("ascii")


FIRST_USE: dict[str, tuple[Callable[[str], Any], list[str]]] = {
    "DATABASE_URL": (
        _database,
        [
            GOOD["DATABASE_URL"],
            f"postgresql://a:{MARK}%2F@[::1]:1/b?sslmode=require",
            f"postgres://a:{MARK}@/b?host=/run/x",
        ],
    ),
    "DATABASE_LOCK_URL": (_database, [GOOD["DATABASE_URL"], f"postgresql://a@{MARK}.example/b"]),
    "DB_CONNECTIONS": (_database, ["2", "100", "101", "1", "4"]),
    "TELEGRAM_BOT_TOKEN": (_telegram, [GOOD["TELEGRAM_BOT_TOKEN"], f"1:{MARK}{MARK}_-"]),
    "TELEGRAM_API_BASE": (
        _telegram,
        [f"https://{MARK}.example.org", f"http://127.0.0.1:8081/{MARK}", f"http://[::1]:1/{MARK}/"],
    ),
    "TELEGRAM_BOT_USERNAME": (_telegram, [f"{MARK}_bot"]),
    "TELEGRAM_WEBHOOK_SECRET": (_secret, [MARK, f"{MARK},old-one", f"{MARK}, {MARK},"]),
    "SUPPORT_URL": (
        _support,
        [
            f"https://t.me/{MARK}",
            f"https://{MARK}.example:8443/a%20b?x=1#y",
            f"tg://resolve?domain={MARK}",
            f"http://[::1]/{MARK}",
        ],
    ),
    "ADMIN_IDS": (_owners, ["1001,1002", "7", "0", "1001, 1002,"]),
    "ASK_DATA_CONSENT": (lambda _name: str(plain.asks_data()), ["yes", "no", "YES", "1", "true"]),
    "TELEGRAM_PROVIDER_TOKEN": (_card, [f"1:LIVE:{MARK}", f"1:TEST:{MARK}", f"1:{MARK}", f"LIVE:{MARK}"]),
    "CARD_RECEIPT": (
        _card,
        ["vat_code=1", "vat_code=1, payment_subject=service", "vat_code=0", "payment_mode=advance", MARK],
    ),
    "CRYPTOPAY_TOKEN": (_cryptopay, [f"12345:AA{MARK}", f"1:{MARK},2:{MARK}"]),
    "CRYPTOPAY_API_BASE": (_cryptopay, [f"https://{MARK}.crypt.bot", f"http://127.0.0.1:1/{MARK}"]),
    "CRYPTOPAY_ASSETS": (_cryptopay, ["USDT,TON,BTC", "USDT", "USDT, TON,", "RUB", "USDT,XTR", MARK]),
    "PAYMENT_METHODS": (
        _payment_methods,
        ["balance", "stars, cryptobot,", "stars,stars", "cash", "test", MARK],
    ),
    "TASKS_ENDPOINT": (_tasks, [f"http://127.0.0.1:8123/{MARK}", f"https://{MARK}.example"]),
    "TASKS_PROJECT": (_tasks, [f"project-{MARK}", f"example.org:{MARK}"]),
    "TASKS_LOCATION": (_tasks, ["europe-west1", "local"]),
    "TASKS_INVOKER": (
        _tasks,
        [f"{MARK}@atlas-prod.iam.gserviceaccount.com", f"{MARK}-{{queue}}@atlas-prod.iam.gserviceaccount.com"],
    ),
    "FUNCTION_URL_TEMPLATE": (
        _tasks,
        [
            GOOD["FUNCTION_URL_TEMPLATE"],
            f"http://127.0.0.1:8080/{MARK}/{{name}}",
            f"https://{{name}}-{MARK}-ew.a.run.app",
        ],
    ),
    "XRAY_API_URL": (
        _first_node,
        [f"https://{MARK}.example.com:8443", f"http://127.0.0.1:1/{MARK}", f"https://[::1]:9/{MARK}"],
    ),
    "XRAY_API_PIN": (_first_node, ["0a" * 32, f"{'0A' * 32}, {'0b' * 32}", "0a" * 31, f"{'0a' * 32},{'0a' * 32}"]),
    "XRAY_API_KEY": (_node_key, [MARK, f"{MARK},{MARK}"]),
    "NODE_MASTER_KEYS": (_node_key, [MARK * 4, f"{MARK * 5}, {MARK * 4}"]),
    "HEALTH_KEY": (_health, [MARK]),
    "LEDGER_EXPORT_URL": (_store, [f"s3://books/{MARK}", "s3://books", f"s3://my.books-1/a/{MARK}_-./"]),
    "LEDGER_EXPORT_ENDPOINT": (_store, [f"https://{MARK}.example.com", "http://127.0.0.1:5000", "https://[::1]:9/"]),
    "LEDGER_EXPORT_REGION": (_store, ["eu-central-1", "auto", MARK]),
    "LEDGER_EXPORT_KEY": (_store, [f"AKIA{MARK}:wJalr/{MARK}+=", f"{MARK}:{MARK}:{MARK}"]),
    "DISPLAY_TZ": (
        _zone,
        ["Europe/Moscow", "UTC", "Europe", "Etc/GMT+3", "posixrules", "localtime", "right/UTC", f"Mars/{MARK}"],
    ),
    "ENVIRONMENT": (lambda _name: plain.environment(), ["local", "dev", "prod", "PROD"]),
    "LOG_LEVEL": (_log_level, ["DEBUG", "INFO", "WARNING", "ERROR", "debug", "NOTSET", "10", "CRITICAL"]),
    "SWEEP_HARD_LIMIT_SECONDS": (_sweep_seconds, ["120", "0.5", "0", "1e3", "nan", "inf", "-1", "86401"]),
    "SWEEP_LOCK_IDLE_SECONDS": (_sweep_seconds, ["60", "0.001", "0.0001"]),
}
_ODD = [
    *(
        "/",
        ":",
        "@",
        "?",
        "#",
        "[",
        "]",
        "%",
        "%2",
        "%2F",
        "{",
        "}",
        "{name}",
        "\\",
        " ",
        "\t",
        "\n",
        ",",
        ".",
        "..",
        "-",
        "_",
    ),
    *(
        "0",
        "9",
        "99999",
        "\u0663",
        "\u00b2",
        "\u00e9",
        "\u043f",
        "\udcff",
        "\u200b",
        "\u00a0",
        "\x07",
        "=",
        "&",
        '"',
        "'",
        "<",
    ),
    *(
        "user:pass@",
        "https://",
        "HTTPS://",
        "x",
        "X",
        ":8443x",
        ":0",
        ":65536",
        "::1",
        "127.1",
        "a" * 70,
        "e5",
        "+",
        "~",
        "|",
    ),
]


@st.composite
def candidates(draw: st.DrawFn, name: str) -> str:
    """A good value with up to three edits, each at a place of its own."""
    value = draw(st.sampled_from(FIRST_USE[name][1]))
    for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2, 3]))):
        at = draw(st.integers(0, len(value)))
        gone = draw(st.sampled_from([0, 0, 0, 1, 2, 9]))
        value = value[:at] + draw(st.sampled_from([*_ODD, ""])) + value[at + gone :]
    return value


CACHED = (
    *(
        plain.database,
        plain.telegram,
        plain.telegram_secrets,
        plain.cryptopay,
        plain.card,
        plain.tasks,
        plain.first_node,
        plain.zone,
    ),
    *(pricelist.load, check.problems_once),
)


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str, str], None]]:
    """Set one setting beside good ones; whatever was read before is forgotten."""

    def put(name: str, value: str) -> None:
        for one in {field.upper() for field in check.Settings.model_fields} | {"TARIFFS_PATH"}:
            monkeypatch.delenv(one, raising=False)
        for one, good in (GOOD | {name: value}).items():
            monkeypatch.setenv(one, good)
        if name == "XRAY_API_KEY":
            monkeypatch.setenv("XRAY_API_URL", "http://127.0.0.1:1")
        if name == "XRAY_API_PIN":
            monkeypatch.setenv("XRAY_API_URL", "https://127.0.0.1:1")
        if name == "XRAY_API_URL" and value.strip().lower().startswith("https:"):
            monkeypatch.setenv("XRAY_API_PIN", "0f" * 32)
        if name.startswith("LEDGER_EXPORT_") and name != "LEDGER_EXPORT_KEY":
            monkeypatch.setenv("LEDGER_EXPORT_KEY", "an-id:a-secret-key")
        for cached in CACHED:
            cached.cache_clear()

    yield put
    monkeypatch.undo()
    for cached in CACHED:
        cached.cache_clear()


async def used(name: str) -> str | None:
    """What the first use refuses it with, or None."""
    try:
        made = FIRST_USE[name][0](name)
        if made is not None and not isinstance(made, str):
            await made
    except plain.MissingSetting:
        return f"{name}: is not set"
    except plain.UnusableSetting as error:
        return str(error)
    return None


@pytest.mark.proves("G-19")
@pytest.mark.parametrize("name", FIRST_USE)
@given(data=st.data())
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_check_refuses_exactly_what_the_first_use_refuses(
    name: str, data: st.DataObject, environment: Callable[[str, str], None]
) -> None:
    value = data.draw(candidates(name))
    environment(name, value)
    found = [problem for problem in check.problems() if problem.startswith(f"{name}:")]
    if not value.strip() and name not in GOOD:
        assert found == [], "an empty one counts as unset"
        return
    refusal = await used(name)
    assert found == ([] if refusal is None else [refusal])
    assert MARK not in " ".join(found), "a refusal quotes the value"


@pytest.mark.proves("G-19")
def test_every_setting_is_tried() -> None:
    by_another_program = {"MIGRATE_DATABASE_URL"}
    assert {field.upper() for field in check.Settings.model_fields} == set(FIRST_USE) | by_another_program


REFUSED = {
    "SUPPORT_URL": [
        "https://https://t.me/mysupport",
        "t.me/x",
        "http://localhost/",
        "https://u:p@t.me/x",
        "https://t.me:0/",
    ],
    "LEDGER_EXPORT_URL": [
        "books",
        "s3://",
        "s3://b",
        "s3://Books/x",
        "s3://books//x",
        "s3://books/../x",
        "s3://books/a b",
        "https://books",
    ],
    "LEDGER_EXPORT_ENDPOINT": [
        "https://s3.example.com/path",
        "http://s3.example.com",
        "http://localhost:9000",
        "s3.example.com",
    ],
    "LEDGER_EXPORT_REGION": ["eu-", "EU", "eu central", "-eu", "eu/west"],
    "LEDGER_EXPORT_KEY": ["AKIAONLY", ":secretsecret", "AKIA:short", "AK/IA:secretsecret", "AKIA:secret secret"],
    "XRAY_API_URL": [
        *(
            "https://node.example.com:8443x",
            "https://node.example.com:",
            "https://u:p@node.example.com",
            "https://node:99999",
        ),
        *(
            "https://[::1",
            "https://[fe80::1%25eth0]",
            "https://::1:8443",
            "https://a_b.example",
            "https://n.example/?x=1",
            "http://127.1",
            "http://10.0.0.3",
            "http://localhost:8010",
            "http://de1.example.com",
        ),
        *(
            "https://node.example.com:\u0668\u0664",
            "https://n\u043ede.example",
            "https://-n.example",
            "https://n..example",
            "ftp://n.example",
        ),
    ],
    "DATABASE_URL": [
        *(
            "postgresql://a:b@host:5432x/d",
            "postgresql://a:b@h:\u0665/d",
            "postgresql://a:b@[:::]:1/d",
            "postgresql://a:b@a..b/d",
        ),
        *(
            f"postgresql://a:b@{'a' * 64}.example/d",
            "postgresql://a:q/7Zx@h/d",
            "postgresql://a:b@127.1/d",
            "postgresql://a:b@-h/d",
        ),
    ],
    "DB_CONNECTIONS": ["\u0662", "1", "101", "2.0", "1_0", "+2", "0x2", "9" * 5000],
    "ADMIN_IDS": ["\u0661\u0662", "0", "-1", str(2**63), "1;2", "12\u00b2", ",", "1.0"],
    "CRYPTOPAY_ASSETS": ["RUB", "USDT,EUR", "XTR", "usdt", "DOGE", ","],
    "TELEGRAM_PROVIDER_TOKEN": ["1:TEST:x", "1:x", "\u0661:LIVE:x", "1:LIVE:", "1:LIVE:a b", "1:live:x"],
    "CARD_RECEIPT": [
        "vat_code",
        "vat_code=13",
        "vat_code=\u0661",
        "vat_code=1,vat_code=1",
        "tax_system_code=1",
        "vat_code=1,rate=20",
        ",",
    ],
    "PAYMENT_METHODS": ["cash", "stars,stars", "Stars", "stars;card", ",", "test", "promo"],
    "TELEGRAM_BOT_TOKEN": [
        "1:aaaaaaaa,2:bbbbbbbb",
        "\u0661:aaaaaaaa",
        "1:aaaa aaaa",
        "1:aaaaaaa\u00e9",
        "bot1:aaaaaaaa",
    ],
    "TASKS_INVOKER": [
        "tasks-{queue}",
        "{queue}",
        "tasks-{name}@p.iam.gserviceaccount.com",
        "tasks-{queue@p.iam.gserviceaccount.com",
        "tasks-{Queue}@p.iam.gserviceaccount.com",
        "tasks-{{queue}}@p.iam.gserviceaccount.com",
        f"tasks-{'x' * 60}{{queue}}@p.iam.gserviceaccount.com",
    ],
    "FUNCTION_URL_TEMPLATE": [
        "https://x.example/name",
        "https://{name}.example/{other}",
        "https://x.example/?f={name}",
        "{name}",
    ],
    "TELEGRAM_API_BASE": [
        "https://x.example/{token}",
        "https://x.example?x",
        "https://x.example/#y",
        "https://x.example:-1",
    ],
    "HEALTH_KEY": ["k\u00e9y", "two words", "\u043a\u043b\u044e\u0447"],
    "XRAY_API_PIN": [
        "0a" * 31,
        "0g" * 32,
        f"{'0a' * 32},",
        f"{'0a' * 32},{'0A' * 32}",
        ",".join(f"{n:064x}" for n in range(3)),
    ],
    "NODE_MASTER_KEYS": ["k" * 31, f"{'k' * 32},short", "\u043a" * 32],
    "DISPLAY_TZ": [
        "Europe/Moscow\u0000"[:-1] + "x",
        "../UTC",
        "/etc/localtime",
        "Europe",
        "europe moscow",
        "posix/UTC",
    ],
    "LOG_LEVEL": ["debug", "NOTSET", "10"],
    "SWEEP_HARD_LIMIT_SECONDS": ["nan", "inf", "0", "-1", "1e3", "\u0661"],
}
ACCEPTED = {
    "SUPPORT_URL": [
        "https://t.me/help",
        "http://help.example.org:8080/a?b=c#d",
        "tg://resolve?domain=help",
        "HTTPS://T.me/Help",
    ],
    "XRAY_API_URL": [
        "https://de1.example.com:8443",
        "https://[2001:db8::1]:80/node/",
        "HTTPS://DE1.example.com",
        "https://10.0.0.3",
        "http://127.0.0.3:8010",
        "http://[::1]",
    ],
    "XRAY_API_PIN": ["0a" * 32, f"{'0A' * 32}, {'0b' * 32}"],
    "ADMIN_IDS": ["1001,1002", " 7 , ", str(2**63 - 1)],
    "CRYPTOPAY_ASSETS": ["USDT", "BTC, ETH,"],
    "TELEGRAM_PROVIDER_TOKEN": ["381764678:LIVE:71_x-Y.z"],
    "CARD_RECEIPT": [
        "vat_code=1,payment_subject=service,payment_mode=full_prepayment,tax_system_code=2",
        " vat_code = 12 ",
    ],
    "PAYMENT_METHODS": ["balance", "transfer,balance,card,cryptobot,stars", " stars , balance, "],
    "DB_CONNECTIONS": ["2", "100", " 3 "],
    "DISPLAY_TZ": ["America/Argentina/Buenos_Aires", "Etc/GMT-14", "UTC"],
    "LOG_LEVEL": [" ERROR "],
}


@pytest.mark.proves("G-19")
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, all_of_it in REFUSED.items() for value in all_of_it]
)
def test_what_could_not_be_used_is_refused(name: str, value: str, environment: Callable[[str, str], None]) -> None:
    environment(name, value)
    assert [problem.partition(":")[0] for problem in check.problems()] == [name]


@pytest.mark.proves("G-19")
@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, all_of_it in ACCEPTED.items() for value in all_of_it]
)
def test_what_can_be_used_is_taken(name: str, value: str, environment: Callable[[str, str], None]) -> None:
    environment(name, value)
    assert check.problems() == []
