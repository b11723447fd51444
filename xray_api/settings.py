"""The settings of the node service: read once from the environment, every problem listed at once, by name."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from xray_api import certificate, json_reader
from xray_api.clock import read_offset
from xray_api.inbound import Inbound, InboundError, from_config

if TYPE_CHECKING:
    from collections.abc import Callable

# Fingerprints that connect with both clients tried (sing-box, Xray). android and 360 speak TLS 1.2 only, randomized is a lottery.
FINGERPRINTS: Final = ("chrome", "firefox", "safari", "ios", "edge", "qq", "random")
_SHORTEST_KEY: Final = 16
_KEY: Final = re.compile(r"[!-~]+")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_HOST_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_LONGEST_NAME: Final = 60
_LONGEST_HOST: Final = 253
_DAY_SECONDS: Final = 86_400
_BACKLOG: Final = 2048
_PORT_DIGITS: Final = 5
_LOCAL: Final = "local"
_MOST_DEPTH: Final = 64  # of Xray's file, which stays below twenty
# Names that no public name server answers for (RFC 6761, 6762, 7686, 8375, 9476; .internal: ICANN 2024).
_UNREACHABLE_NAMES: Final = frozenset(
    {"alt", "home.arpa", "internal", "invalid", "local", "localhost", "onion", "test"}
)


class ConfigurationError(Exception):
    """The service can't start; `problems` holds every reason, each beginning with the setting's name."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def _keys(value: Any) -> Any:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


def _none_if_empty(value: Any) -> Any:
    return None if value == "" else value


_OptionalPath = Annotated[Path | None, BeforeValidator(_none_if_empty)]


class Settings(BaseSettings):
    """Each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(env_prefix="", case_sensitive=False, extra="ignore", frozen=True)

    xray_api_keys: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_keys)] = Field(repr=False)
    xray_api_bind: str = "127.0.0.1:8010"
    xray_api_tls_cert: _OptionalPath = None
    xray_api_tls_key: _OptionalPath = None
    xray_api_plain_http: bool = False
    xray_config_path: Path
    xray_grpc: Annotated[str | None, BeforeValidator(_none_if_empty)] = None
    xray_inbound_tag: Annotated[str | None, BeforeValidator(_none_if_empty)] = None
    xray_state_path: Path
    xray_public_host: str
    xray_link_name: str = "Atlas"
    xray_fingerprint: str = "chrome"
    xray_expiry_grace_seconds: int = Field(default=6 * 3600, ge=0, le=30 * _DAY_SECONDS)
    xray_api_clock_path: _OptionalPath = None
    log_level: str = "INFO"
    environment: str = "prod"

    @field_validator("xray_api_keys")
    @classmethod
    def _check_keys(cls, keys: tuple[str, ...]) -> tuple[str, ...]:
        if not keys:
            raise ValueError("needs at least one key")
        if any(len(key) < _SHORTEST_KEY or not _KEY.fullmatch(key) for key in keys):
            raise ValueError(f"every key needs at least {_SHORTEST_KEY} characters, printable ASCII without spaces")
        return keys

    @field_validator("xray_api_bind", "xray_grpc")
    @classmethod
    def _check_address(cls, value: str | None) -> str | None:
        if value is not None:
            split_address(value)
        return value

    @field_validator("xray_public_host")
    @classmethod
    def _check_host(cls, value: str) -> str:
        return _host(value)

    @field_validator("xray_link_name")
    @classmethod
    def _check_name(cls, value: str) -> str:
        if not value.strip() or len(value) > _LONGEST_NAME or not value.isprintable():
            raise ValueError(f"must be 1..{_LONGEST_NAME} printable characters")
        return value

    @field_validator("xray_fingerprint")
    @classmethod
    def _check_fingerprint(cls, value: str) -> str:
        if value not in FINGERPRINTS:
            raise ValueError(f"must be one of {', '.join(FINGERPRINTS)}: clients can't connect with others")
        return value

    @field_validator("environment")
    @classmethod
    def _check_environment(cls, value: str) -> str:
        if value not in {_LOCAL, "dev", "prod"}:
            raise ValueError("must be local, dev or prod")
        return value

    @field_validator("log_level")
    @classmethod
    def _check_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    def cross_checks(self) -> list[str]:
        """Problems that concern more than one setting, or a file."""
        problems = []
        local = self.environment == _LOCAL
        if not local and (why := _unreachable(self.xray_public_host)):
            problems.append(f"XRAY_PUBLIC_HOST: {why}: no customer could reach it")
        if self.xray_api_clock_path is not None:
            problems += [] if local else ["XRAY_API_CLOCK_PATH: only ENVIRONMENT=local may move the clock"]
            problems += _clock_problems(self.xray_api_clock_path)
        cert, key = self.xray_api_tls_cert, self.xray_api_tls_key
        if (cert is None) != (key is None):
            problems.append("XRAY_API_TLS_CERT, XRAY_API_TLS_KEY: set both or none")
        for name, path in (("XRAY_API_TLS_CERT", cert), ("XRAY_API_TLS_KEY", key)):
            if path is not None and not path.is_file():
                problems.append(f"{name}: no such file: {path}")
        if cert is not None and key is not None and not problems:
            problems += _tls_problems(cert, key)
        if cert is None and not self.xray_api_plain_http and not _loopback(split_address(self.xray_api_bind)[0]):
            problems.append(
                "XRAY_API_BIND: beyond loopback the keys would travel in the clear: set XRAY_API_TLS_CERT and XRAY_API_TLS_KEY, or"
                " XRAY_API_PLAIN_HTTP=1 when something in front ends TLS"
            )
        return problems


class Node:
    """Settings that fit together, and what was read of Xray's own file."""

    def __init__(self, settings: Settings, inbound: Inbound, grpc: str, warnings: list[str]) -> None:
        self.settings = settings
        self.inbound = inbound
        self.grpc = grpc
        self.warnings = warnings


def load() -> Node:
    """Read the environment and Xray's configuration; `ConfigurationError` with every problem of both."""
    problems: list[str] = []
    settings = None
    try:
        settings = Settings()
    except ValidationError as error:
        for item in error.errors(include_input=False, include_url=False):
            name = str(item["loc"][0]).upper() if item["loc"] else "settings"
            problems.append(f"{name}: {'is not set' if item['type'] == 'missing' else _plain(item['msg'])}")
    if settings is None:
        # Go on with Xray's file all the same, so that one start tells everything.
        problems += _attempt(lambda: _read_file(_FileSettings()))
        raise ConfigurationError(problems)
    problems += settings.cross_checks()
    inbound: Inbound | None = None
    grpc = ""
    warnings: list[str] = []
    try:
        inbound, grpc, warnings = _read_file(_FileSettings())
    except ConfigurationError as error:
        problems += error.problems
    if problems or inbound is None:
        raise ConfigurationError(problems)
    return Node(settings, inbound, grpc, warnings)


class _FileSettings(BaseSettings):
    """The settings that reading Xray's file needs, readable when others are wrong."""

    model_config = SettingsConfigDict(extra="ignore")

    xray_config_path: str = ""
    xray_inbound_tag: str = ""
    xray_grpc: str = ""


def _attempt(read: Callable[[], Any]) -> list[str]:
    try:
        read()
    except ConfigurationError as error:
        return error.problems
    return []


def _read_file(settings: _FileSettings) -> tuple[Inbound, str, list[str]]:
    """The inbound, the API's address and warnings of Xray's file."""
    document = _document(settings.xray_config_path)
    problems: list[str] = []
    inbound = None
    try:
        inbound = from_config(document, settings.xray_inbound_tag or None)
        problems += inbound.problems()
    except InboundError as error:
        problems += error.problems
    api = document.get("api") if isinstance(document, dict) else None
    api = api if isinstance(api, dict) else {}
    services = api.get("services")
    if not isinstance(services, list) or "HandlerService" not in services:
        problems.append("api.services must hold HandlerService: users are added through it")
    problems = [f"XRAY_CONFIG_PATH: {problem}" for problem in problems]
    listen = api.get("listen")
    grpc = settings.xray_grpc or (listen if isinstance(listen, str) else "")
    if not grpc:
        problems.append("XRAY_GRPC: is not set, and Xray's file has no api.listen")
    elif (problem := _grpc_problem(grpc)) is not None:
        problems.append(problem)
    if problems or inbound is None:
        raise ConfigurationError(problems)
    warnings = []
    if not _counts_online(document):
        warnings.append("policy lacks statsUserOnline: a removed user's connections can't be found, so none is cut")
    if not _no_access_log(document):
        warnings.append('log.access is not "none": Xray writes the whole UUID of every client it refuses')
    return inbound, grpc, warnings


def _document(path: str) -> Any:
    """Xray's file, parsed."""
    if not path:
        raise ConfigurationError([])  # told as "is not set" already
    try:
        return json_reader.read(Path(path).read_bytes(), most_depth=_MOST_DEPTH)
    except OSError as error:
        raise ConfigurationError([f"XRAY_CONFIG_PATH: can't be read: {error.strerror}"]) from None
    except json_reader.UnreadableJsonError:
        raise ConfigurationError(
            ["XRAY_CONFIG_PATH: is not JSON (comments are not read), or holds a key twice"]
        ) from None


def _no_access_log(document: Any) -> bool:
    log = document.get("log")
    return isinstance(log, dict) and log.get("access") == "none"


def _counts_online(document: Any) -> bool:
    try:
        return document["policy"]["levels"]["0"]["statsUserOnline"] is True and isinstance(document["stats"], dict)
    except (KeyError, TypeError):
        return False


def _grpc_problem(grpc: str) -> str | None:
    try:
        host, _ = split_address(grpc)
    except ValueError as error:
        return f"XRAY_GRPC: {error}"
    return None if _loopback(host) else "XRAY_GRPC: must be loopback: Xray's API has no password"


def split_address(text: str) -> tuple[str, int]:
    """`host:port` or `[v6]:port` as a pair; ValueError in words."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("must be host:port, an IPv6 address in brackets")
    if (
        not colon
        or not host
        or not (port.isascii() and port.isdigit() and len(port) <= _PORT_DIGITS)
        or not 0 < int(port) < 1 << 16
    ):
        raise ValueError("must be host:port")
    return host, int(port)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def listen(address: str) -> socket.socket:
    """A socket that listens there: the settings are right exactly when this works, so it is done before anything else.

    Raises:
        ConfigurationError: the host is not of this machine, the port is taken or not ours to take.
    """
    host, port = split_address(address)
    try:
        family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(place[:2], family=family, backlog=_BACKLOG)
    except (OSError, UnicodeError) as error:
        why = getattr(error, "strerror", None) or "no such host"
        raise ConfigurationError([f"XRAY_API_BIND: can't listen there: {why}"]) from None


def _clock_problems(path: Path) -> list[str]:
    try:
        read_offset(path)
    except (OSError, ValueError):
        return ["XRAY_API_CLOCK_PATH: must be a file that holds one whole number of milliseconds"]
    return []


def _tls_problems(cert: Path, key: Path) -> list[str]:
    """Load both as the server will."""
    try:
        certificate.context_of(cert, key)
        certificate.pin_of(cert)
    except certificate.CertificateError as error:
        return [f"XRAY_API_TLS_CERT, XRAY_API_TLS_KEY: {error}"]
    return []


def _host(text: str) -> str:
    """An address or a name as a link carries it: IPv6 without brackets, an international name as xn--, no dot at the end."""
    bracketed = text.startswith("[") and text.endswith("]")
    try:
        address = ip_address(text[1:-1] if bracketed else text)
    except ValueError:
        address = None  # not an address: a name, judged below
    if address is not None:
        if (bracketed and address.version == 4) or "%" in str(address):  # noqa: PLR2004 - IPv4
            raise ValueError("must be a host name or an IP address, without brackets or a zone")
        return str(address)
    try:
        name = text.encode("idna").decode().lower().removesuffix(".")
    except UnicodeError:
        raise ValueError("must be a host name or an IP address") from None
    labels = name.split(".")
    if len(name) > _LONGEST_HOST or not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must be a host name or an IP address, without scheme or port")
    if _NUMBER.fullmatch(labels[-1]):  # clients read it as an address: 127.1 is 127.0.0.1
        raise ValueError("is neither an IP address in its usual form nor a name")
    return name


def _unreachable(host: str) -> str | None:
    """Why no customer could reach this host (as `_host` gives it); None when they could."""
    try:
        address = ip_address(host)
    except ValueError:
        pass  # a name
    else:
        return None if _is_global(address) else f"{host} is not an address of the Internet"
    if "." not in host:
        return f"{host} is a name of one label, known to no public name server"
    if any(host == name or host.endswith(f".{name}") for name in _UNREACHABLE_NAMES):
        return f"{host} is a name that no public name server answers for"
    return None


def _is_global(address: IPv4Address | IPv6Address) -> bool:
    inner = address.ipv4_mapped or address.sixtofour if isinstance(address, IPv6Address) else None
    return _is_global(inner) if inner is not None else address.is_global and not address.is_multicast


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")
