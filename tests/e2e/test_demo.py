"""`make demo` holds, and turns red when something it tells of is broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from sandbox.commands import demo
from sandbox.commands.money_story import MoneyStory
from sandbox.commands.teller import Teller

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractAsyncContextManager

_ROOT = Path(__file__).resolve().parents[2]
_STEPS = 38


@pytest.fixture
def folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="atlas-demo-test-", dir="/var/tmp"))
    made.chmod(0o711)
    yield made
    shutil.rmtree(made)


@pytest.mark.proves("N-20")
def test_the_whole_customer_life_holds(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-m", "sandbox", "demo"],
        cwd=_ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=580,
        env=os.environ | {"TMPDIR": str(tmp_path)},
    )
    assert told.returncode == 0, told.stdout + told.stderr
    assert told.stdout.count("    ok ") == _STEPS
    assert "FAILED" not in told.stdout
    assert "\x1b" not in told.stdout  # no colours into a pipe
    assert list(tmp_path.glob("atlas-demo-*")) == []


@pytest.mark.parametrize(
    ("settings", "step"),
    [
        # Atlas signs and asks with another token than Crypto Pay knows.
        ({"CRYPTOPAY_TOKEN": "31337:another-one-than-it-knows"}, "Anna picks a tariff"),
        # Nodes refuse Atlas: no key comes.
        (
            {"XRAY_API_KEY": "another-key", "NODE_MASTER_KEYS": "another-master-key-of-32-characters"},
            "Boris takes the free trial",
        ),
    ],
)
async def test_a_broken_part_turns_it_red(
    folder: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    settings: dict[str, str],
    step: str,
) -> None:
    begins = Teller.step

    def begin(teller: Teller, what: str) -> AbstractAsyncContextManager[list[str]]:
        if what.startswith(step):  # what is broken never comes; the steps before have all the time of a slow machine
            monkeypatch.setattr("sandbox.system.customer.ANSWER_S", 4.0)
            monkeypatch.setattr("sandbox.system.customer.APPLIED_S", 4.0)
        return begins(teller, what)

    monkeypatch.setattr(Teller, "step", begin)
    assert await demo.tell(folder, 1, settings) == 1
    told = capsys.readouterr().out
    assert f"This step did not hold: {step}" in told
    assert f"Logs: {folder / 'logs'}" in told


@pytest.mark.full  # the whole story once more; that the comparison itself sees it is tests/integration/payments/test_reconciling.py
async def test_a_provider_that_holds_a_last_digit_less_than_the_books_say_turns_it_red(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tells = MoneyStory.tell

    async def tell(self: MoneyStory) -> None:
        await tells(self)
        self._system.cryptopay.faults.change(balance_off=-1)

    monkeypatch.setattr(MoneyStory, "tell", tell)
    assert await demo.tell(folder, 1) == 1
    told = capsys.readouterr().out
    assert "This step did not hold: the books say what the providers say" in told
    assert "'state': 'balance'" in told
