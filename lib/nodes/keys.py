"""The API keys of the nodes: one secret in the functions, so a node more needs no deploy (docs/configuration.md)."""

from __future__ import annotations

import base64
import hashlib
import hmac

from lib.settings import plain, values

MASTER_KEYS = "NODE_MASTER_KEYS"


def derived(master: str, name: str) -> str:
    """The key of the node of that name: 43 characters of base64url. The node itself is given this, never the master key."""
    digest = hmac.digest(master.encode(), f"node:{name}".encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def api_keys(name: str, key_name: str) -> tuple[str, ...]:
    """What may open a node whose row names this setting: values derived from each master key, the current one first, or the setting's own.

    Several only while the master key is exchanged: a node that was not given its new key yet is opened by the old one.

    Raises:
        lib.settings.plain.UnusableSetting: it is unset, or no key that a header takes.
    """
    if key_name == MASTER_KEYS:
        return tuple(derived(master, name) for master in plain.required(MASTER_KEYS, values.master_keys))
    return (plain.required(key_name, values.api_key),)
