"""A connection to Cloud SQL from anywhere: TLS 1.3 both ways, by IAM, to an address that no network is let in at.

The certificate of minutes comes from the Admin API, through Google's own connector (its exchange of keys, its checks of the server's
certificate); the socket is ours, so that pg8000.native and psql can use it.
"""

from __future__ import annotations

import asyncio
import socket
from dataclasses import dataclass
from typing import TYPE_CHECKING

import aiohttp
import google.auth.exceptions
from google.cloud.sql.connector.client import CloudSQLClient
from google.cloud.sql.connector.connection_name import ConnectionName
from google.cloud.sql.connector.enums import IPTypes
from google.cloud.sql.connector.exceptions import CloudSQLConnectionError, CloudSQLIPTypeError
from google.cloud.sql.connector.utils import generate_keys

from infra.google.client import GoogleError, NotLoggedIn, credentials, endpoint

if TYPE_CHECKING:
    import ssl

    from google.cloud.sql.connector.connection_info import ConnectionInfo

SERVER_PORT = 3307
"""Where each instance's own end of the connector listens."""

_ADMIN_API = "https://sqladmin.googleapis.com"
CONNECT_S = 15.0


@dataclass(frozen=True, slots=True)
class Instance:
    """A Cloud SQL instance by its connection name, `project:region:name`."""

    project: str
    region: str
    name: str

    def __str__(self) -> str:
        """The connection name."""
        return f"{self.project}:{self.region}:{self.name}"


@dataclass(frozen=True, slots=True)
class Way:
    """How to come in, for an hour at most: the address, and TLS with a certificate of our own and the server's checked."""

    address: str
    context: ssl.SSLContext


async def find_way(instance: Instance, *, iam: bool) -> Way:
    """Ask for a certificate.

    Args:
        instance: which one.
        iam: log in as the account of this machine's login, without a password; else by a database user's password.

    Raises:
        GoogleError: the Admin API refused, or the instance has no public address.
        NotLoggedIn
    """
    asked = f"connect to {instance}"
    try:
        info, context = await _certificate(instance, iam=iam)
        return Way(info.get_preferred_ip(IPTypes.PUBLIC), context)
    except aiohttp.ClientResponseError as error:
        raise GoogleError(asked, error.status, "", error.message) from None
    except google.auth.exceptions.GoogleAuthError as error:
        raise NotLoggedIn(f"The login can't be used ({type(error).__name__}); log in again") from None
    except (CloudSQLIPTypeError, CloudSQLConnectionError, ValueError) as error:
        raise GoogleError(asked, None, type(error).__name__, str(error)) from None
    except (aiohttp.ClientError, OSError) as error:
        raise GoogleError(asked, None, type(error).__name__, "the Admin API does not answer") from None


def open_socket(instance: Instance, *, iam: bool, known: dict[bool, Way] | None = None) -> ssl.SSLSocket:
    """A socket on which the instance's Postgres answers, TLS done.

    Args:
        instance: as in `find_way`.
        iam: as there.
        known: ways that were found minutes ago, by `iam`; a certificate costs a key and a call, and lasts an hour.

    Raises:
        GoogleError: as `find_way`; or the instance's address did not answer.
        NotLoggedIn
    """
    ways = {} if known is None else known
    way = ways.get(iam)
    if way is None:
        way = ways[iam] = asyncio.run(find_way(instance, iam=iam))
    plain = None
    try:
        plain = socket.create_connection((way.address, SERVER_PORT), timeout=CONNECT_S)
        wrapped = way.context.wrap_socket(plain, server_hostname=way.address)
    except OSError as error:
        if plain is not None:
            plain.close()
        ways.pop(iam, None)
        raise not_let_in(instance, way, error) from None
    wrapped.settimeout(None)
    return wrapped


def not_let_in(instance: Instance, way: Way, error: OSError) -> GoogleError:
    """What a failure at the instance's address is told as."""
    said = f"{way.address}:{SERVER_PORT} does not let us in"
    return GoogleError(f"connect to {instance}", None, type(error).__name__, said)


async def _certificate(instance: Instance, *, iam: bool) -> tuple[ConnectionInfo, ssl.SSLContext]:
    base = endpoint()
    login = credentials(None)
    client = CloudSQLClient(f"{base}/sqladmin" if base else _ADMIN_API, instance.project, login, driver="pg8000")
    try:
        keys = asyncio.ensure_future(generate_keys())
        name = ConnectionName(instance.project, instance.region, instance.name)
        info = await client.get_connection_info(name, keys, enable_iam_auth=iam)
        return info, await info.create_ssl_context(iam)
    finally:
        await client.close()
