"""The settings of the node service: read once from the environment, every problem listed at once, by name."""

from __future__ import annotations

import json
import re
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from pydantic import BeforeValidator, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from xray_api.inbound import Inbound, InboundError, from_config

if TYPE_CHECKING:
    from collections.abc import Callable

# Fingerprints that connect with both clients tried (sing-box, Xray). android and 360 speak TLS 1.2 only, randomized is a lottery.
FINGERPRINTS: Final = ("chrome", "firefox", "safari", "ios", "edge", "qq", "random")
_SHORTEST_KEY: Final = 16
_KEY: Final = re.compile(r"[!-~]+")
_HOST_LABEL: Final = re.compile(r"(?!-)[a-z0-9-]{1,63}(?<!-)")
_LONGEST_NAME: Final = 60
_DAY_SECONDS: Final = 86_400


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
    log_level: str = "INFO"

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
        return _public_host(value)

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

    @field_validator("log_level")
    @classmethod
    def _check_level(cls, value: str) -> str:
        if value.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
            raise ValueError("must be DEBUG, INFO, WARNING or ERROR")
        return value.upper()

    def cross_checks(self) -> list[str]:
        """Problems that concern more than one setting, or a file."""
        problems = []
        cert, key = self.xray_api_tls_cert, self.xray_api_tls_key
        if (cert is None) != (key is None):
            problems.append("XRAY_API_TLS_CERT, XRAY_API_TLS_KEY: set both or none")
        for name, path in (("XRAY_API_TLS_CERT", cert), ("XRAY_API_TLS_KEY", key)):
            if path is not None and not path.is_file():
                problems.append(f"{name}: no such file: {path}")
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
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError([f"XRAY_CONFIG_PATH: can't be read: {error.strerror}"]) from None
    except ValueError:
        raise ConfigurationError(["XRAY_CONFIG_PATH: is not JSON (comments are not read)"]) from None


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
    host = host.removeprefix("[").removesuffix("]") if host.startswith("[") else host
    if not colon or not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 1 << 16:
        raise ValueError("must be host:port")
    return host, int(port)


def _loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _public_host(text: str) -> str:
    """An address or a name as a link carries it: IPv6 without brackets, an international name as xn--."""
    bare = text.removeprefix("[").removesuffix("]")
    try:
        return str(ip_address(bare))
    except ValueError:
        pass  # not an address: a name, judged below
    try:
        name = bare.encode("idna").decode().lower()
    except UnicodeError:
        raise ValueError("must be a host name or an IP address") from None
    labels = name.removesuffix(".").split(".")
    if not all(_HOST_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must be a host name or an IP address, without scheme or port")
    return name


def _plain(message: str) -> str:
    return message.removeprefix("Value error, ")
