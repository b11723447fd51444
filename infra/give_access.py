"""`make give-access ENV=... ACCOUNT=... TARIFF=... DAYS=... OPERATOR=... REASON=... ONCE=...`: access by hand, each gift once."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING
from urllib.parse import quote

from infra import environment, parameters, transaction
from infra.environment import OWNER_SECRET, Deployed, NoEnvironment
from infra.google.relay import Relay
from lib.db import Database
from lib.db.address import DatabaseAddress
from lib.domain.access_by_hand import NotGiven, Wanted, give

if TYPE_CHECKING:
    from infra.environment import Environment
    from lib.domain.access_by_hand import Given
    from lib.domain.pricelist import PriceList

NAMES = ("account", "tariff", "days", "operator", "reason", "once")
_MOST_DAYS = 3660


class Refused(Exception):
    """Nothing was changed; the text says each reason, one a line."""


def main(arguments: list[str] | None = None) -> int:
    """0: given, now or before. 1: the database can't be had. 2: it may not be, or what was said can't be; nothing was changed."""
    parser = argparse.ArgumentParser(prog="python -m infra.give_access", description="Give access by hand, once.")
    parser.add_argument("--env", required=True, help="local, dev or prod")
    for name in NAMES:
        parser.add_argument(f"--{name}", default="")
    options = vars(parser.parse_args(arguments))
    return transaction.exit_code(
        lambda: _told(options),
        nothing="Nothing was given",
        perhaps="It may not have been given",
        again="The same command again gives it once, or says that it was.",
        refusals=(Refused, NotGiven),
    )


def _told(options: dict[str, str]) -> int:
    wanted, found = _both(options)
    given = _give(found, wanted, environment.prices(found), environment.owners(found))
    when = f"{given.until:%Y-%m-%d %H:%M} UTC"
    if given.already:
        sys.stdout.write(f"{wanted.once} was given before, until {when}; nothing was changed now.\n")
    else:
        sys.stdout.write(
            f"Account {wanted.account_id} has {wanted.tariff} until {when}. The key follows within two minutes.\n"
        )
    return 0


def _both(options: dict[str, str]) -> tuple[Wanted, Environment]:
    """What is asked for, and where.

    Raises:
        Refused: with everything that is wrong with either.
    """
    problems: list[str] = []
    wanted: Wanted | None = None
    found: Environment | None = None
    try:
        found = environment.load(options["env"])
    except NoEnvironment as error:
        problems.append(str(error))
    try:
        wanted = wanted_of(options)
    except Refused as error:
        problems.append(str(error))
    if wanted is None or found is None:
        raise Refused("\n".join(problems))
    return wanted, found


def wanted_of(options: dict[str, str]) -> Wanted:
    """What the words of the command ask for.

    Raises:
        Refused: with everything that is wrong.
    """
    problems = []
    numbers = {"account": parameters.BIGGEST_ID, "days": _MOST_DAYS, "operator": parameters.BIGGEST_ID}
    for name, most in numbers.items():
        if not parameters.is_number(options[name], most):
            problems.append(f"{name.upper()} must be a whole number from 1 to {most}")
    if not options["tariff"]:
        problems.append("TARIFF must name a tariff of the price list")
    reason = options["reason"].strip()
    problems += parameters.problems_of_reason(reason)
    if not parameters.is_once(options["once"]):
        problems.append(
            "ONCE must name this gift in 3 to 60 letters, digits and . _ : # -, such as a ticket's number: under one name it is"
            " given once, however often this runs"
        )
    if problems:
        raise Refused("\n".join(problems))
    return Wanted(
        account_id=int(options["account"]),
        tariff=options["tariff"],
        days=int(options["days"]),
        operator=int(options["operator"]),
        reason=reason,
        once=options["once"],
        environment=options["env"],
    )


def _give(found: Environment, wanted: Wanted, prices: PriceList, owners: frozenset[int]) -> Given:
    url = found.secret(OWNER_SECRET)
    with contextlib.ExitStack() as stack:
        if isinstance(found, Deployed) and not found.has_own_database:
            relay = stack.enter_context(Relay(found.instance, iam=False))
            stack.callback(lambda: sys.stderr.writelines(f"{one}\n" for one in relay.failures))
            address = DatabaseAddress.parse(url)
            user, password = quote(address.user, safe=""), quote(address.password or "", safe="")
            url = f"postgresql://{user}:{password}@/{quote(address.database, safe='')}?host={relay.folder}"
        return asyncio.run(_run(url, wanted, prices, owners))


async def _run(url: str, wanted: Wanted, prices: PriceList, owners: frozenset[int]) -> Given:
    db = Database(url, connections=1, application="by-hand")
    try:
        return await db.run(give, wanted, prices, owners)
    finally:
        await db.close()


if __name__ == "__main__":
    sys.exit(main())
