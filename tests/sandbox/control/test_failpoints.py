"""Which places there are, and what becomes of an armed one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sandbox.system.failpoints import BadActionError, Failpoints, places

_ROOT = Path(__file__).resolve().parents[3]


def test_every_place_that_a_page_or_a_test_names_is_found_in_the_source() -> None:
    page = (_ROOT / "docs" / "architecture.md").read_text()
    named = set(re.findall(r"`((?:update|trial|notify|outbox)\.(?:after|before|mid)-[a-z]+)`", page))
    for test in (_ROOT / "tests" / "e2e").rglob("*.py"):
        named |= set(re.findall(r'\.arm\("([^"]+)"', test.read_text()))
    in_three_places = {
        f"{operation}.{point}"
        for operation in ("activation", "expiry")
        for point in ("before-claim", "after-claim", "mid-transaction", "after-call", "after-commit")
    }
    around_commit = {
        f"{name}.{side}" for name in ("receive", "record", "expire") for side in ("before-commit", "in-commit")
    }
    assert len(named) >= 8
    assert named | in_three_places | around_commit <= places().keys()


def test_an_armed_place_is_listed_until_a_process_takes_its_file(tmp_path: Path) -> None:
    failpoints = Failpoints(tmp_path)
    failpoints.arm("settle.after-claim", "sleep 2.5")
    failpoints.arm("receive.in-commit")
    assert failpoints.armed() == {"receive.in-commit": "kill", "settle.after-claim": "sleep 2.5"}
    (tmp_path / "receive.in-commit").unlink()
    failpoints.look()
    assert [one.place for one in failpoints.fired] == ["receive.in-commit"]
    failpoints.disarm("settle.after-claim")
    failpoints.look()
    assert failpoints.armed() == {}
    assert len(failpoints.fired) == 1  # what was taken back has not fired


def test_arming_again_does_not_hide_that_it_has_fired(tmp_path: Path) -> None:
    failpoints = Failpoints(tmp_path)
    for _ in range(2):
        failpoints.arm("settle.after-claim", "raise")
        (tmp_path / "settle.after-claim").unlink()
    failpoints.look()
    assert len(failpoints.fired) == 2


@pytest.mark.parametrize("action", ["", "sleep", "sleep 601", "sleep -1", "kill all", "exec ls"])
def test_no_other_action_is_armed(tmp_path: Path, action: str) -> None:
    with pytest.raises(BadActionError):
        Failpoints(tmp_path).arm("settle.after-claim", action)
    assert list(tmp_path.iterdir()) == []
