from __future__ import annotations

import ssl
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lib.db.address import BadAddress, DatabaseAddress
from lib.settings import check

_SECRETS = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=30)
_SECRET = "Qm7/xYz9secret"


@given(_SECRETS, _SECRETS.filter(bool), st.integers(1, 65_535))
def test_whatever_is_encoded_is_read_as_it_was(password: str, user: str, port: int) -> None:
    found = DatabaseAddress.parse(
        f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@db.internal:{port}/atlas"
    )
    assert (found.user, found.password, found.host, found.port, found.database) == (
        user,
        password,
        "db.internal",
        port,
        "atlas",
    )


@pytest.mark.proves("G-19")
@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://atlas:{_SECRET}@127.0.0.1:5432/atlas",
        "postgresql://atlas:5432/secretpart@127.0.0.1:5432/atlas",
        "postgresql://atlas:secret?part@127.0.0.1:5432/atlas",
        "postgresql://atlas:5432/a?secretpart@127.0.0.1:5432/atlas",
        "postgresql://atlas:secret#part@127.0.0.1:5432/atlas",
        "postgresql://atlas:secret@part@127.0.0.1:5432/atlas",
        "postgresql://atlas:secret%zzpart@127.0.0.1:5432/atlas",
        "postgresql://atlas:secretpart%@127.0.0.1:5432/atlas",
        "postgresql://atlas:secret part@127.0.0.1:5432/atlas",
        "postgresql://atlas:secret%00part@127.0.0.1:5432/atlas",
        "postgresql://atlas:secret%ff@127.0.0.1:5432/atlas",
        "postgresql://atlas:secretpart@127.0.0.1:543x/atlas",
        "postgresql://atlas:secretpart@127.0.0.1:0/atlas",
        "postgresql://atlas:secretpart@127.0.0.1:65536/atlas",
        "postgresql://atlas:secretpart@127.0.0.1:/atlas",
        "postgresql://atlas:secretpart@[::1/atlas",
        "postgresql://atlas:secretpart@/atlas",
        "postgresql://:secretpart@127.0.0.1/atlas",
        "postgresql://atlas:secretpart@127.0.0.1/",
        "postgresql://atlas:secretpart@127.0.0.1",
        "postgresql://atlas:secretpart@one,two/atlas",
        "postgresql://atlas:secretpart@127.0.0.1/atlas/other",
        "postgresql://atlas:secretpart@127.0.0.1/atlas?sslmode=prefer",
        "postgresql://atlas:secretpart@127.0.0.1/atlas?sslmode=allow",
        "postgresql://atlas:secretpart@127.0.0.1/atlas?sslmode",
        "postgresql://atlas:secretpart@127.0.0.1/atlas?options=-csearch_path",
        "postgresql://atlas:secretpart@127.0.0.1/atlas?host=/var/run",
        "postgresql://atlas:secretpart@127.0.0.1/atlas?sslmode=require&sslmode=disable",
        "postgresql://atlas:secretpart@/atlas?host=relative",
        "mysql://atlas:secretpart@127.0.0.1/atlas",
        "postgresql:/atlas:secretpart@127.0.0.1/atlas",
        "secretpart",
        "",
    ],
)  # fmt: skip
def test_what_can_not_be_used_is_refused_in_words_and_quoted_nowhere(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadAddress) as refused:
        DatabaseAddress.parse(url)
    monkeypatch.setenv("DATABASE_URL", url)
    said = [line for line in check.problems() if line.startswith("DATABASE_URL")]
    assert len(said) == 1
    for text in (str(refused.value), said[0]):
        assert "secret" not in text.lower()
        assert "543x" not in text
        assert "Qm7" not in text


def test_a_socket_folder_and_ipv6_are_addresses() -> None:
    socket = DatabaseAddress.parse("postgresql://atlas:p@/atlas?host=/cloudsql/project:region:name&sslmode=require")
    assert socket.driver_arguments()["unix_sock"] == "/cloudsql/project:region:name/.s.PGSQL.5432"
    assert socket.driver_arguments()["ssl_context"] is False, "no TLS on a socket, as in libpq"
    assert DatabaseAddress.parse("postgres://atlas@[::1]:5433/atlas").host == "::1"


def test_neither_user_nor_password_is_shown() -> None:
    address = DatabaseAddress.parse("postgresql://someuser:somepassword@db:5433/atlas")
    assert str(address) == "db:5433/atlas"
    assert "someuser" not in repr(address)
    assert "somepassword" not in repr(address)


@pytest.mark.proves("G-18")
@pytest.mark.parametrize("query", ["", "?sslmode=disable"])
def test_no_tls_unless_the_url_asks(query: str) -> None:
    assert DatabaseAddress.parse(f"postgresql://a:b@db/atlas{query}").driver_arguments()["ssl_context"] is False


@pytest.mark.proves("G-18")
def test_each_mode_checks_what_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    read = []
    monkeypatch.setattr(ssl.SSLContext, "load_default_certs", lambda *_: read.append("default"))
    contexts = {
        mode: DatabaseAddress.parse(f"postgresql://a:b@db/atlas?sslmode={mode}").driver_arguments()["ssl_context"]
        for mode in ("require", "verify-ca", "verify-full")
    }
    assert {mode: (one.verify_mode, one.check_hostname) for mode, one in contexts.items()} == {
        "require": (ssl.CERT_NONE, False),
        "verify-ca": (ssl.CERT_REQUIRED, False),
        "verify-full": (ssl.CERT_REQUIRED, True),
    }
    assert read == ["default", "default"], "require reads no certificate in vain"


def test_a_root_certificate_that_is_not_there_is_found_by_the_check(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://a:b@db/atlas?sslmode=verify-ca&sslrootcert=/nowhere/ca.pem")
    assert [line for line in check.problems() if line.startswith("DATABASE_URL")] == [
        "DATABASE_URL: sslrootcert can't be read: FileNotFoundError"
    ]
