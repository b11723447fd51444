"""Service Usage: which APIs are enabled in the project."""

from __future__ import annotations

from typing import TYPE_CHECKING

from infra.google.client import GoogleError
from infra.google.waiting import until

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from infra.google.client import Google

_HOST = ".googleapis.com"
_MOST_ENABLED_AT_ONCE = 20
_MOST_LOOKED_AT_ONCE = 30
_ENABLING_S = 300


def enabled(google: Google, apis: Iterable[str]) -> dict[str, bool]:
    """Of each API, `run`, `sqladmin`, whether it is enabled.

    Raises:
        infra.google.client.GoogleError
    """
    parent = f"projects/{google.project}"
    found: dict[str, bool] = {}
    for some in _in_parts(apis, _MOST_LOOKED_AT_ONCE):
        names = [f"{parent}/services/{api}{_HOST}" for api in some]
        answer = google.execute(google.api("serviceusage").services().batchGet(parent=parent, names=names))
        for service in answer.get("services", ()):
            found[service["name"].rpartition("/")[2].removesuffix(_HOST)] = service.get("state") == "ENABLED"
    return found


def enable(google: Google, apis: Iterable[str]) -> None:
    """Enable them and wait until that is done. Idempotent. Google takes minutes more until every server knows.

    Raises:
        infra.google.client.GoogleError: refused; 400 FAILED_PRECONDITION where the project has no billing.
        infra.google.waiting.TookTooLong
    """
    client = google.api("serviceusage")
    for some in _in_parts(apis, _MOST_ENABLED_AT_ONCE):
        body = {"serviceIds": [f"{api}{_HOST}" for api in some]}
        begun = google.execute(client.services().batchEnable(parent=f"projects/{google.project}", body=body))
        name = begun["name"]
        if begun.get("done"):
            ended = begun
        else:
            ended = until(
                lambda name=name: google.execute(client.operations().get(name=name)),  # type: ignore[misc]
                lambda seen: bool(seen.get("done")),
                what=f"enabling {', '.join(some)}",
                within_s=_ENABLING_S,
            )
        if "error" in ended:
            raise GoogleError(f"enable {', '.join(some)}", None, "", str(ended["error"].get("message", "")))


def _in_parts(apis: Iterable[str], most: int) -> Iterator[list[str]]:
    every = sorted(set(apis))
    for begin in range(0, len(every), most):
        yield every[begin : begin + most]
