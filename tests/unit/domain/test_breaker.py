"""N-15, and what else an outcome makes of a node's breaker, without a database."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from lib.domain import breaker as breakers
from lib.domain.breaker import Breaker, Call

_T = datetime(2030, 1, 1, tzinfo=UTC)
CLOSED = breakers.closed()
_ME, _OTHER = UUID(int=1), UUID(int=2)


def fail(breaker: Breaker, attempts: int, at: float = 0, claim: UUID = _ME) -> Breaker:
    return breakers.after(breaker, Call(claim, answered=False, failed=attempts), _T + timedelta(seconds=at))


def probing(breaker: Breaker, claim: UUID = _ME) -> Breaker:
    return Breaker(breaker.failures, breaker.open_since, breaker.open_until, claim, breaker.lost_since)


def waits(breaker: Breaker, at: float) -> float:
    assert breaker.open_until is not None
    return (breaker.open_until - _T).total_seconds() - at


@pytest.mark.proves("N-15")
def test_it_opens_after_five_failed_attempts_in_a_row_and_a_success_begins_the_count_anew() -> None:
    almost = fail(fail(CLOSED, 3), 1)
    assert (almost.failures, almost.open_since) == (4, None)
    assert breakers.after(almost, Call(_OTHER, answered=True), _T) == CLOSED
    assert fail(breakers.after(almost, Call(_OTHER, answered=True), _T), 4).open_since is None
    opened = fail(almost, 1)
    assert (opened.open_since, waits(opened, 0)) == (_T, 5)
    assert breakers.turned(almost, opened) == "opened"


@pytest.mark.proves("N-15")
def test_its_probes_wait_twice_as_long_each_up_to_a_minute_and_the_first_good_one_closes_it() -> None:
    breaker, at, seen = fail(CLOSED, 6), 0.0, []
    for _ in range(7):
        seen.append(waits(breaker, at))
        at += seen[-1]
        breaker = fail(probing(breaker), 1, at)
    assert seen == [5, 10, 20, 40, 60, 60, 60]
    assert breakers.after(probing(breaker), Call(_ME, answered=True), _T) == CLOSED


@pytest.mark.proves("N-15")
def test_a_call_that_is_no_probe_fails_without_a_say_and_succeeds_with_one() -> None:
    opened = probing(fail(CLOSED, 5), _OTHER)
    assert fail(opened, 3, 4) == opened
    assert breakers.after(opened, Call(_ME, answered=True), _T) == CLOSED


def test_what_is_no_word_on_whether_it_can_be_reached_neither_opens_nor_closes_it() -> None:
    refused = Call(_ME, answered=False)
    assert breakers.after(fail(CLOSED, 4), refused, _T) == fail(CLOSED, 4)
    opened = fail(CLOSED, 5)
    still = breakers.after(probing(opened), refused, _T + timedelta(seconds=5))
    assert (still.failures, still.probing_by, waits(still, 5)) == (opened.failures, None, 5)


@pytest.mark.proves("N-41.lost")
def test_it_is_lost_after_three_failed_probes_and_three_minutes_and_not_before_both() -> None:
    breaker = fail(CLOSED, 5)
    for at in (5, 15, 35, 75, 135):
        breaker = fail(probing(breaker), 1, at)
        assert breaker.lost_since is None
    lost = fail(probing(breaker), 1, 180)
    assert lost.lost_since == _T + timedelta(seconds=180)
    assert breakers.turned(breaker, lost) == "lost"
    assert fail(probing(lost), 1, 240).lost_since == lost.lost_since
    seldom = fail(probing(fail(probing(fail(CLOSED, 5)), 1, 200)), 1, 400)
    assert seldom.lost_since is None
    assert fail(probing(seldom), 1, 401).lost_since is not None


@pytest.mark.proves("N-41.back")
def test_it_is_back_at_the_first_good_probe() -> None:
    lost = Breaker(9, _T, _T, _ME, _T)
    assert breakers.turned(lost, breakers.after(lost, Call(_ME, answered=True), _T)) == "back"
    assert breakers.after(lost, Call(_ME, answered=False), _T).lost_since == _T
