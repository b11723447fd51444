"""G-19: what the check of `XRAY_API_URL` takes, the table of nodes takes: its first use is a row there."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lib.settings import values

if TYPE_CHECKING:
    from lib.db import Database, Transaction

PARTS = st.sampled_from(
    [
        *(
            "http://",
            "https://",
            "HTTPS://",
            "ftp://",
            "node",
            "example",
            ".",
            "-",
            "_",
            ":",
            "8443",
            "0",
            "65535",
            "65536",
            "x",
        ),
        *(
            "[::1]",
            "[::ffff:127.0.0.1]",
            "[2001:db8::1]",
            "[",
            "]",
            "127.0.0.1",
            "127.",
            "256",
            "localhost",
            "/",
            "api",
            "~",
            "%41",
            "?",
            "#",
            "@",
            "A",
            "é",
            "a" * 63,
        ),
    ]
)
ADDRESSES = st.builds(lambda scheme, rest: scheme + "".join(rest), PARTS, st.lists(PARTS, min_size=1, max_size=7))


def taken(tx: Transaction, addresses: list[str]) -> list[str]:
    return tx.values(
        "select url from unnest(cast(:urls as text[])) url where is_node_address(url)"
        " and (url like 'https://%' or is_loopback_address(url))",
        urls=addresses,
    )


@pytest.mark.proves("G-19")
@given(drawn=st.lists(ADDRESSES, min_size=50, max_size=200))
@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_the_table_takes_what_the_check_takes(db: Database, drawn: list[str]) -> None:
    read = []
    for address in [*drawn, "https://de1.example.com:8443/", "http://[::1]:80/node", "http://127.255.0.9"]:
        try:
            read.append(values.node_address(address))
        except ValueError:
            continue
    assert sorted(await db.run(taken, read)) == sorted(read)
