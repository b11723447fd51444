"""Metrics over recorded log lines, and the alerts made of them."""

from __future__ import annotations

import ast
import io
import json
import logging
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from lib import function_table, log
from lib.sweeps import runner
from tests.terraform.log_filter import Entry, UnknownSyntaxError, compiled

if TYPE_CHECKING:
    from lib.db import Database
    from lib.db.lock import SweepLock
    from tests.terraform.planned import Plan, Values

ROOT = Path(__file__).resolve().parents[2]
RECORDED = [json.loads(line) for line in (Path(__file__).parent / "recorded/lines.jsonl").read_text().splitlines()]
FUNCTIONS = function_table.load().functions
SWEEPS = [name.removeprefix("sweep_") for name, row in FUNCTIONS.items() if row.trigger == "schedule"]
MINUTE = 60


def _entry(line: dict[str, Any]) -> Entry:
    """As Cloud Run makes it of a JSON line on stdout: severity and time are the entry's own."""
    payload = {key: value for key, value in line.items() if key not in {"severity", "time"}}
    service = line["function"].replace("_", "-")
    return {
        "severity": line["severity"],
        "logName": "projects/p/logs/run.googleapis.com%2Fstdout",
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": service}},
        "jsonPayload": payload,
    }


def _metric(plan: Plan, name: str) -> Values:
    return next(metric for metric in plan.of("google_logging_metric").values() if metric["name"] == name)


def _sweep_policy(plan: Plan, sweep: str) -> Values:
    return plan.of("google_monitoring_alert_policy")[
        f'module.platform.google_monitoring_alert_policy.sweep["sweep_{sweep}"]'
    ]


def _counted(plan: Plan, policy: Values, lines: list[tuple[int, dict[str, Any]]]) -> list[int]:
    """Seconds at which the metric of a policy's conditions counted a line, its label filter included."""
    condition = policy["conditions"][1]["condition_absent"][0]
    assert condition["filter"] == policy["conditions"][0]["condition_threshold"][0]["filter"]
    name, label = re.fullmatch(
        r'metric\.type="logging\.googleapis\.com/user/(\w+)" AND resource\.type="cloud_run_revision" AND metric\.labels\.sweep="(\w+)"',
        condition["filter"],
    ).groups()  # type: ignore[union-attr] # a filter of another form fails the test here
    metric = _metric(plan, name)
    assert metric["label_extractors"] == {"sweep": "EXTRACT(jsonPayload.sweep)"}
    matches = compiled(metric["filter"])
    return [at for at, line in lines if matches(_entry(line)) and _entry(line)["jsonPayload"]["sweep"] == label]


def _fires_at(plan: Plan, sweep: str, lines: list[tuple[int, dict[str, Any]]], until: int) -> int | None:
    """When a policy opens an incident: no line for as long as its absence condition says. Looked at once a minute.

    The other condition, a number of successes below 1, needs a series to compare and is not counted on here.
    """
    policy = _sweep_policy(plan, sweep)
    counted = _counted(plan, policy, lines)
    window = int(policy["conditions"][1]["condition_absent"][0]["duration"].removesuffix("s"))
    for now in range(window, until + 1, MINUTE):
        if not any(now - window < at <= now for at in counted):
            return now
    return None


def _timeline(until: int, *, silent: str = "", since: int = 0, broken: str = "") -> list[tuple[int, dict[str, Any]]]:
    """The recorded ends, once a minute; one sweep falls silent, or one goes on but fails."""
    ends = {line["sweep"]: line for line in RECORDED if line["event"] == "sweep_end"}
    return [
        (at, line | {"outcome": "timed_out", "severity": "ERROR"} if sweep == broken and at >= since else line)
        for at in range(0, until + 1, MINUTE)
        for sweep, line in ends.items()
        if not (sweep == silent and at >= since)
    ]


@pytest.mark.proves("S2-2c")
@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_missing_sweep_end_fires_that_sweeps_alert_and_no_other(plan: Plan, sweep: str) -> None:
    lines = _timeline(60 * MINUTE, silent=sweep, since=20 * MINUTE)
    fired = {other: _fires_at(plan, other, lines, 60 * MINUTE) for other in SWEEPS}
    period = MINUTE
    assert fired.pop(sweep) in range(20 * MINUTE, 20 * MINUTE + 5 * period + 1)
    assert fired == dict.fromkeys(fired)


@pytest.mark.proves("S2-2c")
@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_that_ends_but_never_well_fires_too(plan: Plan, sweep: str) -> None:
    lines = _timeline(60 * MINUTE, broken=sweep, since=20 * MINUTE)
    assert _fires_at(plan, sweep, lines, 60 * MINUTE) is not None


@pytest.mark.proves("S2-2c")
def test_no_alert_while_every_sweep_ends_well_and_one_when_none_ever_ran(plan: Plan) -> None:
    lines = _timeline(60 * MINUTE)
    assert [_fires_at(plan, sweep, lines, 60 * MINUTE) for sweep in SWEEPS] == [None] * len(SWEEPS)
    assert all(_fires_at(plan, sweep, [], 60 * MINUTE) is not None for sweep in SWEEPS)


@pytest.mark.proves("S2-2c")
async def test_recorded_lines_are_what_the_code_logs_now() -> None:
    class NoDatabase:
        async def run(self, *_: object) -> None:
            return None

    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.setFormatter(log._JsonLine())
    logger = logging.getLogger("atlas")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        run = runner.Run(cast("Database", NoDatabase()), "expiry", "tick", 0, cast("SweepLock", None))
        await runner._end(run, "done", None)
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
    now = json.loads(written.getvalue())
    before = next(line for line in RECORDED if line["event"] == "sweep_end" and line["sweep"] == "expiry")
    assert now.keys() == before.keys()
    assert {key: now[key] for key in ("event", "sweep", "outcome", "severity")} == {
        key: before[key] for key in ("event", "sweep", "outcome", "severity")
    }


@pytest.mark.parametrize(
    ("metric", "event", "count"),
    [
        ("atlas_sweep_done", "sweep_end", 8),
        ("atlas_sweep_not_done", "sweep_end", 0),
        ("atlas_no_database", "sweep_no_database", 4),
        ("atlas_webhook_refused", "telegram_webhook_bad_secret", 1),
        ("atlas_webhook_refused", "cryptobot_webhook_bad_signature", 1),
    ],
)
def test_metrics_count_recorded_lines(plan: Plan, metric: str, event: str, count: int) -> None:
    matches = compiled(_metric(plan, metric)["filter"])
    assert sum(matches(_entry(line)) for line in RECORDED if line["event"] == event) == count
    skipped = [line for line in RECORDED if line["event"] == "sweep_skipped"]
    assert skipped
    assert not any(matches(_entry(line)) for line in skipped)


def _made_up(event: str, severity: str = "ERROR", **fields: object) -> Entry:
    return _entry({"severity": severity, "time": "-", "event": event, "function": "task_provision", **fields})


@pytest.mark.parametrize(
    ("metric", "entry", "counts"),
    [
        ("payment_unmatched", _made_up("payment_unmatched", reason="amount"), True),
        ("payment_duplicate", _made_up("payment_duplicate"), True),
        ("payment_unmatched", _made_up("payment_duplicate"), False),
        ("payment_kept", _made_up("payment_kept"), True),
        ("payment_kept", _made_up("payment_settled", "INFO"), False),
        ("node_call_failed", _made_up("node_call_failed", "WARNING", node="n1"), True),
        ("node_call_refused", _made_up("node_call_failed", "WARNING", node="n1"), False),
        ("node_call_refused", _made_up("node_call_failed", "ERROR", node="n1"), True),
        ("paid_not_applied", _made_up("paid_not_applied", "ERROR", count=1, oldest_s=61), True),
        ("paid_not_applied", _made_up("sweep_end", "INFO", sweep="activation", outcome="done", failed=1), False),
        ("update_given_up", _made_up("update_given_up"), True),
        ("misconfigured", _made_up("cryptobot_webhook_unconfigured"), True),
        ("task_failed", _made_up("task_poisoned"), True),
    ],
)
def test_metrics_count_what_they_are_for(plan: Plan, metric: str, entry: Entry, *, counts: bool) -> None:
    assert compiled(_metric(plan, f"atlas_{metric}")["filter"])(entry) is counts


def _logged_events() -> set[str]:
    """Every word in the code that a call of the log names; of `payment_{outcome}` each outcome."""
    found = {f"payment_{outcome}" for outcome in ("unmatched", "kept", "settled", "repeated", "duplicate")}
    for path in [*ROOT.glob("lib/**/*.py"), *ROOT.glob("functions/**/*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.Constant)
                and isinstance(node.value, str)
                and re.fullmatch(r"[a-z]+(_[a-z]+)+", node.value)
            ):
                found.add(node.value)
    return found


def test_every_event_that_a_metric_counts_is_logged_by_the_code(plan: Plan) -> None:
    filters = " ".join(metric["filter"] for metric in plan.of("google_logging_metric").values())
    named = set(re.findall(r'jsonPayload\.event="(\w+)"', filters))
    assert named
    assert named <= _logged_events()
    for suffix in re.findall(r'jsonPayload\.event=~"(\w+)\$"', filters):
        assert any(event.endswith(suffix) for event in _logged_events())


def test_every_policy_looks_at_a_metric_that_is_there(plan: Plan) -> None:
    there = {metric["name"] for metric in plan.of("google_logging_metric").values()}
    text = json.dumps([policy["conditions"] for policy in plan.of("google_monitoring_alert_policy").values()])
    used = set(re.findall(r"logging\.googleapis\.com/user/(\w+)", text))
    assert used <= there
    dashboard = json.dumps([page["dashboard_json"] for page in plan.of("google_monitoring_dashboard").values()])
    assert set(re.findall(r"logging\.googleapis\.com/user/(\w+)", dashboard)) <= there


@pytest.mark.parametrize("target", FUNCTIONS)
def test_every_function_has_an_alert(plan: Plan, target: str) -> None:
    policies = plan.of("google_monitoring_alert_policy")
    errors = policies[f'module.platform.google_monitoring_alert_policy.function_errors["{target}"]']
    assert FUNCTIONS[target].service in json.dumps(errors["conditions"])
    if FUNCTIONS[target].trigger == "schedule":
        silence = _sweep_policy(plan, target.removeprefix("sweep_"))
        assert silence["combiner"] == "OR"
        assert [bool(one["condition_threshold"]) for one in silence["conditions"]] == [True, False]
    if queue := FUNCTIONS[target].queue:
        assert f'module.platform.google_monitoring_alert_policy.queue_age["{queue}"]' in policies


def test_every_alert_reaches_an_operator_and_links_a_page_that_is_there(plan: Plan) -> None:
    for address, policy in plan.of("google_monitoring_alert_policy").items():
        links = [link["url"] for link in policy["documentation"][0]["links"]]
        assert len(links) == 1, address
        assert links[0].startswith("https://example.org/runbooks/")
        assert links[0] in policy["documentation"][0]["content"]
        assert (ROOT / "docs/runbooks" / links[0].rpartition("/")[2]).is_file(), address
    expected = len(plan.of("google_monitoring_notification_channel"))
    assert expected == 1


@pytest.mark.parametrize("service", ["subscription-feed", "connect-page"])
def test_requests_with_a_token_in_the_path_are_not_kept(plan: Plan, service: str) -> None:
    excluded = compiled(next(iter(plan.of("google_logging_project_exclusion").values()))["filter"])
    request: Entry = {
        "logName": "projects/p/logs/run.googleapis.com%2Frequests",
        "resource": {"type": "cloud_run_revision", "labels": {"service_name": service}},
    }
    assert excluded(request)
    assert not excluded(request | {"logName": "projects/p/logs/run.googleapis.com%2Fstdout"})
    assert not excluded(
        request | {"resource": {"type": "cloud_run_revision", "labels": {"service_name": "telegram-webhook"}}}
    )


@pytest.mark.parametrize(
    "text", ['jsonPayload.event:"part"', 'jsonPayload.event="a', 'jsonPayload.event="a" extra', "(", 'a<"b"']
)
def test_the_evaluator_refuses_what_it_does_not_know(text: str) -> None:
    with pytest.raises(UnknownSyntaxError):
        compiled(text)


def test_the_evaluator_binds_or_tighter_than_and() -> None:
    mixed = compiled('a="1" AND b="2" OR c="3"')
    assert mixed({"a": "1", "c": "3"})
    assert not mixed({"c": "3"})
