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
from tests.terraform import promql
from tests.terraform.conftest import PASSWORDS
from tests.terraform.log_filter import Entry, UnknownSyntaxError, compiled
from tests.terraform.promql import Sample

if TYPE_CHECKING:
    from lib.db import Database
    from lib.db.lock import SweepLock
    from tests.terraform.planned import Plan, Terraform, Values

ROOT = Path(__file__).resolve().parents[2]
RECORDED = [json.loads(line) for line in (Path(__file__).parent / "recorded/lines.jsonl").read_text().splitlines()]
FUNCTIONS = function_table.load().functions
MINUTE = 60
_OFTEN_S = 15 * MINUTE
PERIODS_S = {
    function_table.sweep_name(name): row.period_s or 0 for name, row in FUNCTIONS.items() if row.trigger == "schedule"
}
SWEEPS = [name for name, period_s in PERIODS_S.items() if period_s <= _OFTEN_S]
"""Those that an hour tells of; daily ones have an alert of their own."""
HOURLY = {name for name, period_s in PERIODS_S.items() if _OFTEN_S < period_s <= 60 * MINUTE}
DAILY = PERIODS_S.keys() - SWEEPS - HOURLY


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


def _policies(plan: Plan, kind: str) -> dict[str, Values]:
    """Policies of one of the three kinds, by key."""
    prefix = f'module.platform.google_monitoring_alert_policy.{kind}["'
    every = plan.of("google_monitoring_alert_policy")
    return {
        address.removeprefix(prefix).rstrip('"]'): one for address, one in every.items() if address.startswith(prefix)
    }


def _query(policy: Values) -> tuple[str, float]:
    """The one question of a policy, and for how many seconds its answer must stand."""
    (condition,) = policy["conditions"]
    (asked,) = condition["condition_prometheus_query_language"]
    assert asked["disable_metric_validation"], "refused while no line of it was ever counted"
    return asked["query"], float(asked["duration"].removesuffix("s"))


def _figures(plan: Plan, lines: list[tuple[int, dict[str, Any]]]) -> list[Sample]:
    """What the log metrics make of lines, under the names that queries call them by."""
    found = []
    for metric in plan.of("google_logging_metric").values():
        matches, extracted = compiled(metric["filter"]), metric["label_extractors"] or {}
        for at, line in lines:
            entry = _entry(line)
            if matches(entry):
                labels = {label: str(_extracted(entry, how)) for label, how in extracted.items()}
                labels |= {"monitored_resource": entry["resource"]["type"], **entry["resource"]["labels"]}
                found.append(Sample(f"logging_googleapis_com:user_{metric['name']}", frozenset(labels.items()), at))
    return found


def _extracted(entry: Entry, how: str) -> object:
    found: Any = entry
    for part in re.fullmatch(r"EXTRACT\(([\w.]+)\)", how)[1].split("."):  # type: ignore[index] # another form fails here
        found = found[part]
    return found


def _fires_at(plan: Plan, lines: list[tuple[int, dict[str, Any]]], until: int) -> dict[str, float]:
    """When an incident opens for each sweep that has one."""
    query, for_s = _query(_policies(plan, "query")["silence_sweeps"])
    fired = promql.fires_at(query, for_s, _figures(plan, lines), until)
    return {dict(labels)["sweep"]: at for labels, at in fired.items()}


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
    fired = _fires_at(plan, _timeline(60 * MINUTE, silent=sweep, since=20 * MINUTE), 60 * MINUTE)
    assert fired.keys() == {sweep}
    assert 20 * MINUTE < fired[sweep] <= 20 * MINUTE + max(5 * MINUTE, 3 * PERIODS_S[sweep] + 3 * MINUTE)


@pytest.mark.proves("S2-2c")
@pytest.mark.parametrize("sweep", SWEEPS)
def test_a_sweep_that_ends_but_never_well_fires_too(plan: Plan, sweep: str) -> None:
    lines = _timeline(60 * MINUTE, broken=sweep, since=20 * MINUTE)
    assert _fires_at(plan, lines, 60 * MINUTE).keys() == {sweep}


@pytest.mark.proves("S2-2c")
def test_no_alert_while_every_sweep_ends_well_and_one_for_each_when_none_ever_ran(plan: Plan) -> None:
    assert _fires_at(plan, _timeline(60 * MINUTE), 60 * MINUTE) == {}
    assert _fires_at(plan, [], 60 * MINUTE) == dict.fromkeys(SWEEPS, 2 * MINUTE)


def test_a_series_that_goes_on_with_zeros_is_silence_as_well(plan: Plan) -> None:
    query, for_s = _query(_policies(plan, "query")["silence_sweeps"])
    ends = [Sample(one.name, one.labels, one.at, value=0.0) for one in _figures(plan, _timeline(20 * MINUTE))]
    fired = promql.fires_at(query, for_s, ends, 20 * MINUTE)
    assert {dict(labels)["sweep"] for labels in fired} == set(SWEEPS)


def test_a_daily_sweep_is_waited_for_a_day_and_an_hour(platform: Terraform, tmp_path: Path) -> None:
    table = json.loads((ROOT / "functions/table.json").read_text())
    table["functions"]["sweep_expiry"]["schedule"] = "30 3 * * *"
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table))
    (change,) = [
        one["change"]["after"]
        for one in platform.plan(variables={"table_path": str(path)}).raw["resource_changes"]
        if one["address"] == 'google_monitoring_alert_policy.query["silence_daily"]'
    ]
    query, for_s = _query(change)
    day = 24 * 60 * MINUTE
    name = "logging_googleapis_com:user_atlas_sweep_done"
    labels = frozenset({"monitored_resource": "cloud_run_revision", "sweep": "expiry"}.items())
    late = [Sample(name, labels, at * day + at * 20 * MINUTE) for at in range(3)]
    fired = promql.fires_at(query, for_s, late, 5 * day)
    assert [at for labels, at in fired.items() if ("sweep", "expiry") in labels] == [3 * day + 100 * MINUTE]


def test_an_hourly_sweep_that_a_release_brings_wakes_no_one_before_its_first_tick(
    platform: Terraform, tmp_path: Path
) -> None:
    table = json.loads((ROOT / "functions/table.json").read_text())
    table["functions"]["sweep_expiry"]["schedule"] = "7 * * * *"
    path = tmp_path / "table.json"
    path.write_text(json.dumps(table))
    (change,) = [
        one["change"]["after"]
        for one in platform.plan(variables={"table_path": str(path)}).raw["resource_changes"]
        if one["address"] == 'google_monitoring_alert_policy.query["silence_every_3600"]'
    ]
    query, for_s = _query(change)
    hour = 60 * MINUTE
    name = "logging_googleapis_com:user_atlas_sweep_done"
    labels = frozenset({"monitored_resource": "cloud_run_revision", "sweep": "expiry"}.items())
    # made just after a tick, so that its first one is an hour away, and its line comes a minute later
    ends = [Sample(name, labels, at * hour + MINUTE) for at in range(1, 9)]
    assert {dict(labels)["sweep"] for labels in promql.fires_at(query, for_s, ends, 8 * hour)} == HOURLY
    fired = {
        labels: at
        for labels, at in promql.fires_at(query, for_s, ends[:2], 8 * hour).items()
        if ("sweep", "expiry") in labels
    }
    assert min(fired.values()) <= 2 * hour + MINUTE + 3 * hour + 2 * MINUTE
    assert promql.fires_at(query, for_s, [], 8 * hour) != {}  # it never came


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
        run = runner.Run(cast("Database", NoDatabase()), "expiry", "tick", {}, cast("SweepLock", None))
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
        ("atlas_sweep_done", "sweep_end", 14),
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


@pytest.mark.proves("S0-8")
@pytest.mark.parametrize(
    ("event", "policy", "metric"),
    [
        ("connections_short", "connections", "connections_short"),
        ("connection_waited", "connections", "connection_waited"),
        ("outbox_overdue", "outbox_overdue", "outbox_overdue"),
        ("telegram_deliveries_refused", "deliveries_refused", "deliveries_refused"),
        ("telegram_webhook_bad_secret", None, "webhook_refused"),
    ],
)
def test_recorded_lines_fire_the_alert_that_is_theirs_and_no_other(
    plan: Plan, event: str, policy: str | None, metric: str
) -> None:
    """As often as its threshold asks for, and not once less; on the lines of everything else it stays silent."""
    lines = [line for line in RECORDED if line["event"] == event]
    assert lines, "no such line was ever recorded"
    counts = {
        one["name"]: sum(compiled(one["filter"])(_entry(line)) for line in RECORDED if line["event"] == event)
        for one in plan.of("google_logging_metric").values()
    }
    assert {name for name, count in counts.items() if count} == {f"atlas_{metric}"}
    fired = {key for key in _policies(plan, "event") if _event_fires(plan, key, lines * 30)}
    assert fired == ({policy} if policy else set())
    if policy:
        (threshold,) = [
            one["threshold_value"] for one in _thresholds(plan, policy) if f'atlas_{metric}"' in one["filter"]
        ]
        enough = [lines[0]] * (int(threshold) + 1)
        assert _event_fires(plan, policy, enough)
        assert not _event_fires(plan, policy, enough[1:])


def _thresholds(plan: Plan, policy: str) -> list[Values]:
    return [one["condition_threshold"][0] for one in _policies(plan, "event")[policy]["conditions"]]


def _event_fires(plan: Plan, policy: str, lines: list[dict[str, Any]]) -> bool:
    """Whether a condition of a policy is met when all these lines come within its window, for one value of what it groups by."""
    for asked in _thresholds(plan, policy):
        name = re.search(r"/user/(\w+)", asked["filter"])[1]  # type: ignore[index] # as above
        metric = _metric(plan, name)
        groups: dict[tuple[str, ...], int] = {}
        for line in lines:
            if compiled(metric["filter"])(_entry(line)):
                by = [one.removeprefix("metric.labels.") for one in asked["aggregations"][0]["group_by_fields"] or []]
                group = tuple(str(_extracted(_entry(line), metric["label_extractors"][label])) for label in by)
                groups[group] = groups.get(group, 0) + 1
        if any(count > asked["threshold_value"] for count in groups.values()):
            return True
    return False


def test_who_read_a_secret_and_which_are_labels(plan: Plan) -> None:
    """As Google's audit log says it; an account of the project's own does it all the time and is not told."""
    metric = _metric(plan, "atlas_secret_read_by_hand")
    entry: Entry = {
        "resource": {"type": "audited_resource"},
        "protoPayload": {
            "methodName": "google.cloud.secretmanager.v1.SecretManagerService.AccessSecretVersion",
            "authenticationInfo": {"principalEmail": "anna@example.org"},
            "resourceName": "projects/1/secrets/telegram-bot-token/versions/3",
        },
    }
    assert compiled(metric["filter"])(entry)
    assert {label: _extracted(entry, how) for label, how in metric["label_extractors"].items()} == {
        "who": "anna@example.org",
        "which": "projects/1/secrets/telegram-bot-token/versions/3",
    }
    entry["protoPayload"]["authenticationInfo"]["principalEmail"] = "fn-x@atlas-prod-123456.iam.gserviceaccount.com"
    assert not compiled(metric["filter"])(entry)


def _made_up(event: str, severity: str = "ERROR", **fields: object) -> Entry:
    return _entry({"severity": severity, "time": "-", "event": event, "function": "task_provision", **fields})


@pytest.mark.parametrize(
    ("metric", "entry", "counts"),
    [
        ("payment_unmatched", _made_up("payment_unmatched", reason="amount"), True),
        ("payment_unmatched", _made_up("payment_duplicate"), True),
        ("payment_unmatched", _made_up("payment_second_debit"), True),
        ("payment_unmatched", _made_up("payment_settled", "INFO"), False),
        ("payment_kept", _made_up("payment_kept"), True),
        ("reconcile_orphan_clients", _made_up("reconcile_orphan_clients", count=101, most=100), True),
        ("reconcile_orphan_clients", _made_up("reconcile_breaker_open", node="n1"), True),
        ("reconcile_orphan_clients", _made_up("reconcile_orphan_found", "WARNING", node="n1", count=1), False),
        ("refund_not_made", _made_up("refund_overdue", provider="stars", count=1, oldest_s=601), True),
        ("refund_not_made", _made_up("refund_refused", refund_request_id=1), True),
        ("refund_not_made", _made_up("refund_waits", "WARNING", refund_request_id=1), False),
        ("books_differ", _made_up("books_differ", provider="cryptobot", new=1), True),
        ("books_differ", _made_up("books_compared", "INFO", provider="cryptobot"), False),
        ("invariant_violated", _made_up("invariant_violated", invariant="end_is_explained", key="1"), True),
        ("invariant_violated", _made_up("invariant_not_asked", invariant="end_is_explained"), True),
        ("invariant_violated", _made_up("everything_audited", "INFO", night="2026-11-30"), False),
        ("payment_kept", _made_up("payment_settled", "INFO"), False),
        ("node_call_failed", _made_up("node_call_failed", "WARNING", node="n1"), True),
        ("node_call_refused", _made_up("node_call_failed", "WARNING", node="n1"), False),
        ("node_call_refused", _made_up("node_call_failed", "ERROR", node="n1"), True),
        ("node_call_refused", _made_up("node_lost", "ERROR", node="n1"), True),
        ("node_call_refused", _made_up("node_back", "WARNING", node="n1"), False),
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
    used = set(re.findall(r"logging[._]googleapis[._]com(?:/user/|:user_)(\w+)", text))
    assert used <= there
    dashboard = json.dumps([page["dashboard_json"] for page in plan.of("google_monitoring_dashboard").values()])
    seen = set(re.findall(r"logging\.googleapis\.com/user/(\w+)", dashboard))
    assert seen <= there
    assert there <= used | seen, "counted, and neither shown nor an alert"


def test_what_a_policy_groups_by_is_a_label_of_its_metric(plan: Plan) -> None:
    metrics = {metric["name"]: metric for metric in plan.of("google_logging_metric").values()}
    for key, policy in _policies(plan, "event").items():
        for condition in policy["conditions"]:
            (asked,) = condition["condition_threshold"]
            metric = metrics[re.search(r"/user/(\w+)", asked["filter"])[1]]  # type: ignore[index] # as above
            labels = {label["key"] for label in metric["metric_descriptor"][0]["labels"]}
            grouped = {one.removeprefix("metric.labels.") for one in asked["aggregations"][0]["group_by_fields"] or []}
            assert grouped <= labels, key


@pytest.mark.parametrize("target", FUNCTIONS)
def test_every_function_has_an_alert(plan: Plan, target: str) -> None:
    row = FUNCTIONS[target]
    queries = _policies(plan, "query")
    public = row.trigger == "public"
    fired = promql.fires_at(
        *_query(queries["errors_public" if public else "errors_private"]), _answers(row.service, 3, 0), 300
    )
    assert [dict(labels)["service_name"] for labels in fired] == [row.service]
    others = queries["errors_private" if public else "errors_public"]
    assert not promql.fires_at(*_query(others), _answers(row.service, 3, 0), 300)
    if row.trigger == "schedule":
        name = function_table.sweep_name(target)
        group = "daily" if name in DAILY else "every_3600" if name in HOURLY else "sweeps"
        assert f'sweep="{name}"' in _query(queries[f"silence_{group}"])[0]


def _answers(service: str, errors: int, fine: int, code: str = "5xx") -> list[Sample]:
    """So many answers of a service, at one second."""
    name = "run_googleapis_com:request_count"
    labels = {"monitored_resource": "cloud_run_revision", "service_name": service}
    return [
        Sample(name, frozenset({**labels, "response_code_class": code}.items()), 60, value=errors),
        Sample(name, frozenset({**labels, "response_code_class": "2xx"}.items()), 60, value=fine),
    ]


@pytest.mark.parametrize(("errors", "fine", "fires"), [(2, 0, False), (3, 10, True), (3, 100, False), (30, 300, True)])
def test_a_function_that_answers_5xx_is_told_by_number_and_by_ratio(
    plan: Plan, errors: int, fine: int, *, fires: bool
) -> None:
    policy = _policies(plan, "query")["errors_public"]
    assert bool(promql.fires_at(*_query(policy), _answers("telegram-webhook", errors, fine), 300)) is fires


@pytest.mark.parametrize(
    ("service", "refused", "fires"),
    [
        ("telegram-webhook", 21, True),
        ("cryptobot-webhook", 21, True),
        ("telegram-webhook", 20, False),
        ("health", 99, False),
    ],
)
def test_refused_webhook_calls_are_told_by_the_platforms_answers(
    plan: Plan, service: str, refused: int, *, fires: bool
) -> None:
    policy = _policies(plan, "query")["webhook_refused"]
    assert bool(promql.fires_at(*_query(policy), _answers(service, refused, 0, "4xx"), 600)) is fires


@pytest.mark.parametrize(
    ("figure", "value", "fires"),
    [
        ("disk_utilization", 0.86, "disk"),
        ("cpu_utilization", 0.91, "cpu"),
        ("memory_utilization", 0.96, "memory"),
        ("cpu_utilization", 0.5, ""),
    ],
)
def test_the_databases_figures_are_told_one_by_one(plan: Plan, figure: str, value: float, fires: str) -> None:
    policy = _policies(plan, "query")["database_resources"]
    labels = {"monitored_resource": "cloudsql_database", "database_id": "atlas-prod-123456:atlas"}
    samples = [
        Sample(f"cloudsql_googleapis_com:database_{figure}", frozenset(labels.items()), at, value)
        for at in range(0, 600, 60)
    ]
    fired = promql.fires_at(*_query(policy), samples, 600)
    assert [dict(one)["of"] for one in fired] == ([fires] if fires else [])


def test_a_database_server_that_is_down_is_told(plan: Plan) -> None:
    policy = _policies(plan, "query")["database_down"]
    labels = frozenset({"monitored_resource": "cloudsql_database", "database_id": "atlas-prod-123456:atlas"}.items())
    up = [Sample("cloudsql_googleapis_com:database_up", labels, at, float(at < 300)) for at in range(0, 900, 60)]
    assert list(promql.fires_at(*_query(policy), up, 900).values()) == [420]


@pytest.mark.parametrize("code", ["401", "403", "404", "405", "PERMISSION_DENIED", "unauthenticated", "not_found"])
def test_a_refused_task_is_told(plan: Plan, code: str) -> None:
    assert re.fullmatch(_refused_codes(plan), code)


@pytest.mark.parametrize("code", ["200", "ok", "500", "503", "429", "unavailable", "deadline_exceeded"])
def test_a_task_that_fails_otherwise_is_no_refused_one(plan: Plan, code: str) -> None:
    assert not re.fullmatch(_refused_codes(plan), code)


def _refused_codes(plan: Plan) -> str:
    (asked,) = _policies(plan, "figure")["tasks_refused"]["conditions"][0]["condition_threshold"]
    return re.search(r'response_code=monitoring\.regex\.full_match\("(.+)"\)', asked["filter"])[1]  # type: ignore[index] # as above


def test_silent_sweeps_cost_one_condition_for_each_way_to_wait_and_none_for_a_sweep(plan: Plan) -> None:
    waits = {
        "sweeps" if 3 * one <= 30 * MINUTE else "daily" if 3 * one > 86400 else f"every_{one}"
        for one in PERIODS_S.values()
    }
    silences = [name for name in _policies(plan, "query") if name.startswith("silence_")]
    assert sorted(silences) == sorted(f"silence_{one}" for one in waits)
    assert len(silences) < len(PERIODS_S)


def test_there_are_about_thirty_conditions_and_only_the_urgent_page(plan: Plan) -> None:
    policies = plan.of("google_monitoring_alert_policy")
    assert sum(len(policy["conditions"]) for policy in policies.values()) <= 32
    paging = {address for address, policy in policies.items() if policy["severity"] == "CRITICAL"}
    assert {re.sub(r".*\.(\w+)(\[.*)?$", r"\1", one) for one in paging} == {"event", "query", "unreachable"}
    assert len(paging) == 7


def test_what_is_urgent_reaches_those_who_are_paged_and_nothing_else_does(prod: Terraform, values: Values) -> None:
    console = "projects/atlas-prod-123456/notificationChannels/42"
    prod_paging = prod.plan(
        variables={
            "paging_channels": ["night@example.org", console],
            "database_passwords": PASSWORDS,
            "database_password_version": 1,
        }
    )
    channels = prod_paging.of("google_monitoring_notification_channel")
    assert {one["labels"]["email_address"] for one in channels.values()} == {
        *values["alert_emails"],
        "night@example.org",
    }
    for address, configured in _configured_channels(prod_paging).items():
        severity = prod_paging.of("google_monitoring_alert_policy")[address]["severity"]
        assert (console in configured) is (severity == "CRITICAL"), address


def _configured_channels(plan: Plan) -> dict[str, list[str]]:
    """Channels of each policy, as far as the plan knows them: those made in the console."""
    return {
        one["address"]: [channel for channel in one["change"]["after"].get("notification_channels") or [] if channel]
        for one in plan.raw["resource_changes"]
        if one["type"] == "google_monitoring_alert_policy"
    }


def test_every_alert_reaches_an_operator_and_links_a_page_that_is_there(plan: Plan) -> None:
    for address, policy in plan.of("google_monitoring_alert_policy").items():
        links = [link["url"] for link in policy["documentation"][0]["links"]]
        assert len(links) == 1, address
        assert links[0].startswith("https://example.org/runbooks/")
        assert links[0] in policy["documentation"][0]["content"]
        assert (ROOT / "docs/runbooks" / links[0].rpartition("/")[2]).is_file(), address
    expected = len(plan.of("google_monitoring_notification_channel"))
    assert expected == 1


def test_every_alert_and_its_page_are_in_the_list_of_runbooks(plan: Plan) -> None:
    """Both ways: no alert that the list does not name, none in the list that is not made."""
    made = {
        (policy["display_name"], policy["documentation"][0]["links"][0]["url"].rpartition("/")[2])
        for policy in plan.of("google_monitoring_alert_policy").values()
    }
    text = (ROOT / "docs/runbooks/README.md").read_text()
    table = text[text.index("| alert |") :].partition("\n\n")[0]
    told = set(
        re.findall(r"^\| ([A-Z][^|]+?) \| (?:pages|mail) \|.*\| \[[\w-]+\]\(([\w-]+\.md)\) \|$", table, re.MULTILINE)
    )
    assert told == made
    pages = dict(re.findall(r"^\| ([A-Z][^|]+?) \| (pages|mail) \|", table, re.MULTILINE))
    assert pages == {
        policy["display_name"]: "pages" if policy["severity"] == "CRITICAL" else "mail"
        for policy in plan.of("google_monitoring_alert_policy").values()
    }


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


@pytest.mark.parametrize("text", ["rate(a[60s])", "a[5m]", 'a{b!="c"}', "sum(a)", "a or", "a b", "label_replace(a,"])
def test_the_evaluator_of_queries_refuses_what_it_does_not_know(text: str) -> None:
    with pytest.raises((promql.UnknownQueryError, ValueError)):
        promql.compiled(text)([], 0)
