"""`make access ENV=...`: a customer's access from a shell, by the code of the operators' desk (lib/domain/access_desk.py).

Every change is first told as a dry run; CONFIRM with the account's number makes it, once under its name.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from infra import environment, parameters, transaction
from lib.domain import access_desk
from lib.domain.access_desk import HAS_DAYS, MOST_DAYS, Asked, Change, NotMade

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from lib.db import Transaction
    from lib.domain.access_desk import Made, State
    from lib.domain.pricelist import PriceList

NAMES = ("account", "change", "tariff", "days", "operator", "reason", "once", "confirm")


class BadArguments(Exception):
    """Nothing was changed; the text says everything that is wrong, one a line."""


def main(arguments: list[str] | None = None) -> int:
    """0: told, made, or made before. 1: the database can't be had, or it may have been made. 2: refused, or what was said can't be."""
    parser = argparse.ArgumentParser(prog="python -m infra.access", description="A customer's access, by hand.")
    parser.add_argument("--env", required=True, help="local, dev or prod")
    for name in NAMES:
        parser.add_argument(f"--{name}", default="")
    options = vars(parser.parse_args(arguments))
    return transaction.exit_code(
        lambda: _run(options),
        nothing="Nothing was changed",
        perhaps="It may not have been made",
        again="The same command again makes it once, or says that it was made.",
        refusals=(BadArguments, NotMade),
    )


def _run(options: Mapping[str, str]) -> int:
    asked, is_confirmed = asked_of(options)
    found = environment.load(options["env"])
    made = transaction.run(
        found.connect("owner"),
        change,
        asked,
        environment.prices(found),
        environment.owners(found),
        environment=options["env"],
        is_confirmed=is_confirmed,
    )
    if made.already:
        sys.stdout.write(f"{asked.once} was made before; nothing was changed now. Now: {_said(made.after)}.\n")
        return 0
    told = f"{asked.change.value} of account {asked.account_id}: {_said(made.before)} -> {_said(made.after)}"
    if is_confirmed:
        sys.stdout.write(f"Done. {told}. Nodes and messages follow within two minutes.\n")
    else:
        sys.stdout.write(f"Dry run, nothing was changed. {told}. CONFIRM={asked.account_id} makes it.\n")
    return 0


def change(
    tx: Transaction,
    asked: Asked,
    prices: PriceList,
    owners: Collection[int],
    *,
    environment: str,
    is_confirmed: bool,
) -> Made:
    """Make it, or try it out, in the database of the environment that was meant.

    Raises:
        NotMade: nothing was changed.
    """
    held = tx.value("select environment from deployment")
    if held != environment:
        raise NotMade("other", f"this database belongs to environment {held}, not {environment}")
    do = access_desk.make if is_confirmed else access_desk.try_out
    return do(tx, asked, prices, owners, f"by-hand:{asked.once}")


def _said(state: State) -> str:
    parts = [state.status, state.tariff]
    parts += [f"until {state.expires_at:%Y-%m-%d %H:%M} UTC"] if state.expires_at is not None else []
    parts += [f"frozen until {state.frozen_until:%Y-%m-%d %H:%M} UTC"] if state.frozen_until is not None else []
    parts += [f"key {state.generation}"] if state.generation else []
    parts += ["banned"] if state.ban_reason is not None else []
    return ", ".join(part for part in parts if part)


def asked_of(options: Mapping[str, str]) -> tuple[Asked, bool]:
    """What the words of the command ask for, and whether it is confirmed.

    Raises:
        BadArguments: with everything that is wrong.
    """
    said = {name: options[name].strip() for name in NAMES}
    problems = [
        f"{name.upper()} must be a whole number from 1"
        for name in ("account", "operator")
        if not parameters.is_number(said[name])
    ]
    if said["change"] not in list(Change):
        problems.append(f"CHANGE must be one of {', '.join(Change)}")
    else:
        problems += _of_change(Change(said["change"]), said)
    problems += parameters.problems_of_reason(said["reason"])
    if not parameters.is_once(said["once"]):
        problems.append(
            "ONCE must name this change in 3 to 60 letters, digits and . _ : # -, such as a ticket's number: under one name it is"
            " made once, however often this runs"
        )
    if said["confirm"] not in {"", said["account"]}:
        problems.append("CONFIRM must be the account's number, or be left out for a dry run")
    if problems:
        raise BadArguments("\n".join(problems))
    asked = Asked(
        Change(said["change"]),
        int(said["account"]),
        int(said["operator"]),
        said["reason"],
        said["once"],
        said["tariff"],
        int(said["days"] or 0),
    )
    return asked, bool(said["confirm"])


def _of_change(wanted: Change, said: Mapping[str, str]) -> list[str]:
    problems = []
    if wanted in HAS_DAYS:
        if not parameters.is_number(said["days"], MOST_DAYS):
            problems.append(f"DAYS must be a whole number from 1 to {MOST_DAYS}")
    elif said["days"]:
        problems.append(f"DAYS: CHANGE={wanted.value} takes no such thing")
    if wanted is Change.GRANT and not said["tariff"]:
        problems.append("TARIFF must name a tariff of the price list")
    elif wanted is not Change.GRANT and said["tariff"]:
        problems.append(f"TARIFF: CHANGE={wanted.value} takes no such thing")
    return problems


if __name__ == "__main__":
    sys.exit(main())
