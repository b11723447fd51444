"""What is credited for money that came: one rule, by which rests and top-ups go alike."""

from __future__ import annotations

import dataclasses

import pytest

from lib.domain import bookings
from lib.domain.bookings import PayableOrder
from lib.domain.postings import amounts

STARS = PayableOrder(1, 2, "top_up", "", 0, 201, 201, "XTR", 25_001, "open")


@pytest.mark.parametrize(("came", "credited"), [(0, 0), (1, 124), (200, 24_876), (201, 25_001), (402, 50_002)])
def test_it_is_rounded_down_to_the_kopeck(came: int, credited: int) -> None:
    assert amounts.credited(came, value=25_001, price=201) == credited


@pytest.mark.parametrize("said", [(-1, 1, 1), (1, -1, 1), (1, 1, 0), (1, 1, -1)])
def test_less_than_nothing_is_not_credited(said: tuple[int, int, int]) -> None:
    came, value, price = said
    with pytest.raises(ValueError, match="credited at the value"):
        amounts.credited(came, value=value, price=price)


def test_rests_and_top_ups_go_by_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of an order whose price is rounded: the rest beyond 201 Stars, and all of what came for a top-up."""
    assert bookings.rest(STARS, 301, "RUB").minor == bookings.credited(STARS, 100) == 12_438
    assert bookings.rest(STARS, 200, "RUB").minor == 0
    with pytest.raises(ValueError, match="credited at the value"):
        bookings.rest(dataclasses.replace(STARS, price=0), 1, "RUB")
    monkeypatch.setattr(amounts, "credited", lambda came, *, value, price: came + value + price)
    assert bookings.rest(STARS, 301, "RUB").minor == bookings.credited(STARS, 100) == 100 + 25_001 + 201
