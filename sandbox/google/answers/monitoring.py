"""Cloud Monitoring: whom alerts tell, which alerts there are, and series that were told of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sandbox.google.cloud import paged
from sandbox.google.refusals import invalid

if TYPE_CHECKING:
    from sandbox.google.cloud import Call

Row = dict[str, Any]


def list_channels(call: Call) -> Row:
    """monitoring.projects.notificationChannels.list."""
    cloud = call.cloud
    cloud.assert_ours(call.path["name"])
    rows = [
        {
            "name": row["name"],
            "type": row["type"],
            "displayName": row.get("display_name") or "",
            "labels": row.get("labels") or {},
            "enabled": bool(row.get("enabled", True)),
        }
        for row in cloud.terraform.of("google_monitoring_notification_channel")
    ]
    return paged(call, rows, "notificationChannels")


def list_policies(call: Call) -> Row:
    """monitoring.projects.alertPolicies.list."""
    cloud = call.cloud
    cloud.assert_ours(call.path["name"])
    rows = []
    for row in cloud.terraform.of("google_monitoring_alert_policy"):
        shown: Row = {
            "name": row["name"],
            "displayName": row["display_name"],
            "enabled": row.get("enabled") is not False,
            "combiner": row["combiner"],
            "conditions": [{"displayName": one["display_name"]} for one in row["conditions"]],
            "notificationChannels": row.get("notification_channels") or [],
            "userLabels": row.get("user_labels") or {},
        }
        if row.get("severity"):
            shown["severity"] = row["severity"]
        rows.append(shown)
    return paged(call, rows, "alertPolicies")


def list_series(call: Call) -> Row:
    """monitoring.projects.timeSeries.list: of a metric, what was told of it; `filter` and an interval are asked for."""
    call.cloud.assert_ours(call.path["name"])
    for needed in ("filter", "interval.endTime"):
        if needed not in call.query:
            raise invalid(f"Field {needed} had an invalid value: it is required.", needed)
    series = call.cloud.facts().get("series", {})
    rows = [one for metric, told in series.items() if f'"{metric}"' in call.query["filter"] for one in told]
    return paged(call, rows, "timeSeries", default=100_000)


ANSWERS = {
    "monitoring.projects.alertPolicies.list": list_policies,
    "monitoring.projects.notificationChannels.list": list_channels,
    "monitoring.projects.timeSeries.list": list_series,
}
