"""The client that stand-ins call the application with: no proxy, no cookie, no redirect, as many connections as it takes."""

from __future__ import annotations

from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

_CONNECT_S = 10.0


def outgoing_client(*, kept_alive: int | None = None) -> httpx.AsyncClient:
    """A client whose requests know nothing of each other; how long an answer may take is the caller's to say.

    Args:
        kept_alive: how many idle connections it keeps for a while; None: all.
    """
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))  # httpx would send a function's back to all others
    return httpx.AsyncClient(
        timeout=httpx.Timeout(None, connect=_CONNECT_S),
        limits=httpx.Limits(max_connections=None, max_keepalive_connections=kept_alive),
        trust_env=False,
        cookies=no_cookies,
    )
