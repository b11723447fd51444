"""S3-9: a node is asked, by pin and key, before it is added; the same again changes nothing; what differs is told."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pg8000.native
import pytest

from infra import environment as environments
from infra import transaction
from infra.nodes.__main__ import main
from lib.db.address import DatabaseAddress
from lib.domain import audit, nodes, provisioning
from lib.domain.nodes import Given
from lib.nodes import keys
from lib.settings import values
from sandbox.state.home import Home
from tests.integration.sweeps.grants import meet, start_trial
from xray_api import __version__
from xray_api import certificate as node_certificate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from infra.environment import Environment
    from lib.db import Database, Transaction
    from lib.domain.nodes import Registered

pytestmark = pytest.mark.proves("S3-9")

OWNER, REASON = 42, "the machine is to be replaced"
MASTER, OLDER = "m" * 32, "o" * 32
PLACE = {"COUNTRY": "DE", "CITY_RU": "Франкфурт", "CITY_EN": "Frankfurt"}
WELL: dict[str, Any] = {
    "ok": True,
    "writable": True,
    "version": __version__,
    "xray": {"up": True},
    "clock": {"off_ms": 12},
    "inbound": {
        "port": 443,
        "sni": "www.example.com",
        "public_key": "A" * 43,
        "short_id": "01ab",
        "flow": "xtls-rprx-vision",
    },
    "problems": [],
}


class Node:
    """A node service as far as `/health` goes, behind TLS."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "tls.pem"
        self.pin = node_certificate.make(self.file)
        self.shown = node_certificate.Exchangeable(self.file, self.file)
        self.keys = [keys.derived(MASTER, "de1")]
        self.health: dict[str, Any] = dict(WELL)
        self.status = 200
        self.heard: list[str | None] = []
        self.url = ""

    @contextmanager
    def serving(self) -> Iterator[Node]:
        node = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                key = self.headers.get("X-API-Key")
                node.heard.append(key)
                status = node.status if key in node.keys else 401
                body = json.dumps(node.health | {"pin": node.shown.pin}).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_arguments: object) -> None:
                """Nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads = True
        server.socket = self.shown.context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"https://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()


@pytest.fixture
def node(tmp_path: Path) -> Iterator[Node]:
    with Node(tmp_path).serving() as one:
        yield one


@pytest.fixture
def load(tmp_path: Path, database_url: str) -> Iterator[Callable[[str], Environment]]:
    with up(tmp_path, database_url, NODE_MASTER_KEYS=f"{MASTER},{OLDER}") as made:
        yield made


@contextmanager
def up(folder: Path, database_url: str, **secrets: str) -> Iterator[Callable[[str], Environment]]:
    """The local environment of a system that says it is up, with this database."""
    home = Home(folder / ".local")
    home.take()
    settings = {"TASKS_PROJECT": "local", "TASKS_LOCATION": "here", "XRAY_API_KEY": "of-the-first-node"}
    settings |= {"ADMIN_IDS": str(OWNER), **secrets}
    home.announce({"url": "http://127.0.0.1:1", "database": database_url, "settings": settings})
    yield lambda name: environments.load(name, folder=home.path)
    home.let_go()


class Operator:
    """Types commands."""

    def __init__(self, load: Callable[[str], Environment], capsys: pytest.CaptureFixture[str], url: str) -> None:
        self._load, self._capsys, self._url = load, capsys, url

    def make(self, command: str, **given: str) -> tuple[int, str, str]:
        code = main([command], {"ENV": "local", **given}, self._load)
        said = self._capsys.readouterr()
        assert MASTER not in said.out + said.err
        if command != "key":
            assert keys.derived(MASTER, "de1") not in said.out + said.err
        return code, said.out, said.err

    def sql(self, statement: str) -> list[list[Any]]:
        with closing(pg8000.native.Connection(**DatabaseAddress.parse(self._url).driver_arguments())) as session:
            session.run("set search_path = atlas")
            return session.run(statement) or []

    def rows(self) -> list[list[Any]]:
        return self.sql(
            "select name, api_url, key_name, pin, next_pin, country, city_en, tags, weight from nodes order by id"
        )


@pytest.fixture
def operator(load: Callable[[str], Environment], capsys: pytest.CaptureFixture[str], database_url: str) -> Operator:
    return Operator(load, capsys, database_url)


def added(operator: Operator, node: Node, **more: str) -> tuple[int, str, str]:
    return operator.make("add", **{"NAME": "de1", "URL": node.url, "PIN": node.pin} | PLACE | more)


def test_the_key_is_what_functions_will_send_and_nothing_else_is_printed(operator: Operator) -> None:
    assert operator.make("key", NAME="de1") == (0, f"{keys.derived(MASTER, 'de1')}\n", "")
    assert operator.make("key", NAME="first") == (0, "of-the-first-node\n", "")


async def test_a_node_that_is_well_is_added_once_and_customers_are_placed_on_it(
    operator: Operator, node: Node, racing_db: Database
) -> None:
    await racing_db.run(provisioning.ensure_first_node, "http://127.0.0.1:9", "XRAY_API_KEY")
    await racing_db.run(meet, 7)
    await racing_db.run(start_trial, 7)
    code, out, err = await asyncio.to_thread(added, operator, node, TAGS="eu,fast", WEIGHT="3")
    assert (code, err) == (0, ""), err
    assert "de1: added" in out
    row = ["de1", node.url, "NODE_MASTER_KEYS", node.pin, None, "DE", "Frankfurt", ["eu", "fast"], 3]
    assert operator.rows()[1:] == [row]
    assert await racing_db.run(audit.verify) == []
    ((actor, action, subject, after),) = operator.sql("select actor, action, subject_key, after from audit_log")
    assert (actor, action, subject, after["pins"]) == (None, "node.added", "de1", [node.pin])
    placed = await racing_db.run(provisioning.place, subscription_id=None, page=10)
    assert (placed.subscriptions, placed.clients) == (1, 1)
    waiting = "select n.name from node_clients c join nodes n on n.id = c.node_id where c.wanted order by n.id"
    assert operator.sql(waiting) == [["first"], ["de1"]]
    again = await asyncio.to_thread(added, operator, node, TAGS="eu,fast", WEIGHT="3")
    assert (again[0], "nothing changed" in again[1]) == (0, True)
    assert (len(operator.rows()), operator.sql("select count(*) from audit_log")) == (2, [[1]])


def test_what_differs_is_told_and_changed_only_when_that_is_said(operator: Operator, node: Node) -> None:
    assert added(operator, node)[0] == 0
    before = operator.rows()
    code, out, err = added(operator, node, WEIGHT="7", CITY_EN="Berlin")
    assert (code, out, operator.rows()) == (1, "", before)
    assert "WEIGHT: 1 -> 7" in err
    assert "CITY_EN: Frankfurt -> Berlin" in err
    assert "URL" not in err
    code, out, _ = operator.make("add", NAME="de1", WEIGHT="7", UPDATE="1")
    assert (code, "WEIGHT: 1 -> 7" in out) == (0, True)
    assert operator.rows() == [[*before[0][:-1], 7]], "what is not named stays as it is"
    assert operator.sql("select action, before, after from audit_log order by id")[1:] == [
        ["node.changed", {"weight": 1}, {"weight": 7}]
    ]


WRONG: dict[str, tuple[Callable[[Node], None], str]] = {
    "another key": (lambda node: node.keys.clear(), "does not know its key"),
    "no Xray": (lambda node: node.health.update(xray={"up": False}), "Xray does not run"),
    "no link": (lambda node: node.health.update(inbound=None), "no working link"),
    "a wrong link": (
        lambda node: node.health.update(inbound=WELL["inbound"] | {"public_key": "x", "port": 0}),
        "port, public_key",
    ),
    "a wrong clock": (lambda node: node.health.update(clock={"off_ms": -61_000}), "clock is -61 s off"),
    "no clock": (lambda node: node.health.pop("clock"), "does not say how its clock goes"),
    "another version": (lambda node: node.health.update(version="9.9.9"), "runs version 9.9.9"),
    "a full disk": (lambda node: node.health.update(writable=False), "can't record"),
    "what it says": (lambda node: node.health.update(problems=["the disk is odd"]), "says: the disk is odd"),
    "ill without a word": (lambda node: node.health.update(ok=False), "not well, and not why"),
    "another program": (lambda node: setattr(node, "status", 404), "answers 404"),
    "an error": (lambda node: setattr(node, "status", 500), "answers 500"),
}


@pytest.mark.parametrize(("spoil", "words"), WRONG.values(), ids=WRONG)
def test_a_node_that_is_not_well_is_not_added(
    operator: Operator, node: Node, spoil: Callable[[Node], None], words: str
) -> None:
    spoil(node)
    code, out, err = added(operator, node)
    assert (code, out, operator.rows()) == (1, "", [])
    assert words in err


def test_another_machine_in_its_place_is_named_and_hears_no_key(operator: Operator, node: Node) -> None:
    code, out, err = added(operator, node, PIN="ab" * 32)
    assert (code, out, operator.rows(), node.heard) == (1, "", [], [])
    assert node.pin in err


def test_no_second_node_at_one_address(operator: Operator, node: Node) -> None:
    node.keys.append(keys.derived(MASTER, "de2"))
    assert added(operator, node)[0] == 0
    code, _, err = added(operator, node, NAME="de2")
    assert (code, len(operator.rows())) == (1, 1)
    assert "de1" in err


def test_no_second_node_at_one_address_in_another_form_or_at_the_same_moment(
    operator: Operator, load: Callable[[str], Environment]
) -> None:
    def given(name: str, url: str) -> Given:
        return Given(name, values.node_address(url), ("ab" * 32,), "DE", "Франкфурт", "Frankfurt")

    def register(one: Given) -> Registered:
        return transaction.run(
            load("local").connect("owner"), nodes.register, one, keys.MASTER_KEYS, update=False, correlation_id="test"
        )

    for kept, again in (
        ("https://a.example.com", "https://A.example.com:443/"),
        ("https://b.example.com:443/api", "https://b.example.com/api"),
        ("https://[2001:db8::1]", "https://[2001:DB8:0::1]:443"),
    ):
        operator.sql("delete from nodes")
        register(given("de1", kept))
        with pytest.raises(nodes.AddressTaken):
            register(given("de2", again))
    operator.sql("delete from nodes")
    register(given("de1", "https://a.example.com"))
    register(given("de2", "https://a.example.com:4433"))
    register(given("de3", "https://[2001:db8::443]"))

    operator.sql("delete from nodes")
    waits = "select count(*) from pg_locks where locktype = 'advisory' and not granted"
    second: list[threading.Thread] = []
    outcome: list[str] = []

    def other() -> None:
        try:
            register(given("de2", "https://a.example.com"))
        except nodes.AddressTaken as taken:
            outcome.append(str(taken))

    def first(tx: Transaction) -> None:
        nodes.register(
            tx, given("de1", "https://a.example.com"), keys.MASTER_KEYS, update=False, correlation_id="first"
        )
        second.append(threading.Thread(target=other))
        second[0].start()
        while second[0].is_alive() and not operator.sql(waits)[0][0]:
            pass

    transaction.run(load("local").connect("owner"), first)
    second[0].join()
    assert (outcome, [row[0] for row in operator.rows()]) == (["de1"], ["de1"])


@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({}, ["URL", "PIN", "COUNTRY", "CITY_RU", "CITY_EN"]),
        ({"URL": "https://203.0.113.7", "CITY_RU": "Осло"}, ["PIN", "COUNTRY", "CITY_EN"]),
        ({"URL": "http://127.0.0.1:1", "NAME": "first"}, ["NAME", "COUNTRY", "CITY_RU", "CITY_EN"]),
        (PLACE | {"URL": "https://203.0.113.7"}, ["PIN"]),
        (PLACE | {"URL": "http://127.0.0.1:1", "PIN": "ab" * 32}, ["PIN"]),
        (PLACE | {"URL": "https://203.0.113.7", "PIN": "ab" * 32, "NAME": "first"}, ["NAME"]),
    ],
)
def test_a_new_node_needs_all_that_it_is(operator: Operator, given: dict[str, str], names: list[str]) -> None:
    code, out, err = operator.make("add", **{"NAME": "de1"} | given)
    assert (code, out, operator.rows()) == (2, "", [])
    assert [line.removeprefix("  - ").partition(":")[0] for line in err.splitlines()[1:]] == names


def test_an_exchange_of_its_certificate_from_end_to_end(operator: Operator, node: Node, tmp_path: Path) -> None:
    assert added(operator, node)[0] == 0
    new = node_certificate.make(tmp_path / "next.pem")
    both = {"NAME": "de1", "PIN": f"{node.pin},{new}", "UPDATE": "1"}
    assert operator.make("add", **both)[0] == 0
    assert "still shows its old certificate" in operator.make("check")[1]
    ((until,),) = operator.sql("select pin_until - atlas.now() from nodes")
    assert 13.9 < until.total_seconds() / 86_400 <= 14
    operator.sql("update nodes set pin_until = pin_until - interval '1 day'")
    ends = operator.sql("select pin_until from nodes")
    assert operator.make("add", **both)[0] == 0
    assert operator.sql("select pin_until from nodes") == ends, "the same again does not put its end off"
    (tmp_path / "next.pem").replace(node.file)
    code, out, _ = operator.make("check", NAME="de1")
    assert (code, "shows its new certificate" in out) == (0, True)
    assert operator.make("add", NAME="de1", PIN=new, UPDATE="1")[0] == 0
    assert operator.sql("select pin, next_pin, pin_until from nodes") == [[new, None, None]]
    assert operator.make("check")[:2] == (0, "de1: well\n")


def test_an_old_pin_ends_by_itself(operator: Operator, node: Node, tmp_path: Path) -> None:
    assert added(operator, node)[0] == 0
    new = node_certificate.make(tmp_path / "next.pem")
    assert operator.make("add", NAME="de1", PIN=f"{node.pin},{new}", UPDATE="1")[0] == 0
    operator.sql("update nodes set pin_until = atlas.now()")
    heard = len(node.heard)
    code, _, err = operator.make("check")
    assert (code, len(node.heard)) == (1, heard)
    assert node.pin in err
    (tmp_path / "next.pem").replace(node.file)
    code, _, err = operator.make("check")
    assert (code, f"PIN={new} UPDATE=1" in err) == (1, True)


async def test_functions_are_given_the_pins_that_count_now(db: Database) -> None:
    old, new = "0a" * 32, "0b" * 32
    await db.run(provisioning.ensure_first_node, "https://203.0.113.7:8443", "XRAY_API_KEY", [old, new])
    assert [one.pins for one in await db.run(provisioning.nodes)] == [[old, new]]
    await db.run(lambda tx: tx.execute("update nodes set pin_until = atlas.now()"))
    assert [one.pins for one in await db.run(provisioning.nodes)] == [[new]]


def test_check_names_each_node_that_is_not_well(operator: Operator, node: Node) -> None:
    assert operator.make("check")[0] == 1, "no node at all is not well"
    assert added(operator, node)[0] == 0
    assert operator.make("check") == (0, "de1: well\n", "")
    node.keys[:] = [keys.derived(OLDER, "de1")]
    operator.sql("update nodes set trouble = 'authentication', trouble_since = atlas.now(), lost_since = atlas.now()")
    operator.sql(
        "insert into nodes (name, api_url, key_name, state) values ('gone', 'http://127.0.0.1:9', 'K', 'retired')"
    )
    code, out, err = operator.make("check")
    assert (code, out) == (1, "")
    for words in (
        "an older entry of NODE_MASTER_KEYS",
        "last calls failed: authentication",
        "lost to the functions since",
    ):
        assert words in err
    assert "gone" not in err
    code, _, err = operator.make("check", NAME="de2")
    assert (code, "no such node" in err) == (1, True)


def test_the_list_has_every_node(operator: Operator, node: Node) -> None:
    assert operator.make("list") == (0, "there is no node\n", "")
    assert added(operator, node, TAGS="eu")[0] == 0
    code, out, _ = operator.make("list")
    assert code == 0
    for words in ("de1", node.url, node.pin, "DE Frankfurt", "tags eu", "active", "0 clients"):
        assert words in out


def drain(operator: Operator, **given: str) -> tuple[int, str, str]:
    return operator.make("drain", **{"NAME": "de1", "OPERATOR": str(OWNER), "REASON": REASON} | given)


@pytest.mark.proves("N-41.drain")
def test_a_node_is_drained_and_taken_back_by_a_command_each_with_its_audit_row(operator: Operator, node: Node) -> None:
    assert drain(operator) == (1, "", "de1: there is no such node; nothing changed\n")
    assert added(operator, node)[0] == 0
    code, out, err = drain(operator)
    assert (code, out, "no other node that is well takes customers" in err) == (1, "", True)
    operator.sql("insert into nodes (name, api_url, key_name) values ('other', 'http://127.0.0.1:9', 'XRAY_API_KEY')")
    state = "select name, state from nodes where name = 'de1'"
    code, out, err = drain(operator)
    assert (code, err, "de1: takes no new customers; 0 are to leave it" in out) == (0, "", True)
    assert operator.sql(state) == [["de1", "draining"]]
    assert "is drained already" in drain(operator)[1]
    assert "draining" in operator.make("list")[1]
    assert drain(operator, NAME="other")[0] == 1, "it would be the last"
    assert drain(operator, UNDO="1")[0] == 0
    assert operator.sql(state) == [["de1", "active"]]
    assert "nothing changed" in drain(operator, UNDO="1")[1]
    rows = operator.sql(
        "select actor, action, before, after ->> 'state', after ->> 'reason' from audit_log where subject_key = 'de1' order by id"
    )
    assert rows[1:] == [
        [OWNER, "node.draining", {"state": "active"}, "draining", REASON],
        [OWNER, "node.active", {"state": "draining"}, "active", REASON],
    ]


@pytest.mark.parametrize(
    ("role", "may"), [("support", True), ("finance", False), ("observer", False), ("marketing", False), (None, False)]
)
def test_a_node_is_drained_by_those_who_operate_the_shop(
    operator: Operator, node: Node, role: str | None, *, may: bool
) -> None:
    assert added(operator, node)[0] == 0
    operator.sql("insert into nodes (name, api_url, key_name) values ('other', 'http://127.0.0.1:9', 'XRAY_API_KEY')")
    if role is not None:
        operator.sql(f"insert into operators (telegram_id, role, granted_by) values (43, '{role}', 42)")  # noqa: S608 -- a role
    code, _, err = drain(operator, OPERATOR="43")
    assert (code, "no role of this operator may do it; nothing changed" in err) == (0 if may else 1, not may)
    state = operator.sql("select state from nodes where name = 'de1'")
    assert state == [["draining" if may else "active"]]
    assert len(operator.sql("select 1 from audit_log where action = 'node.draining' and actor = 43")) == may


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OPERATOR", ""),
        ("OPERATOR", "0"),
        ("OPERATOR", "-7"),
        ("OPERATOR", "٤٢"),
        ("OPERATOR", str(2**63)),
        ("OPERATOR", "@olga"),
        ("REASON", ""),
        ("REASON", "short"),
        ("REASON", "x" * 501),
        ("REASON", "two lines\nare none"),
    ],
)
def test_who_drains_a_node_and_why_is_said(operator: Operator, node: Node, name: str, value: str) -> None:
    assert added(operator, node)[0] == 0
    code, out, err = drain(operator, **{name: value})
    assert (code, out, f"{name}: " in err) == (2, "", True)
    assert operator.sql("select count(*) from audit_log where action = 'node.draining'") == [[0]]


@pytest.mark.parametrize(("value", "words"), [("", "NODE_MASTER_KEYS: "), ("short", "NODE_MASTER_KEYS: each needs")])
def test_a_master_key_that_is_not_there_or_none_is_named(
    tmp_path: Path, database_url: str, capsys: pytest.CaptureFixture[str], value: str, words: str
) -> None:
    with up(tmp_path, database_url, NODE_MASTER_KEYS=value) as load:
        for command in ("key", "add"):
            given = (
                {"NAME": "de1"}
                if command == "key"
                else {"NAME": "de1", "URL": "https://203.0.113.7", "PIN": "ab" * 32} | PLACE
            )
            code, out, err = Operator(load, capsys, database_url).make(command, **given)
            assert (code, out, words in err) == (2, "", True)
            assert value not in err or not value
