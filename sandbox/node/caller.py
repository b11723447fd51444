"""A caller of the node service for tests, the runner and people: the node's HTTP contract with no opinion of its own."""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Self

import httpx

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable
    from types import TracebackType

HOUR_MS = 3_600_000


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def wanted(client: str, version: int, *, uuid_text: str | None = None, expiry_ms: int | None = None) -> dict[str, Any]:
    """An `/apply` item that wants a client; a new UUID and a day of access unless told."""
    return {
        "client": client,
        "version": version,
        "wanted": True,
        "uuid": uuid_text or str(uuid.uuid4()),
        "expiry_timestamp_ms": expiry_ms if expiry_ms is not None else now_ms() + 24 * HOUR_MS,
    }


def unwanted(client: str, version: int) -> dict[str, Any]:
    """An `/apply` item that wants a client gone."""
    return {"client": client, "version": version, "wanted": False}


class NodeCaller:
    """An async context manager around one connection pool to a node service."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_seconds: float = 15.0,
        time_ms: Callable[[], int] | None = now_ms,
        trust: ssl.SSLContext | bool = True,
    ) -> None:
        """`time_ms` is the time that each call tells, Atlas's; None tells none. `trust` is what certificates are judged by."""

        async def tell_time(request: httpx.Request) -> None:
            if time_ms is not None:
                request.headers["X-Atlas-Time-Ms"] = str(time_ms())

        self.http = httpx.AsyncClient(
            base_url=url,
            headers={"X-API-Key": key},
            timeout=timeout_seconds,
            trust_env=False,
            verify=trust,
            event_hooks={"request": [tell_time]},
        )

    async def __aenter__(self) -> Self:
        """Nothing is sent before the first call."""
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        await self.http.aclose()

    async def apply(self, *items: Any) -> list[dict[str, Any]]:
        """`POST /apply`; the answered items. AssertionError when the whole batch is refused."""
        response = await self.http.post("/apply", json={"items": list(items)})
        if response.status_code != httpx.codes.OK:
            raise AssertionError(f"{response.status_code} {response.text}")
        answers: list[dict[str, Any]] = response.json()["items"]
        return answers

    async def health(self) -> dict[str, Any]:
        """`GET /health`."""
        answer: dict[str, Any] = (await self.http.get("/health")).raise_for_status().json()
        return answer

    async def users(self) -> dict[str, dict[str, Any]]:
        """Every page of `GET /list-users`, by client."""
        found: dict[str, dict[str, Any]] = {}
        after: str | None = ""
        while after is not None:
            page = (await self.http.get("/list-users", params={"after": after})).raise_for_status().json()
            found |= {user["client"]: user for user in page["users"]}
            after = page["next"]
        return found

    async def settled(self) -> bool:
        """Whether Xray is up and agrees with everything recorded."""
        health = await self.health()
        return bool(health["xray"]["up"]) and health["pending"] == 0
