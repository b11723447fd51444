"""The command that lists stored work and runs it again or gives it up, over a database of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from infra import environment, stored
from lib.domain import operations, operators
from lib.domain.operators import Role
from lib.domain.stored_work import Why
from tests.integration.bot.test_finance import audited
from tests.integration.bot.test_operations import (
    UPDATE,
    ended_message,
    given_up_update,
    kept_event,
    kept_update,
    state_of,
)
from tests.integration.infra.test_end_suspense import OWNER, Found

if TYPE_CHECKING:
    import pg8000.native

    from lib.db import Database

REASON = "as the on-call notes say"


class Command:
    """The command, as its make target gives it words."""

    def run(self, *, env: str = "local", **said: object) -> int:
        given = {name: str(value) for name, value in said.items()}
        return stored.main(["--env", env, *(word for name, value in given.items() for word in (f"--{name}", value))])

    def one(self, what: str, number: object, how: str = "run-again", **more: Any) -> int:
        given: dict[str, Any] = {"what": what, "number": number, "how": how, "operator": OWNER, "reason": REASON}
        return self.run(**given | more)


class AnyRole(Found):
    def connect(self, role: str) -> pg8000.native.Connection:
        assert role in {"owner", "readonly"}
        return super().connect("owner")


@pytest.fixture
def command(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Command:
    monkeypatch.setattr(environment, "load", lambda name: AnyRole(database_url, name))
    return Command()


async def test_it_lists_what_waits_and_what_was_given_up(
    racing_db: Database, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.run() == 0
    assert "Nothing is stored" in capsys.readouterr().out
    await racing_db.run(kept_update)
    await racing_db.run(given_up_update, 502)
    message_id = await racing_db.run(ended_message)
    event_id = await kept_event(racing_db)
    assert command.run() == 0
    told = capsys.readouterr().out
    for line in (
        f"update {UPDATE}\twaiting\tmessage",
        "update 502\tgiven-up",
        f"event {event_id}\tnew",
        f"message {message_id}\tunclear",
    ):
        assert line in told, line
    assert "/buy" not in told  # what a customer wrote is not shown


@pytest.mark.parametrize(
    ("work", "told"),
    [
        (("update", "run-again"), ("given-up -> waiting", "update.run_again")),
        (("event", "run-again"), ("new -> new", "event.run_again")),
        (("event", "give-up"), ("new -> unmatched", "event.set_aside")),
        (("message", "run-again"), ("unclear -> queued", "message.run_again")),
    ],
)
async def test_a_dry_run_changes_nothing_and_confirmed_it_is_done_once(
    racing_db: Database,
    command: Command,
    capsys: pytest.CaptureFixture[str],
    work: tuple[str, str],
    told: tuple[str, str],
) -> None:
    (what, how), (states, action) = work, told
    await racing_db.run(given_up_update)
    message_id, event_id = await racing_db.run(ended_message), await kept_event(racing_db)
    number = {"update": UPDATE, "event": event_id, "message": message_id}[what]
    assert command.one(what, number, how) == 0
    assert f"Dry run, nothing was changed. {what} {number}: {states}" in capsys.readouterr().out
    assert await racing_db.run(audited) == []
    assert command.one(what, number, how, confirm=number) == 0
    assert f"Done. {what} {number}: {states}" in capsys.readouterr().out
    assert await racing_db.run(audited) == [f"{OWNER} {action} {number}"]


async def test_an_update_is_given_up_and_run_again(racing_db: Database, command: Command) -> None:
    await racing_db.run(kept_update)
    assert command.one("update", UPDATE, "give-up", confirm=UPDATE) == 0
    assert await racing_db.run(state_of) == "given-up"
    assert command.one("update", UPDATE, "give-up", confirm=UPDATE) == 2
    assert command.one("update", UPDATE, confirm=UPDATE) == 0
    assert await racing_db.run(state_of) == "waiting"


async def test_what_may_not_be_is_refused_in_words(
    racing_db: Database, command: Command, capsys: pytest.CaptureFixture[str]
) -> None:
    await racing_db.run(kept_update)
    await racing_db.run(lambda tx: operators.grant(tx, OWNER, 8, Role.FINANCE, "c"))
    refusals: tuple[tuple[dict[str, Any], str], ...] = (
        ({"operator": 8}, "no role of this operator"),
        ({"operator": 9}, "no role of this operator"),
        ({"number": 99}, "there is no such thing"),
        ({"env": "prod"}, "belongs to environment local"),
        ({"confirm": 7}, "CONFIRM must be the same number"),
        ({"what": "updates"}, "WHAT must be one of"),
        ({"what": "message", "how": "give-up"}, "HOW of WHAT=message"),
        ({"reason": "short"}, "REASON must say"),
        ({"number": "1e9"}, "NUMBER must be a whole number"),
    )
    for said, why in refusals:
        given: dict[str, Any] = {"what": "update", "number": UPDATE, "how": "run-again"}
        assert command.one(**given | said) == 2
        told = capsys.readouterr().err
        assert why in told, (said, told)
        assert "Nothing was changed" in told
    assert set(stored._WHY) == set(Why)
    waiting = await racing_db.run(lambda tx: operations.waiting_updates(tx, page=5))
    assert [one.update_id for one in waiting] == [UPDATE]
