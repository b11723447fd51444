"""Which links Telegram accepts in buttons and text, and how it writes them back.

The rules are those of the server's own library: http, https, tg, ton and tonsite only, and a dotted host.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

MAX_PORT = 65535
_HOST = re.compile(r"(?:[a-z0-9._!$,~*'();&+=-]|%[0-9a-f]{2}|[^\x00-\x7f])+")
_APP_HOST = re.compile(r"[A-Za-z0-9_-]+")
_USER_LINK = re.compile(r"tg:(?://)?user\?(?:[^#]*&)?id=(\d+)", re.IGNORECASE)
_ASCII_SPACE = " \t\r\n\x00\x0b"


class LinkError(ValueError):
    """Why a link is refused, in the server's words."""


@dataclass(frozen=True)
class _Parts:
    protocol: str
    userinfo: str
    host: str
    port: int
    is_ipv6: bool
    rest: str

    def text(self) -> str:
        """The link as the server keeps it: host lowered, an empty path written as `/`."""
        userinfo = f"{self.userinfo}@" if self.userinfo else ""
        port = f":{self.port}" if self.port else ""
        return f"{self.protocol}://{userinfo}{self.host}{port}{self.rest}"


def _port(text: str) -> int:
    digits = text.lstrip("0") or "0"
    if not digits.isascii() or not digits.isdigit() or not 0 < int(digits) <= MAX_PORT:
        raise LinkError("Wrong port number specified in the URL")
    return int(digits)


def _split_port(authority: str) -> tuple[str, int]:
    end = max(authority.rfind(mark) for mark in ":]@")
    if end > 0 and authority[end] == ":":
        return authority[:end], _port(authority[end + 1 :])
    return authority, 0


def _parse(link: str) -> _Parts:
    protocol, found, rest = link.partition("://")
    if found and not re.search(r"[:/?#@\[\]]", protocol):
        if protocol.lower() not in {"http", "https", "tonsite"}:
            raise LinkError("Unsupported URL protocol")
    else:
        protocol, rest = "http", link
    cut = re.search(r"[/?#]", rest)
    authority, tail = (rest[: cut.start()], rest[cut.start() :]) if cut else (rest, "")
    authority, port = _split_port(authority)
    userinfo, _, host = authority.rpartition("@")
    is_ipv6 = host.startswith("[") and host.endswith("]")
    if not host:
        raise LinkError("URL host is empty")
    if host == ".":
        raise LinkError("Host is invalid")
    host = host.lower()
    if not is_ipv6 and not _HOST.fullmatch(host):
        raise LinkError("Disallowed character in URL host")
    tail = tail.rstrip(_ASCII_SPACE) or "/"
    if not tail.startswith("/"):
        tail = "/" + tail
    tail = "".join(f"%{ord(char):02X}" if char <= " " else char for char in tail)
    return _Parts(protocol.lower(), userinfo, host, port, is_ipv6, tail)


def _app_link(scheme: str, rest: str) -> str:
    parts = _parse(rest.removeprefix("//"))
    if rest.lower().startswith("http://") or parts.protocol == "https" or parts.userinfo or parts.port or parts.is_ipv6:
        raise LinkError(f"Wrong {scheme} URL")
    if not _APP_HOST.fullmatch(parts.host):
        raise LinkError("Unallowed characters in URL host")
    tail = parts.rest[1:] if parts.rest.startswith("/?") else parts.rest
    return f"{scheme}://{parts.host}{'' if tail == '/' else tail}"


def check_link(link: str, *, https_only: bool = False) -> str:
    """The link as Telegram keeps it.

    Raises:
        LinkError: it is none that Telegram opens (vless://, localhost, ...); the text is the server's reason.
    """
    for scheme in ("tg", "ton"):
        if link.lower().startswith(f"{scheme}:"):
            if https_only:
                raise LinkError("Only HTTPS links are allowed")
            return _app_link(scheme, link[len(scheme) + 1 :])
    parts = _parse(link)
    if https_only and parts.protocol != "https":
        raise LinkError("Only HTTPS links are allowed")
    if "." not in parts.host and not parts.is_ipv6:
        raise LinkError("Wrong HTTP URL")
    return parts.text()


def user_of_link(link: str) -> int | None:
    """The user that a `tg://user?id=` link mentions."""
    found = _USER_LINK.match(link)
    return int(found[1]) if found and int(found[1]) > 0 else None
