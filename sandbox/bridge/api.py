"""Calls of a real Bot API server. What goes wrong is said without the URL, which holds the token."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import httpx

from lib import log

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sandbox.telegram.protocol.arguments import Upload

PUBLIC_API: Final = "https://api.telegram.org"
_CONNECT_S: Final = 10.0
_ANSWER_S: Final = 30.0


class RefusedError(Exception):
    """The server said no: its code, its words, and the seconds it wants us to wait (429)."""

    def __init__(self, code: int, description: str, retry_after: float | None = None) -> None:
        super().__init__(description)
        self.code = code
        self.retry_after = retry_after


class UnreachableError(Exception):
    """No answer of a Bot API server was had; the text says what was had instead.

    Attributes:
        unsent: the call surely did not reach the server.
    """

    def __init__(self, reason: str, *, unsent: bool = False) -> None:
        super().__init__(reason)
        self.unsent = unsent


class Api:
    """One bot's calls at `{base}/bot{token}/{method}`."""

    def __init__(self, base: str, token: str) -> None:
        self._url = f"{base}/bot{token}"
        for talkative in ("httpx", "httpcore"):  # at INFO and DEBUG they write the URL to a log that has them turned on
            logging.getLogger(talkative).setLevel(logging.WARNING)
        # Proxies of the environment are left alone: functions don't take them either, and would be alone in failing.
        self._client = httpx.AsyncClient(trust_env=False)

    async def call(
        self,
        method: str,
        values: Mapping[str, Any] | None = None,
        files: Mapping[str, Upload] | None = None,
        *,
        wait_s: float = 0.0,
    ) -> Any:
        """The result of one call.

        Args:
            method: its name.
            values: parameters, form-encoded.
            files: by the name of their part.
            wait_s: how long the server may hold the answer back on purpose.

        Raises:
            RefusedError: the server answered that.
            UnreachableError: there was no answer, or none of a Bot API server.
        """
        timeout = httpx.Timeout(_ANSWER_S + wait_s, connect=_CONNECT_S)
        parts = {name: (upload.name, upload.body) for name, upload in (files or {}).items()}
        try:
            response = await self._client.post(
                f"{self._url}/{method}", data=dict(values or {}), files=parts or None, timeout=timeout
            )
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            raise UnreachableError(_words(error), unsent=True) from None
        except httpx.HTTPError as error:
            raise UnreachableError(_words(error)) from None
        return _result(response)

    async def close(self) -> None:
        """Let go of connections."""
        await self._client.aclose()


def _words(error: httpx.HTTPError) -> str:
    return log.redact(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _result(response: httpx.Response) -> Any:
    try:
        body = response.json()
    except ValueError:
        body = None
    if not isinstance(body, dict) or "ok" not in body:
        if response.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR:
            raise RefusedError(response.status_code, response.reason_phrase)
        raise UnreachableError(f"something that is no Bot API server answered {response.status_code}")
    if body["ok"] is True:
        return body.get("result")
    parameters = body.get("parameters")
    retry_after = parameters.get("retry_after") if isinstance(parameters, dict) else None
    raise RefusedError(
        int(body.get("error_code") or response.status_code),
        log.redact(str(body.get("description", ""))),
        float(retry_after) if isinstance(retry_after, int | float) else None,
    )
