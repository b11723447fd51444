"""An amount of money as the words of an operator's command say it."""

from __future__ import annotations

import re
from decimal import Decimal

from lib import currencies
from lib.domain.postings import Amount

_MONEY = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,18})?) ([A-Z0-9]{2,12})", re.ASCII)


def read(text: str) -> Amount:
    """Such as `148.50 RUB`, in minor units of the books.

    Raises:
        ValueError: not an amount above zero, of a currency that is known, in its minor units.
    """
    match = _MONEY.fullmatch(text)
    known = currencies.ALL.get(match[2]) if match else None
    if match is None or known is None:
        raise ValueError("must be an amount and a currency that Atlas knows, such as 148.50 RUB")
    minor = Decimal(match[1]).scaleb(known.digits)
    if minor != minor.to_integral_value() or minor <= 0:
        raise ValueError(f"must be above zero, with at most {known.digits} digits after the point")
    return Amount(int(minor), known.code)
