"""Cloud Monitoring: whom alerts tell, which there are, and a figure's newest points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from infra.google.client import Google


@dataclass(frozen=True, slots=True)
class Channel:
    """Whom alerts tell. `name` is full; `labels` holds the address."""

    name: str
    kind: str
    title: str
    labels: Mapping[str, str]
    enabled: bool


@dataclass(frozen=True, slots=True)
class Alert:
    """An alert policy; `channels` are full names, as `Channel.name`."""

    name: str
    title: str
    enabled: bool
    conditions: int
    channels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """A figure with its newest value in the interval that was asked for."""

    labels: Mapping[str, str]
    value: float


def channels(google: Google) -> list[Channel]:
    """Raises: infra.google.client.GoogleError."""
    collection = google.api("monitoring").projects().notificationChannels()
    first = collection.list(name=f"projects/{google.project}")
    return [
        Channel(
            name=row["name"],
            kind=row.get("type", ""),
            title=row.get("displayName", ""),
            labels=row.get("labels", {}),
            enabled=row.get("enabled", True),
        )
        for row in google.pages(collection, first, "notificationChannels")
    ]


def alerts(google: Google) -> list[Alert]:
    """Raises: infra.google.client.GoogleError."""
    collection = google.api("monitoring").projects().alertPolicies()
    first = collection.list(name=f"projects/{google.project}")
    return [
        Alert(
            name=row["name"],
            title=row.get("displayName", ""),
            enabled=row.get("enabled", True),
            conditions=len(row.get("conditions", ())),
            channels=tuple(row.get("notificationChannels", ())),
        )
        for row in google.pages(collection, first, "alertPolicies")
    ]


def newest(google: Google, metric: str, *, since: datetime, until: datetime) -> list[Series]:
    """The newest value of a metric, a series a set of labels; [] when none was written.

    Args:
        google: the project.
        metric: its type, such as `cloudtasks.googleapis.com/queue/depth`.
        since: aware.
        until: aware.

    Raises:
        infra.google.client.GoogleError
    """
    collection = google.api("monitoring").projects().timeSeries()
    first = collection.list(
        name=f"projects/{google.project}",
        filter=f'metric.type = "{metric}"',
        interval_startTime=since.isoformat(),
        interval_endTime=until.isoformat(),
        view="FULL",
    )
    return [_series(row) for row in google.pages(collection, first, "timeSeries") if row.get("points")]


def _series(row: dict[str, Any]) -> Series:
    value = row["points"][0]["value"]
    read = next((float(value[kind]) for kind in ("int64Value", "doubleValue") if kind in value), 0.0)
    labels = {**row.get("resource", {}).get("labels", {}), **row.get("metric", {}).get("labels", {})}
    return Series(labels, read)
