"""Where Postgres is: one strict reader of database URLs, for connections, `migrate` and the check of settings alike."""

from __future__ import annotations

import re
import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote_to_bytes

from lib.settings import values

_SCHEMES = ("postgresql://", "postgres://")
_SHAPE = "must look like postgresql://user:password@host:port/database"
_ENCODE = f"{_SHAPE}; encode / ? # @ % [ ] and spaces in the user and the password, such as %2F for /"
_TLS_MODES = ("disable", "require", "verify-ca", "verify-full")
_PARAMETERS = frozenset({"host", "port", "sslmode", "sslrootcert"})
_ENCODED = re.compile(r"(?:[^%]|%[0-9a-fA-F]{2})*")


class BadAddress(ValueError):
    """Not a database URL that a connection could be made with. The text quotes nothing of it: it holds a password."""


@dataclass(frozen=True, slots=True)
class DatabaseAddress:
    """A database URL, taken apart.

    Attributes:
        socket: folder of a Unix socket; then `host` is empty.
        tls: `disable`, `require`, `verify-ca` or `verify-full`.
        root_certificate: file, or None for the system's own.
    """

    user: str = field(repr=False)
    password: str | None = field(repr=False)
    host: str
    port: int
    database: str
    socket: str | None = None
    tls: str = "disable"
    root_certificate: str | None = None

    @classmethod
    def parse(cls, url: str) -> DatabaseAddress:
        """Read `postgresql://user:password@host:port/database` or `postgresql://user:password@/database?host=<socket folder>`.

        Whatever follows the scheme is cut at the first `/`, `?` or `#`, as libpq does: a password that holds one of them
        unencoded leaves parts that can't be read, and is refused instead of being taken for something else.

        Raises:
            BadAddress: it says what to mend, and quotes nothing.
        """
        scheme = next((one for one in _SCHEMES if url.startswith(one)), None)
        if scheme is None:
            raise BadAddress(_SHAPE)
        rest = url[len(scheme) :]
        if "#" in rest or any(character.isspace() or not character.isprintable() for character in rest):
            raise BadAddress(_ENCODE)
        before, _, query = rest.partition("?")
        authority, slash, path = before.partition("/")
        if not slash or not path or "/" in path or "@" in path or "@" in query or authority.count("@") != 1:
            raise BadAddress(_ENCODE)
        credentials, _, server = authority.partition("@")
        user, colon, password = credentials.partition(":")
        parameters = _parameters(query)
        host, port = _server(server, parameters)
        tls = parameters.get("sslmode", "disable")
        if tls not in _TLS_MODES:
            raise BadAddress(f"sslmode must be one of {', '.join(_TLS_MODES)}: anything between them protects nothing")
        if not user:
            raise BadAddress(f"names no user: {_SHAPE}")
        return cls(
            user=_decoded(user),
            password=_decoded(password) if colon else None,
            host="" if "host" in parameters else host,
            port=port,
            database=_decoded(path),
            socket=parameters.get("host"),
            tls=tls,
            root_certificate=parameters.get("sslrootcert"),
        )

    def __str__(self) -> str:
        """For people: neither user nor password."""
        return f"{self.socket or self.host}:{self.port}/{self.database}"

    def driver_arguments(self) -> dict[str, Any]:
        """What pg8000 is given: TLS as the URL asks and no other.

        Left to itself the driver asks every server for TLS, takes any certificate, and reads the system's CA file for
        each connection (49 ms of CPU).

        Raises:
            OSError: the root certificate can't be read.
        """
        made: dict[str, Any] = {"user": self.user, "password": self.password, "database": self.database}
        made["ssl_context"] = False
        if self.socket is not None:
            return made | {"unix_sock": f"{self.socket}/.s.PGSQL.{self.port}"}
        if self.tls != "disable":
            made["ssl_context"] = self._tls_context()
        return made | {"host": self.host, "port": self.port}

    def _tls_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = self.tls == "verify-full"  # verify-ca: Cloud SQL's certificates name no host
        if self.root_certificate is not None:
            context.load_verify_locations(self.root_certificate)
        elif self.tls == "require":  # as libpq: encrypted, whatever the server is
            context.verify_mode = ssl.CERT_NONE
        else:
            context.load_default_certs()
        return context


def _server(server: str, parameters: dict[str, str]) -> tuple[str, int]:
    if server.startswith("["):
        host, bracket, after = server.partition("]")
        host, colon, port = host + bracket, after[:1], after[1:]
    else:
        host, colon, port = server.partition(":")
    if colon not in {"", ":"} or (colon and not port):
        raise BadAddress(_ENCODE)
    try:
        number = values.port(port or parameters.get("port", "5432"))
        if "host" not in parameters:
            return values.host(host).strip("[]"), number
    except ValueError as error:
        raise BadAddress(f"{error}: {_ENCODE}") from None
    if not parameters["host"].startswith("/"):
        raise BadAddress("the parameter host must be the folder of a Unix socket")
    if host:
        raise BadAddress("names a host twice")
    return "", number


def _parameters(query: str) -> dict[str, str]:
    parameters: dict[str, str] = {}
    for pair in query.split("&") if query else ():
        name, equals, value = pair.partition("=")
        if name not in _PARAMETERS or not equals or not value or name in parameters:
            raise BadAddress(
                f"parameters after ? are {', '.join(sorted(_PARAMETERS))}, each once; encode ? in a password as %3F"
            )
        parameters[name] = _decoded(value)
    return parameters


def _decoded(text: str) -> str:
    """Percent-decoded, with nothing silently left as it is."""
    if not _ENCODED.fullmatch(text):
        raise BadAddress(f"a % must be followed by two hexadecimal digits: {_ENCODE}")
    try:
        decoded = unquote_to_bytes(text).decode()
    except UnicodeDecodeError:
        raise BadAddress("percent-encoded text must be UTF-8") from None
    if "\x00" in decoded:
        raise BadAddress("holds a NUL character, which Postgres does not take")
    return decoded
