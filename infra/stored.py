"""`make stored ENV=...`: stored work from a shell, for when the bot itself is down (lib/bot/operations): list, run again, give up.

Without WHAT it lists. One piece of work is first told as a dry run; CONFIRM with its number does it.
"""

from __future__ import annotations

import argparse
import sys
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra import environment, parameters, transaction
from lib.domain import inbox, operations, stored_work
from lib.domain.stored_work import By, NotDone, Why
from lib.payments import registry
from lib.telegram import intake

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from lib.db import Transaction
    from lib.domain.pricelist import PriceList

UPDATE, EVENT, MESSAGE = "update", "event", "message"
AGAIN, GIVE_UP = "run-again", "give-up"
_HOW = {UPDATE: (AGAIN, GIVE_UP), EVENT: (AGAIN, GIVE_UP), MESSAGE: (AGAIN,)}
NAMES = ("what", "number", "how", "operator", "reason", "confirm")
_PAGE = 50
_UNREADABLE = (ArithmeticError, LookupError, TypeError, ValueError)
_WHY = {
    Why.NOT_ALLOWED: "no role of this operator may do it",
    Why.MISSING: "there is no such thing",
    Why.BUSY: "it is being done at this moment; try again in a minute",
    Why.HAD_EFFECT: "it was handled",
    Why.GIVEN_UP: "it was given up before",
    Why.TELLS_OF_MONEY: "it tells of a payment, and is never given up before that is booked",
    Why.SETTLED: "it was settled or set aside",
    Why.NO_AMOUNT: "how much came can't be read from it, so there is nothing to set aside",
    Why.NOT_LISTED: "it is none that is sent again",
    Why.ONCE: "messages of its kind are never sent twice",
    Why.OUT_OF_REACH: "its customer can't be reached; it comes by itself when they write",
    Why.TOO_LATE: "its time is over",
    Why.NOT_OPEN: "calls to it are not stopped",
    Why.RETIRED: "it is retired",
    Why.LAST_NODE: "no other node that is well takes customers, so new ones would get no key",
    Why.SAME: "it stands so already",
}


class BadArguments(Exception):
    """Nothing was changed; the text says everything that is wrong, one a line."""


class Refused(Exception):
    """Nothing was changed; the text says why."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to become of one piece of stored work; not confirmed, it is a dry run."""

    environment: str
    what: str
    number: int
    how: str
    operator: int
    reason: str
    is_confirmed: bool


class _Undone(RuntimeError):
    """Takes a dry run back."""


def main(arguments: list[str] | None = None) -> int:
    """0: listed, told or done. 1: the database can't be had, or it may have been done. 2: refused, or what was said can't be."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.stored", description="Stored work: list, run again, give up."
    )
    parser.add_argument("--env", required=True, help="local, dev or prod")
    for name in NAMES:
        parser.add_argument(f"--{name}", default="")
    options = vars(parser.parse_args(arguments))
    return transaction.exit_code(
        lambda: _run(options),
        nothing="Nothing was changed",
        perhaps="It may not have been done",
        again="The same command again does it, or says that it was done.",
        refusals=(BadArguments, Refused),
    )


def _run(options: Mapping[str, str]) -> int:
    wanted = wanted_of(options)
    found = environment.load(options["env"])
    if wanted is None:
        sys.stdout.write(transaction.run(found.connect("readonly"), listed))
        return 0
    by = By(wanted.operator, environment.owners(found), wanted.reason, f"stored-{uuid.uuid4()}")
    before, after = transaction.run(found.connect("owner"), do, wanted, by, environment.prices(found))
    told = f"{wanted.what} {wanted.number}: {before} -> {after}"
    if wanted.is_confirmed:
        sys.stdout.write(f"Done. {told}. Tasks follow within a minute.\n")
    else:
        sys.stdout.write(f"Dry run, nothing was changed. {told}. CONFIRM={wanted.number} does it.\n")
    return 0


def listed(tx: Transaction) -> str:
    """What waits, oldest first, and what was given up; at most a page of each."""
    lines = [
        *(
            f"update {one.update_id}\t{one.state}\t{one.kind or '-'}\t{_age(one.age_s)}\tattempts {one.attempts}\t{one.error or '-'}"
            for one in (
                *operations.waiting_updates(tx, page=_PAGE),
                *operations.given_up_updates(tx, before=parameters.BIGGEST_ID, page=_PAGE),
            )
        ),
        *(
            f"event {one.id}\t{one.status}\t{one.provider} {one.kind}\t{_age(one.age_s)}\tattempts {one.attempts}"
            for one in operations.news(tx, page=_PAGE)
        ),
        *(
            f"message {one.id}\t{one.status}\t{one.kind}\tattempts {one.attempts}\t{one.error or '-'}"
            for one in operations.told(tx, before=parameters.BIGGEST_ID, page=_PAGE)
        ),
    ]
    return "".join(f"{line}\n" for line in lines) or "Nothing is stored that waits or was given up.\n"


def do(tx: Transaction, wanted: Wanted, by: By, prices: PriceList) -> tuple[str, str]:
    """Do it, in the database of the environment that was meant; undo it when it is not confirmed. State before, state after.

    Raises:
        Refused: nothing was changed.
    """
    held = tx.value("select environment from deployment")
    if held != wanted.environment:
        raise Refused(f"this database belongs to environment {held}, not {wanted.environment}")
    states: list[str] = []
    try:
        with tx.savepoint("stored"):
            states.append(_state(tx, wanted))
            _DO[wanted.what, wanted.how](tx, wanted.number, by, prices)
            states.append(_state(tx, wanted))
            if not wanted.is_confirmed:
                raise _Undone
    except _Undone:
        pass
    except NotDone as error:
        raise Refused(f"{wanted.what} {wanted.number}: {_WHY[error.why]}") from None
    return states[0], states[1]


def _event_aside(tx: Transaction, number: int, by: By, prices: PriceList) -> None:
    stored = inbox.read_event(tx, number)
    if stored is None:
        raise NotDone(Why.MISSING, f"event {number}")
    try:
        event = registry.read_again(stored)
    except _UNREADABLE:
        raise NotDone(Why.NO_AMOUNT, f"event {number}") from None
    stored_work.set_event_aside(tx, number, event, by, prices)


_DO: dict[tuple[str, str], Callable[[Transaction, int, By, PriceList], object]] = {
    (UPDATE, AGAIN): lambda tx, number, by, _: stored_work.run_update_again(tx, number, by),
    (UPDATE, GIVE_UP): lambda tx, number, by, _: stored_work.give_up_update(tx, number, by, intake.tells_of_money),
    (EVENT, AGAIN): lambda tx, number, by, _: stored_work.run_event_again(tx, number, by),
    (EVENT, GIVE_UP): _event_aside,
    (MESSAGE, AGAIN): lambda tx, number, by, _: stored_work.run_message_again(tx, number, by),
}


def _state(tx: Transaction, wanted: Wanted) -> str:
    if wanted.what == UPDATE:
        kept = operations.update(tx, wanted.number)
        return "-" if kept is None else kept.state
    if wanted.what == EVENT:
        news = operations.one_news(tx, wanted.number)
        return "-" if news is None else news.status
    told = operations.one_told(tx, wanted.number)
    return "-" if told is None else told.status


def _age(seconds: float) -> str:
    return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60)} min"


def wanted_of(options: Mapping[str, str]) -> Wanted | None:
    """What the words of the command ask for; None: the list.

    Raises:
        BadArguments: with everything that is wrong.
    """
    said = {name: options[name].strip() for name in NAMES if options[name].strip()}
    if not said:
        return None
    problems = []
    what, how = said.get("what", ""), said.get("how", "")
    if what not in _HOW:
        problems.append(f"WHAT must be one of {', '.join(_HOW)}")
    elif how not in _HOW[what]:
        problems.append(f"HOW of WHAT={what} must be one of {', '.join(_HOW[what])}")
    problems += [
        f"{number.upper()} must be a whole number from 1"
        for number in ("number", "operator")
        if not parameters.is_number(said.get(number, ""))
    ]
    reason = said.get("reason", "")
    problems += parameters.problems_of_reason(reason)
    if said.get("confirm", said.get("number")) != said.get("number"):
        problems.append("CONFIRM must be the same number, or be left out for a dry run")
    if problems:
        raise BadArguments("\n".join(problems))
    return Wanted(
        options["env"], what, int(said["number"]), how, int(said["operator"]), reason, is_confirmed="confirm" in said
    )


if __name__ == "__main__":
    sys.exit(main())
