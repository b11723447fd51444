"""docs/postings.md as the posting table has it: `python -m tests.docs.postings_page` writes it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from lib.domain.postings import AMOUNTS, FACTS

if TYPE_CHECKING:
    from lib.domain.postings import Fact, Leg

PAGE = Path(__file__).resolve().parents[2] / "docs" / "postings.md"

_HEAD = """\
# Postings

What is posted, fact by fact; nothing else is. This page is made of `lib/domain/postings/table.py`, the one table that the code
books by: change it there and run `python -m tests.docs.postings_page`.

An entry moves an amount from the debited to the credited account; a transfer is all entries of one fact, under its key
([data.md](data.md), Books). `clearing` is that of the provider that the fact is about; `user:topped_up` and `user:earned` are wallets of
the customer whom the transfer names. A row that names two amounts, as `received` / `price`, is one entry when both are in one currency;
otherwise it is two, the first from the debited account to `exchange`, the second from `exchange` to the credited one. A row in brackets
is there only where there is such an amount. What an operator does, and what says why, has a reason in `ledger_transfers`.

"""
_FACTS_HEAD = "| fact | kind | key | debit -> credit: amount | also named |\n|---|---|---|---|---|\n"
_AMOUNTS_HEAD = "\n## Amounts\n\n| name | what it is |\n|---|---|\n"


def _leg(leg: Leg) -> str:
    amounts = f"{leg.debited} / {leg.amount}" if leg.debited else leg.amount
    row = f"`{leg.debit}` -> `{leg.credit}`: {amounts}"
    return f"({row})" if leg.optional else row


def _fact(fact: Fact) -> str:
    named = list(fact.about)
    if fact.by_operator:
        named.append("operator, reason")
    elif fact.says_why:
        named.append("reason")
    legs = "; ".join(_leg(leg) for leg in fact.legs) or ("its entries, swapped" if fact.by_operator else "nothing")
    kind, key = (f"`{said}`" if said else "-" for said in (fact.kind, fact.key))
    return f"| {fact.name} | {kind} | {key} | {legs} | {', '.join(named) or '-'} |\n"


def page() -> str:
    """The page's text."""
    facts = "".join(_fact(fact) for fact in FACTS)
    amounts = "".join(f"| {name} | {meaning} |\n" for name, meaning in AMOUNTS.items())
    return _HEAD + _FACTS_HEAD + facts + _AMOUNTS_HEAD + amounts


if __name__ == "__main__":
    PAGE.write_text(page())
