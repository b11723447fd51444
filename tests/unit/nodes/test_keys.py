"""The keys of further nodes, derived from one secret."""

from __future__ import annotations

import base64
import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.nodes import keys
from lib.settings import plain


def test_a_nodes_key_is_the_hmac_of_its_name() -> None:
    digest = hmac.new(b"m" * 32, b"node:de1", hashlib.sha256).digest()
    assert keys.derived("m" * 32, "de1") == base64.urlsafe_b64encode(digest).decode().rstrip("=")


@given(st.text(min_size=1, max_size=20), st.text(min_size=1, max_size=20))
def test_no_two_names_share_a_key_and_the_node_takes_each(one: str, other: str) -> None:
    made = [keys.derived("m" * 32, name) for name in (one, other)]
    assert (made[0] == made[1]) == (one == other)
    assert all(len(key) == 43 and key.isascii() and key.isprintable() for key in made)


def test_which_setting_opens_a_node_is_said_by_its_row(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XRAY_API_KEY", "of-the-first")
    monkeypatch.setenv("NODE_MASTER_KEYS", f"{'n' * 32}, {'o' * 32}")
    assert keys.api_keys("first", "XRAY_API_KEY") == ("of-the-first",)
    derived = keys.derived("n" * 32, "de1"), keys.derived("o" * 32, "de1")
    assert keys.api_keys("de1", "NODE_MASTER_KEYS") == derived, "by each master key, the current one first"
    monkeypatch.delenv("NODE_MASTER_KEYS")
    with pytest.raises(plain.MissingSetting, match="NODE_MASTER_KEYS"):
        keys.api_keys("de1", "NODE_MASTER_KEYS")
