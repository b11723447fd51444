"""The node service's client: one batch call, three attempts, every answer checked (docs/architecture.md, Nodes)."""

from __future__ import annotations

import random
from asyncio import sleep
from typing import TYPE_CHECKING, Any

import httpx

from lib import log
from lib.domain.provisioning import Answer

if TYPE_CHECKING:
    from lib.domain.provisioning import Node, Work

CONNECT_S, READ_S, ATTEMPTS = 5.0, 10.0, 3
_BACKOFF_S = 0.5
_OK, _CONFLICT, _TOO_MANY = 200, 409, 429
_AUTHENTICATION = frozenset({401, 403})
_SERVER_ERROR = 500
_MOST = 2**62  # no higher version could be sent for one beyond it


class NodeError(Exception):
    """The node could not be made to agree; the text names no key, link or UUID.

    Attributes:
        temporary: worth another attempt (network, timeout, 429, 5xx); otherwise a person has to look.
    """

    def __init__(self, text: str, *, temporary: bool) -> None:
        super().__init__(text)
        self.temporary = temporary


class NodeClient:
    """Speaks to one node."""

    def __init__(self, client: httpx.AsyncClient, node: Node, key: str) -> None:
        self._client = client
        self._node = node
        self._key = key

    async def apply(self, works: list[Work]) -> list[Answer]:
        """Tell the node what is wanted of each client, and what it says about each.

        Raises:
            NodeError: no usable answer for the whole batch.
        """
        items = await self._post("/apply", {"items": [_wish(work) for work in works]})
        by_client = {
            item["client"]: item for item in items if isinstance(item, dict) and type(item.get("client")) is str
        }
        return [_answer(work, by_client.get(str(work.subscription_id))) for work in works]

    async def _post(self, path: str, body: dict[str, Any]) -> list[Any]:
        attempt = 1
        while True:
            try:
                return await self._once(path, body)
            except NodeError as error:
                if not error.temporary or attempt == ATTEMPTS:
                    raise
            await sleep(random.uniform(0, _BACKOFF_S * 2**attempt))  # noqa: S311 -- full jitter, not a secret
            attempt += 1

    async def _once(self, path: str, body: dict[str, Any]) -> list[Any]:
        try:
            response = await self._client.post(
                f"{self._node.api_url}{path}",
                json=body,
                headers={"X-API-Key": self._key, "X-Correlation-Id": log.correlation.get()},
                timeout=httpx.Timeout(READ_S, connect=CONNECT_S),
            )
        except httpx.HTTPError as error:
            raise NodeError(type(error).__name__, temporary=True) from None
        status = response.status_code
        if status in _AUTHENTICATION:
            raise NodeError(f"HTTP {status}: the node does not know our key", temporary=False)
        if status != _OK:
            raise NodeError(f"HTTP {status}", temporary=status == _TOO_MANY or status >= _SERVER_ERROR)
        try:
            items = response.json()["items"]
        except (ValueError, KeyError, TypeError):
            raise NodeError("unreadable answer", temporary=False) from None
        if not isinstance(items, list):
            raise NodeError("unreadable answer", temporary=False)
        return items


def _wish(work: Work) -> dict[str, Any]:
    wish: dict[str, Any] = {"client": str(work.subscription_id), "version": work.version, "wanted": work.wanted}
    if work.wanted:
        wish |= {"uuid": str(work.uuid), "expiry_timestamp_ms": int(work.expires_at.timestamp() * 1000)}
    return wish


def _is_link(value: object) -> bool:
    return isinstance(value, str) and value.startswith("vless://") and value == _storable(value)


def _storable(text: str) -> str:
    """Without what Postgres does not take; one node's nonsense must not cost the batch its confirmations."""
    return text.replace("\x00", "").encode("utf-8", "replace").decode("utf-8")


def _answer(work: Work, item: dict[str, Any] | None) -> Answer:
    """What the node said about one client; anything but a full, matching confirmation is an error to be tried again."""
    applied, link, held, error = False, None, None, None
    if item is None:
        error = "no answer for this client"
    elif item.get("code") != _OK:
        error = f"code {item.get('code')}: {_storable(str(item.get('error', '')))[:100]}"
        held_version = item.get("held_version")
        if item.get("code") == _CONFLICT and type(held_version) is int and work.version <= held_version < _MOST:
            held = held_version
    elif not work.wanted:
        applied = True
    elif item.get("uuid") != str(work.uuid):
        error = "the node answered with another UUID"
    elif not _is_link(item.get("vless_link")):
        error = "the node answered without a link"
    else:
        applied, link = True, item["vless_link"]
    return Answer(
        subscription_id=work.subscription_id,
        node_id=work.node_id,
        version=work.version,
        claimed_by=str(work.claimed_by),
        applied=applied,
        link=link,
        held_version=held,
        error=error,
    )
