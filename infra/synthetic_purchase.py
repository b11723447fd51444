"""`make test-purchase ENV=... ACCOUNT=... TARIFF=... DAYS=... ONCE=...`: a purchase by provider `test`, which no production has."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from infra import environment, parameters, transaction
from lib.payments import registry, synthetic
from lib.payments.synthetic import NotHere, Purchase

if TYPE_CHECKING:
    from collections.abc import Mapping

NAMES = ("account", "tariff", "days", "once")
_WITHOUT_MONEY = ("local", "dev")
_MOST = 999_999_999


class BadArguments(Exception):
    """Nothing was bought; the text says everything that is wrong, one a line."""


def main(arguments: list[str] | None = None) -> int:
    """0: bought, now or before. 1: the database can't be had, or it did not settle. 2: not here, or what was said can't be."""
    parser = argparse.ArgumentParser(prog="python -m infra.synthetic_purchase", description="Buy with provider `test`.")
    parser.add_argument("--env", required=True, help="local or dev")
    for name in NAMES:
        parser.add_argument(f"--{name}", default="")
    parser.add_argument("--give-back", default="", help="1: give it back at once, its access with it")
    options = vars(parser.parse_args(arguments))
    return transaction.exit_code(
        lambda: _buy(options),
        nothing="Nothing was bought",
        perhaps="It may not have been bought",
        again="The same command again buys it once.",
        refusals=(BadArguments, NotHere),
    )


def _buy(options: Mapping[str, str]) -> int:
    wanted = purchase_of(options)
    found = environment.load(wanted.environment, among=_WITHOUT_MONEY)
    prices = environment.prices(found)
    received = transaction.run(found.connect("owner"), synthetic.buy, wanted, prices)
    sys.stdout.write(f"{wanted.once}: {received.outcome} {received.reason}{received.error}".rstrip() + "\n")
    if received.outcome not in {"settled", "repeated"}:
        return 1
    if options["give_back"]:
        asked = transaction.run(found.connect("owner"), synthetic.ask_back, wanted, prices)
        sys.stdout.write(
            f"{wanted.once}: {'is given back' if asked else 'was given back before'}, its access with it\n"
        )
    return 0


def purchase_of(options: Mapping[str, str]) -> Purchase:
    """What the words of the command ask for.

    Raises:
        BadArguments: with everything that is wrong.
    """
    problems = []
    if synthetic.NAME not in registry.providers(options["env"]) or options["env"] not in _WITHOUT_MONEY:
        problems.append("ENV must be local or dev: in prod nothing but money buys anything")
    numbers = [name for name in ("account", "days") if not parameters.is_number(options[name], _MOST)]
    problems += [f"{name.upper()} must be a whole number from 1" for name in numbers]
    if not options["tariff"]:
        problems.append("TARIFF must name a tariff of the price list")
    if not parameters.is_once(options["once"]):
        problems.append("ONCE must name this purchase in 3 to 60 letters, digits and . _ : # -")
    if problems:
        raise BadArguments("\n".join(problems))
    return Purchase(options["env"], int(options["account"]), options["tariff"], int(options["days"]), options["once"])


if __name__ == "__main__":
    sys.exit(main())
