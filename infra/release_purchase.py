"""`python -m infra.release_purchase --env dev --release ID`: the purchase that proves a release, and its way back (`make deploy`).

It is the first operator's, by provider `test`: paid, applied on a node, given back with its access, each waited for. One a release.
"""

from __future__ import annotations

import argparse
import sys
import time
from typing import TYPE_CHECKING

from infra import environment, transaction
from infra.transaction import Session
from lib.payments import synthetic
from lib.payments.synthetic import NotHere, Progress, Purchase

if TYPE_CHECKING:
    from collections.abc import Callable

    from lib.domain.pricelist import PriceList

_PLACES = ("local", "dev")
PATIENCE_S = 300.0
"""For each of the two: sweeps run every half minute, and one may have a backlog."""
_BETWEEN_LOOKS_S = 3.0


class DidNotHappen(Exception):
    """The release serves, and what was bought did not come; the text says what, and where to look."""


def main(
    arguments: list[str] | None = None, *, patience_s: float = PATIENCE_S, pause: Callable[[float], None] = time.sleep
) -> int:
    """0: proved, now or before, or there is no one to buy for. 1: it did not happen, or the database can't be had. 2: not here."""
    parser = argparse.ArgumentParser(
        prog="python -m infra.release_purchase", description="Prove a release by a purchase."
    )
    parser.add_argument("--env", required=True, choices=_PLACES)
    parser.add_argument("--release", required=True, help="its id: one purchase is made for it")
    options = parser.parse_args(arguments)

    def work() -> int:
        try:
            return _prove(options.env, options.release, patience_s, pause)
        except DidNotHappen as error:
            sys.stderr.write(f"{error}\n")
            return 1

    return transaction.exit_code(
        work,
        nothing="Nothing was bought",
        perhaps="It may not have been bought, or given back",
        again="The same command again does what is left of it.",
        refusals=(NotHere,),
    )


def _prove(name: str, release: str, patience_s: float, pause: Callable[[float], None]) -> int:
    found = environment.load(name, among=_PLACES)
    operators = environment.owners(found)
    if not operators:
        sys.stdout.write("ADMIN_IDS names no operator, so no one buys: nothing is proved by a purchase\n")
        return 0
    prices = environment.prices(found)
    session = Session(found.connect("owner"))
    try:
        account_id = session.run(synthetic.account_of, name, min(operators))
        wanted = _wanted(name, account_id, prices, release)
        received = session.run(synthetic.buy, wanted, prices)
        if received.outcome not in {"settled", "repeated"}:
            raise DidNotHappen(
                f"{wanted.once} did not settle: {received.outcome} {received.reason}{received.error}".rstrip()
            )
        sys.stdout.write(f"{wanted.once}: {wanted.tariff} for {wanted.days} days is {received.outcome}\n")

        def waited_for(come: Callable[[Progress], bool]) -> bool:
            deadline = time.monotonic() + patience_s
            while not come(session.run(synthetic.progress, wanted)):
                if time.monotonic() >= deadline:
                    return False
                pause(_BETWEEN_LOOKS_S)
            return True

        if session.run(synthetic.progress, wanted).nodes == 0:
            sys.stdout.write(f"{wanted.once}: there is no node yet, so its access waits for one\n")
        elif not waited_for(lambda one: one.applied):
            raise DidNotHappen(
                f"{wanted.once} was paid, and no node has it after {patience_s:.0f} s: make doctor ENV={name}"
            )
        session.run(synthetic.ask_back, wanted, prices)
        if not waited_for(lambda one: one.given_back):
            raise DidNotHappen(
                f"{wanted.once} was asked back, and is not given back after {patience_s:.0f} s: make doctor ENV={name}"
            )
    finally:
        session.close()
    sys.stdout.write(f"{wanted.once}: is given back, its access with it\n")
    return 0


def _wanted(name: str, account_id: int, prices: PriceList, release: str) -> Purchase:
    """What costs least of all that is sold."""
    _, days, tariff = min(
        (price, days, tariff) for tariff, one in prices.on_sale.items() for days, price in one.prices.items()
    )
    return Purchase(name, account_id, tariff, days, f"release:{release}")


if __name__ == "__main__":
    sys.exit(main())
