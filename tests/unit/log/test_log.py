from __future__ import annotations

import json
import logging
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib import log


def test_no_token_link_address_or_full_uuid_gets_out() -> None:
    number = str(uuid.uuid4())
    text = log.redact(
        f"POST /bot7000000001:AAbbCCdd-_ee/sendMessage vless://{number}@host:443?x=1#n"
        f" postgresql://u:secret@h/db token 31337:AAAAAAAAAA id {number}"
    )
    for secret in ("AAbbCCdd", "vless://", "secret@", "31337:AAAA", number, number[9:]):
        assert secret not in text
    assert number[:8] in text


def test_times_and_ports_are_left_alone() -> None:
    text = '{"time": "2026-11-23T01:02:03.004+00:00", "at": "127.0.0.1:18443", "calls": 12}'
    assert log.redact(text) == text


def test_a_line_is_json_with_severity_event_and_correlation(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(log._JsonLine())
    logger = logging.getLogger("atlas")
    logger.addHandler(handler)
    try:
        with log.correlated("c-1"):
            log.warning("something", order_id=7, text="строка")
    finally:
        logger.removeHandler(handler)
    line = json.loads(capsys.readouterr().err)
    assert (line["severity"], line["event"], line["correlation_id"]) == ("WARNING", "something", "c-1")
    assert (line["order_id"], line["text"]) == (7, "строка")


def test_correlation_ends_with_its_block() -> None:
    with pytest.raises(ZeroDivisionError), log.correlated("c-2"):
        raise ZeroDivisionError
    assert log.correlation.get() == "-"


def test_a_redacted_line_is_still_json() -> None:
    line = json.dumps({"error": "bad link vless://abc@host:443", "url": "postgresql://u:p@h/db", "event": "x"})
    assert json.loads(log.redact(line)) == {"error": "bad link [redacted]", "url": "[redacted]", "event": "x"}


@given(
    st.lists(
        st.one_of(
            st.text(alphabet="0123456789abcdefABCDEF-:/_ \u212a\u017fxX\u0663", max_size=12),
            st.sampled_from(
                [
                    "vless://",
                    "VLESS://a@b",
                    "postgres://u:p@h/d",
                    "postgresql://",
                    "bot",
                    "12:",
                    "abcdefgh",
                    '"',
                    "http://x",
                ]
            ),
            st.uuids().map(str),
            st.from_regex(r"\A(?:bot)?[0-9]{1,4}:[A-Za-z0-9_-]{6,10}\Z"),
        ),
        max_size=6,
    ).map("".join)
)
def test_nothing_that_the_full_search_would_find_passes_the_quick_one(text: str) -> None:
    assert log._SUSPICIOUS.search(text) or not log._SECRETS.search(text)
