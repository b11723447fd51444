from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bench.figures import Row, Series, paired_ratio
from bench.launch import Question, UselessAnswerError, cold_start
from bench.places import PROGRAMS, scratch
from sandbox.processes.child import Process, bare_environment
from sandbox.state.home import Home


def test_a_pair_that_was_disturbed_together_keeps_its_ratio() -> None:
    quiet, disturbed = (
        paired_ratio(Series.of([2.0, 2.0]), Series.of([1.0, 1.0])),
        paired_ratio(Series.of([2.0, 20.0]), Series.of([1.0, 10.0])),
    )
    assert quiet.median == disturbed.median == 2.0
    with pytest.raises(ValueError, match="zip"):
        paired_ratio(Series.of([1.0, 2.0]), Series.of([1.0]))


def test_percentiles_lie_inside_the_series() -> None:
    series = Series.of([float(number) for number in range(101)])
    assert (series.median, series.percentile(99)) == (50.0, 99.0)
    assert Series.of([3.0]).percentile(99) == 3.0


@pytest.mark.parametrize(
    ("row", "met"),
    [
        (Row("P", "w", 1, "ms", ratio=4.0, limit=4.0), True),
        (Row("P", "w", 1, "ms", ratio=4.1, limit=4.0), False),
        (Row("P", "w", 53, "/s", ratio=1.0, limit=52, quantity="value", relation=">"), True),
        (Row("P", "w", 52, "/s", ratio=9.0, limit=52, quantity="value", relation=">"), False),
        (Row("P", "w", 1, "/s", ratio=1.0, limit=1.0, relation="≥"), True),
        (Row("P", "w", 1, "/s", ratio=0.99, limit=1.0, relation="≥"), False),
        (Row("", "w", 1, "ms"), None),
    ],
)
def test_a_target_is_met_or_not(row: Row, *, met: bool | None) -> None:
    assert row.met is met


async def test_a_wrong_answer_is_no_first_answer() -> None:
    asked = 0

    async def question() -> Question:
        nonlocal asked
        asked += 1
        return Question("GET", lambda body: b"settled" in body)

    with scratch() as folder:
        home = Home(folder)
        port = home.port("empty")
        process = Process(
            [_framework(), "--target", "empty", "--port", str(port)],
            cwd=PROGRAMS / "empty",
            env=bare_environment({"HOST": "127.0.0.1"}),
            log=home.logs / "empty.log",
            port=port,
        )
        with pytest.raises(UselessAnswerError, match="200"):
            await cold_start(process, question)
        assert not process.running
    assert asked == 3  # each time another question: what was asked may have been kept


def _framework() -> str:
    return str(Path(sys.executable).with_name("functions-framework"))
