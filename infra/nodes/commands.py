"""What each command does. Words go to standard output, complaints to standard error; a key to standard output alone."""

from __future__ import annotations

import asyncio
import sys
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infra import transaction
from infra.environment import NoSecret, owners
from infra.nodes.arguments import FIELD_NAMES, FIRST, BadArguments, lacking
from infra.nodes.inspection import Address, Seen, look
from lib.db import StatementFailed
from lib.domain import nodes
from lib.domain.stored_work import By, NotDone, Why
from lib.nodes import keys
from lib.nodes.transport import AiohttpTransport
from lib.settings import values

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from infra.environment import Environment
    from infra.nodes.arguments import Arguments
    from lib.db import Transaction
    from lib.domain.nodes import Entry, Given, Listed, Registered

FIRST_KEY = "XRAY_API_KEY"
_DONE, _WRONG = 0, 1
_RETIRED = "retired"
_NOT_DRAINED = {
    Why.NOT_ALLOWED: "no role of this operator may do it",
    Why.MISSING: "there is no such node",
    Why.RETIRED: "it is retired",
    Why.LAST_NODE: "no other node that is well takes customers, so new ones would get no key",
}


class UnusableKey(Exception):
    """The setting that keys come from is not set, or has a value that no function could use; the text names it."""


def key(environment: Environment, arguments: Arguments) -> int:
    """Print the key that functions will send to the node of that name: for standard input of what sets the node up."""
    assert arguments.node is not None  # noqa: S101 -- needed by this command
    (current, *_) = keys_of(environment, arguments.node.name, _key_name(arguments.node.name))
    sys.stdout.write(f"{current}\n")
    return _DONE


def add(environment: Environment, arguments: Arguments) -> int:
    """Ask the node, then add it, or change its row; say what is another and change nothing when `UPDATE=1` was not given."""
    given = arguments.node
    assert given is not None  # noqa: S101 -- needed by this command
    known = _listing(environment)
    was = next((one.entry for one in known if one.entry.name == given.name), None)
    wanted = _wanted(was, given)
    differences = nodes.differing(was, wanted)
    if was is not None and not differences:
        _say(f"{given.name}: is there already, as given; nothing changed")
        return _DONE
    if was is not None and not arguments.update:
        _complain(
            f"{given.name}: is there already and differs; nothing changed. UPDATE=1 changes it:", _told(differences)
        )
        return _WRONG
    seen = _look(environment, wanted, _now(known))
    if seen.problems:
        _complain(f"{given.name}: is not well, so nothing changed:", seen.problems)
        return _WRONG
    try:
        done = transaction.run(
            environment.connect("owner"),
            nodes.register,
            given,
            wanted.key_name,
            update=arguments.update,
            correlation_id=f"node-add-{uuid.uuid4()}",
        )
    except nodes.AddressTaken as error:
        _complain(f"{given.name}: {wanted.api_url} is the address of node {error} already; nothing changed", [])
        return _WRONG
    except StatementFailed as error:
        _complain(f"{given.name}: the database refuses it ({error}); nothing changed", [])
        return _WRONG
    return _registered(given, done)


def listing(environment: Environment, _arguments: Arguments) -> int:
    """Every node, a line each, with what it holds."""
    known = _listing(environment)
    if not known:
        _say("there is no node")
    for one in known:
        entry = one.entry
        place = f"{entry.country} {entry.city_en}" if entry.country else "no place"
        parts = [
            f"{entry.name:<12} {one.state:<9} {entry.api_url}",
            f"{place}; weight {entry.weight}; tags {','.join(entry.tags) or '-'}; key from {entry.key_name}",
            *(f"pin {pin}" for pin in entry.pins),
            f"{one.clients} clients, {one.waiting} to be told",
        ]
        if one.pin_until is not None:
            parts.append(f"the first pin ends {one.pin_until:%Y-%m-%d %H:%M} UTC")
        parts += _of_the_row(one)
        _say("\n    ".join(parts))
    return _DONE


def check(environment: Environment, arguments: Arguments) -> int:
    """Ask each node, or the one that is named; 1 when something is wrong."""
    known = _listing(environment)
    if arguments.node is not None:
        known = [one for one in known if one.entry.name == arguments.node.name]
        if not known:
            _complain(f"{arguments.node.name}: there is no such node", [])
            return _WRONG
    serving = [one for one in known if one.state != _RETIRED]
    if not serving:
        _complain("there is no node that serves", [])
        return _WRONG
    wrong = False
    for report in reports(environment, serving):
        if report.problems:
            wrong = True
            _complain(f"{report.name}: is not well:", report.problems)
        else:
            _say(f"{report.name}: well")
        for note in report.notes:
            _say(f"    {note}")
    return _WRONG if wrong else _DONE


def drain(environment: Environment, arguments: Arguments) -> int:
    """Let the sweeps take customers off the node, or with `UNDO=1` let it take them again."""
    given = arguments.node
    assert given is not None  # noqa: S101 -- needed by this command
    by = By(arguments.operator, owners(environment), arguments.reason, f"node-drain-{uuid.uuid4()}")
    try:
        done = transaction.run(environment.connect("owner"), nodes.drain, given.name, by, undo=arguments.undo)
    except NotDone as error:
        _complain(f"{given.name}: {_NOT_DRAINED[error.why]}; nothing changed", [])
        return _WRONG
    if arguments.undo:
        _say(
            f"{given.name}: takes customers again; those who were taken off come back page by page"
            if done.written
            else f"{given.name}: is not drained; nothing changed"
        )
        return _DONE
    _say(
        f"{given.name}: {'takes no new customers' if done.written else 'is drained already'}; {done.clients} are to leave it, each once another node has"
        " confirmed them. `make node-list` shows how far it is; UNDO=1 takes it back"
    )
    return _DONE


@dataclass(frozen=True, slots=True)
class Report:
    """What is wrong with one node, and what is good to know; both in words."""

    name: str
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def reports(environment: Environment, serving: Sequence[Listed]) -> list[Report]:
    """Each of them asked, all at once."""
    secrets = {name: _secret(environment, name) for name in sorted({one.entry.key_name for one in serving})}

    async def one(transport: AiohttpTransport, listed: Listed) -> Report:
        entry, secret = listed.entry, secrets[listed.entry.key_name]
        try:
            opened_by = _made_of(secret, entry.name, entry.key_name)
        except UnusableKey as error:
            return Report(entry.name, (str(error), *_of_the_row(listed)), ())
        seen = await look(transport, Address(entry.api_url, _counting(listed), opened_by), listed.asked_at)
        problems, notes = _of_the_pins(listed, seen)
        return Report(entry.name, (*seen.problems, *problems, *_of_the_row(listed)), tuple(notes))

    async def all_of_them() -> list[Report]:
        transport = AiohttpTransport()
        try:
            return await asyncio.gather(*(one(transport, listed) for listed in serving))
        finally:
            await transport.close()

    return asyncio.run(all_of_them())


def listed(environment: Environment) -> list[Listed]:
    """Every node's row, read with a reader's rights."""
    return _listing(environment)


def _listing(environment: Environment) -> list[Listed]:
    return transaction.run(environment.connect("readonly"), nodes.listing)


def _now(known: Sequence[Listed]) -> datetime | None:
    return known[0].asked_at if known else None


def _wanted(was: Entry | None, given: Given) -> Entry:
    """What the row is to say.

    Raises:
        BadArguments: a new node lacks something, or address and pins don't go together.
    """
    problems = []
    if was is None:
        if given.name == FIRST:
            problems.append(f"NAME: {FIRST} is the node that XRAY_API_URL makes; give another")
        said = {name for field, name in FIELD_NAMES.items() if getattr(given, field) is not None}
        problems += [f"{name}: is not given, and a new node needs it" for name in lacking(said, given.api_url)]
    if problems:
        raise BadArguments(problems)
    wanted = nodes.merged(was, given, _key_name(given.name))
    try:
        values.matching_pins(wanted.api_url, wanted.pins)
    except ValueError as error:
        raise BadArguments([f"PIN: {error}"]) from None
    return wanted


def _key_name(name: str) -> str:
    return FIRST_KEY if name == FIRST else keys.MASTER_KEYS


def keys_of(environment: Environment, name: str, key_name: str) -> tuple[str, ...]:
    """What may open the node, as functions have it, the current one first.

    Raises:
        UnusableKey
    """
    return _made_of(_secret(environment, key_name), name, key_name)


def _secret(environment: Environment, key_name: str) -> str | NoSecret:
    """The setting's value, or why there is none: that is the matter of its own nodes alone."""
    try:
        return environment.secret(key_name)
    except NoSecret as error:
        return error


def _made_of(secret: str | NoSecret, name: str, key_name: str) -> tuple[str, ...]:
    if isinstance(secret, NoSecret):
        raise UnusableKey(str(secret)) from None
    try:
        if key_name == keys.MASTER_KEYS:
            return tuple(keys.derived(master, name) for master in values.master_keys(secret))
        return (values.api_key(secret),)
    except ValueError as error:
        raise UnusableKey(f"{key_name}: {error}") from None


def _look(environment: Environment, wanted: Entry, now: datetime | None) -> Seen:
    opened_by = keys_of(environment, wanted.name, wanted.key_name)
    if now is None:
        now = transaction.run(environment.connect("readonly"), _database_now)

    async def ask(moment: datetime) -> Seen:
        transport = AiohttpTransport()
        try:
            return await look(transport, Address(wanted.api_url, wanted.pins, opened_by), moment)
        finally:
            await transport.close()

    return asyncio.run(ask(now))


def _database_now(tx: Transaction) -> datetime:
    now: datetime = tx.value("select atlas.now()")
    return now


def _counting(listed: Listed) -> tuple[str, ...]:
    """The pins that count now, as functions have them."""
    pins = listed.entry.pins
    return pins[1:] if _exchange_is_over(listed) else pins


def _exchange_is_over(listed: Listed) -> bool:
    return listed.pin_until is not None and listed.pin_until <= listed.asked_at


def _of_the_pins(listed: Listed, seen: Seen) -> tuple[list[str], list[str]]:
    """Problems and notes of a certificate that is being exchanged."""
    if listed.pin_until is None:
        return [], []
    old, new = listed.entry.pins
    end = f"make node-add NAME={listed.entry.name} PIN={new} UPDATE=1"
    if _exchange_is_over(listed):
        return ([] if seen.problems else [f"the exchange of its certificate was left open; `{end}` ends it"]), []
    if seen.pin == new:
        return [], [f"shows its new certificate; `{end}` ends the exchange"]
    if seen.pin == old:
        return [], [f"still shows its old certificate, which counts until {listed.pin_until:%Y-%m-%d %H:%M} UTC"]
    return [], []


def _of_the_row(listed: Listed) -> list[str]:
    """What functions have found out about it."""
    found = []
    if listed.trouble is not None:
        found.append(f"the functions' last calls failed: {listed.trouble}")
    if listed.lost_since is not None:
        found.append(f"is lost to the functions since {listed.lost_since:%Y-%m-%d %H:%M} UTC")
    elif listed.open_since is not None:
        found.append(f"does not answer the functions since {listed.open_since:%Y-%m-%d %H:%M} UTC")
    if listed.waiting_long:
        found.append(f"has not confirmed {listed.waiting_long} of its clients in {nodes.WAITS_LONG}")
    return found


def _registered(given: Given, done: Registered) -> int:
    if not done.written:
        if done.differences:  # its row changed while the node was asked
            _complain(
                f"{given.name}: is there already and differs; nothing changed. UPDATE=1 changes it:",
                _told(done.differences),
            )
            return _WRONG
        _say(f"{given.name}: is there already, as given; nothing changed")
        return _DONE
    if done.was is None:
        _say(
            f"{given.name}: added. Customers are placed on it within two minutes; `make node-list` shows how far it is"
        )
    else:
        _say(f"{given.name}: changed")
        for line in _told(done.differences):
            _say(f"  - {line}")
    return _DONE


def _told(differences: dict[str, tuple[Any, Any]]) -> list[str]:
    return [
        f"{FIELD_NAMES.get(name, name)}: {_plain(before)} -> {_plain(after)}"
        for name, (before, after) in differences.items()
    ]


def _plain(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    return "none" if value is None else str(value)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")


def _complain(text: str, reasons: Sequence[str]) -> None:
    sys.stderr.write("\n  - ".join([text, *reasons]) + "\n")
