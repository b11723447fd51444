"""`python -m sandbox run`: starts everything, is attended from outside, leaves nothing."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import httpx

from lib import function_table
from tests.e2e.running import GONE_S, NOTHING_GIVEN, run, running

if TYPE_CHECKING:
    from pathlib import Path


def test_a_run_is_attended_from_outside_and_ctrl_c_leaves_no_process(home: Path, tmp_path: Path) -> None:
    with running(home, tmp_path / "out") as runner:
        names = {" ".join(process.cmdline()) for process in runner.started if process.is_running()}
        for target in function_table.load().functions:
            assert any(f"functions-framework --target {target} --port" in name for name in names)
        assert any("xray.startFromJSON" in name for name in names)
        assert any(name.endswith("-m xray_api") for name in names)

        state = httpx.get(f"{runner.url}/state", trust_env=False, timeout=60).json()
        assert state["database"] == "up"
        assert state["violations"] == []
        assert httpx.get(f"{runner.url}/", trust_env=False).text.startswith("<!doctype html>")

        sweep = run(home, "sweep", "expiry")
        assert sweep.returncode == 0
        assert '"sweep": "expiry"' in sweep.stdout
        unknown = run(home, "sweep", "dust")
        assert unknown.returncode == 2
        assert "expiry" in unknown.stderr

        second = run(home, "run", "--no-browser", *NOTHING_GIVEN)
        assert second.returncode == 2
        assert runner.url in second.stdout
        refused = run(home, "reset")
        assert refused.returncode == 2
        assert (home / "home.json").exists()

        runner.process.send_signal(signal.SIGINT)
        assert runner.process.wait(GONE_S) == 0
        runner.assert_nothing_left()
    assert "Stopped." in runner.output.read_text()
    assert run(home, "sweep", "expiry").returncode == 2  # nothing is up any more
    assert run(home, "reset").returncode == 0
    assert not home.exists()
    home.mkdir()


def test_wrong_settings_are_all_named_before_anything_starts(home: Path) -> None:
    answer = run(
        home,
        "run",
        "--no-browser",
        *NOTHING_GIVEN,
        DISPLAY_TZ="Mars/Base",
        LOG_LEVEL="LOUD",
        TARIFFS_PATH="/nowhere.toml",
    )
    assert answer.returncode == 2
    for name in ("DISPLAY_TZ", "LOG_LEVEL", "TARIFFS_PATH"):
        assert name in answer.stdout
    assert not (home / "postgres" / "postgres.log").exists()
