"""N-61: code that meets an older schema than it needs answers 503 in words and changes nothing; on a newer one it works."""

from __future__ import annotations

import re
from contextlib import closing

import pytest

from lib import log
from lib.db import schema
from lib.db.connection import Connection, Timeouts
from tests.integration.functions.test_edges import FUNCTIONS, HEALTH_KEY
from tests.integration.functions.test_outcomes import SWEEPS, TASKS, Functions, _ids, _update, ask
from tests.waiting import wait_until

__all__ = ["ask"]
OWN = schema.needed()
_LOST = f"delete from atlas.schema_migrations where number >= {OWN}"  # noqa: S608 -- a number


@pytest.fixture(autouse=True)
def _configured() -> None:
    """Now, and not by the first request of the process: it would take away what collects log lines here."""
    log.configure()


def _owner(url: str, sql: str) -> None:
    with closing(Connection(url, application="test", timeouts=Timeouts())) as connection:
        connection.simple(sql)


def _ask(ask: Functions, name: str) -> tuple[int, str | None, dict[str, object]]:
    body = {"telegram_webhook": _update(), "cryptobot_webhook": {}}.get(name) or (_ids(name) if name in TASKS else {})
    headers = {b"x-health-key": HEALTH_KEY.encode()} if name == "health" else None
    answer = ask(name, body, headers=headers)
    return answer.status, answer.retry_after, answer.body


OLDER = {
    "a release before": (_LOST, r"[0-9]+"),
    "nothing ever migrated": ("alter table atlas.schema_migrations rename to gone", "0"),
    "the newest file is a post file": (
        "update atlas.schema_migrations set name = replace(name, '_pre_', '_post_')",
        r"[0-9]+",
    ),
}


@pytest.mark.proves("N-61.schema")
@pytest.mark.parametrize(
    ("name", "case"),
    [(name, "a release before") for name in FUNCTIONS]
    + [(name, case) for case in list(OLDER)[1:] for name in ("telegram_webhook", SWEEPS[0])],
)
def test_an_older_schema_is_answered_503_in_words(
    name: str, case: str, ask: Functions, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    change, held = OLDER[case]
    _owner(database_url, change)
    status, retry_after, body = _ask(ask, name)
    assert (status, retry_after) == (503, "10")
    assert body["ok"] is False
    assert re.fullmatch(
        rf"the database's schema is {held} and this release needs {OWN}: it is to be migrated; try again",
        str(body["error"]),
    )
    told = [record for record in caplog.records if record.levelname in {"ERROR", "WARNING"}]
    assert [record.getMessage() for record in told] == ["schema_too_old"]
    assert not told[0].exc_info


@pytest.mark.proves("N-61.schema")
def test_an_older_schema_holds_no_connection_and_is_taken_once_it_is_migrated(
    ask: Functions, database_url: str
) -> None:
    _owner(database_url, "alter table atlas.schema_migrations rename to gone")
    for _ in range(3):
        assert _ask(ask, "telegram_webhook")[0] == 503
    with closing(Connection(database_url, application="looks", timeouts=Timeouts())) as connection:
        sessions = "select from pg_stat_activity where application_name = 'test' and datname = current_database()"
        wait_until(lambda: not connection.execute(sessions, {})[1], "every session of the functions to end")
    _owner(database_url, "alter table atlas.gone rename to schema_migrations")
    assert _ask(ask, "telegram_webhook")[0] == 200


@pytest.mark.proves("N-61.schema")
def test_a_newer_schema_is_fine(ask: Functions, database_url: str) -> None:
    _owner(
        database_url,
        "insert into atlas.schema_migrations (number, name, sha256) values (9998, '9998_pre_a.sql', ''),"
        " (9999, '9999_post_b.sql', '')",
    )
    assert _ask(ask, "telegram_webhook")[0] == 200
    assert _ask(ask, "health")[2]["schema_version"] == 9999  # it may be red for what no sweep has done yet


def test_liveness_needs_no_schema(ask: Functions, database_url: str) -> None:
    _owner(database_url, _LOST)
    assert ask("health", headers={b"x-health-key": b""}).status == 200


def test_what_is_needed_is_the_newest_pre_file() -> None:
    assert max(path.name for path in schema.FOLDER.glob("*_pre_*.sql")).startswith(f"{OWN:04}_")
