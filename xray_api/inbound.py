"""What the service must know of the VLESS inbound, read from Xray's file and from the running Xray, and the link made of it.

Both readings give one `Inbound`, judged by one list of `problems`. The file is judged before anything starts; links are only
ever built from the reading of the running Xray (`architecture.md#nodes`), so a file edited after Xray started can't put a
wrong key into a customer's phone.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from xray_api import messages

FLOW: Final = "xtls-rprx-vision"
# sing-box introduces itself to REALITY as 1.8.1. A server that asks for more refuses it and every client built on it; the core's
# own default (26.3.27) does.
NEWEST_MIN_CLIENT_VERSION: Final = (1, 8, 1)
_KEY_BYTES: Final = 32
_SHORT_ID_BYTES: Final = 8
_REALITY: Final = "reality"
_REALITY_TYPE: Final = "xray.transport.internet.reality.Config"
_VLESS_TYPE: Final = "xray.proxy.vless.inbound.Config"
_RECEIVER_TYPE: Final = "xray.app.proxyman.ReceiverConfig"
_NETWORKS: Final = {"": "tcp", "raw": "tcp", "tcp": "tcp"}


class InboundError(ValueError):
    """An inbound that no working link can be made for; `problems` lists every reason."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True)
class Inbound:
    """The facts of one inbound that a link, or the refusal to make one, depends on."""

    tag: str
    protocol: str
    ports: tuple[int, ...]
    network: str
    security: str
    header: str
    decryption: str
    private_key: bytes
    server_names: tuple[str, ...]
    short_ids: tuple[str, ...]
    min_client_version: tuple[int, ...] | None
    max_client_version: tuple[int, ...] | None

    def problems(self) -> list[str]:
        """Every reason why no link to this inbound would work, in words; empty when one would."""
        name = f"inbound {self.tag!r}"
        found = []
        if self.protocol != "vless":
            found.append(f"{name}: protocol must be vless, is {self.protocol!r}")
        if len(self.ports) != 1 or not 0 < self.ports[0] < 1 << 16:
            found.append(f"{name}: port must be one fixed port")
        if self.network != "tcp":
            found.append(f"{name}: network must be raw (tcp), is {self.network!r}: flow {FLOW} exists there only")
        if self.header not in {"", "none"}:
            found.append(f"{name}: rawSettings.header.type must be none, is {self.header!r}")
        if self.decryption != "none":
            found.append(f"{name}: settings.decryption must be none")
        if self.security != _REALITY:
            found.append(f"{name}: security must be reality, is {self.security or 'none'!r}")
            return found
        return found + [f"{name}: realitySettings.{problem}" for problem in self._reality_problems()]

    def _reality_problems(self) -> list[str]:
        found = []
        if len(self.private_key) != _KEY_BYTES:
            found.append("privateKey must be 32 bytes as base64url without padding (xray x25519)")
        if not _sni(self.server_names):
            found.append("serverNames must hold a name without a wildcard")
        if not self.short_ids:
            found.append("shortIds must hold a short id of 2..16 hex digits, an even number of them")
        newest = ".".join(map(str, NEWEST_MIN_CLIENT_VERSION))
        if self.min_client_version is None:
            found.append(f'minClientVer must be set, to "1.8.0": without it the core refuses sing-box ({newest})')
        elif self.min_client_version > NEWEST_MIN_CLIENT_VERSION:
            found.append(f"minClientVer must be at most {newest}, or sing-box and most phone clients are refused")
        if self.max_client_version is not None:
            found.append("maxClientVer must not be set: it cuts off clients as they are updated")
        return found

    def facts(self) -> LinkFacts:
        """What links are made of; `InboundError` when none would work."""
        if problems := self.problems():
            raise InboundError(problems)
        return LinkFacts(
            port=self.ports[0],
            sni=_sni(self.server_names),
            public_key=public_key(self.private_key),
            short_id=self.short_ids[0],
            flow=FLOW,
            network="tcp",
        )


@dataclass(frozen=True)
class LinkFacts:
    """The public facts of an inbound, as `/health` shows them."""

    port: int
    sni: str
    public_key: str
    short_id: str
    flow: str
    network: str


@dataclass(frozen=True)
class LinkMaker:
    """Where clients find this node, as the operator sets it: host, displayed name and TLS fingerprint."""

    host: str
    name: str
    fingerprint: str

    def link(self, uuid: str, facts: LinkFacts) -> str:
        """The `vless://` share link of one client (XTLS/Xray-core discussion 716: every value encoded, port never left out)."""
        fields = {
            "type": facts.network,
            "security": _REALITY,
            "encryption": "none",
            "flow": facts.flow,
            "pbk": facts.public_key,
            "fp": self.fingerprint,
            "sni": facts.sni,
            "sid": facts.short_id,
        }
        query = "&".join(f"{name}={quote(value, safe='')}" for name, value in fields.items())
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"vless://{uuid}@{host}:{facts.port}?{query}#{quote(self.name, safe='')}"


def public_key(private_key: bytes) -> str:
    """The REALITY public key (base64url, unpadded) of 32 raw X25519 private bytes, as `xray x25519 -i` prints it."""
    raw = X25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def from_config(document: Any, tag: str | None) -> Inbound:
    """The inbound of Xray's configuration file.

    Args:
        document: the file, parsed.
        tag: which inbound; None takes the only vless one.

    Raises:
        InboundError: not a configuration, no such inbound, or several and no tag.
    """
    inbounds = [entry for entry in _list(_dict(document).get("inbounds")) if isinstance(entry, dict)]
    if tag is None:
        chosen = [entry for entry in inbounds if entry.get("protocol") == "vless"]
        wanted = "exactly one vless inbound, or XRAY_INBOUND_TAG"
    else:
        chosen = [entry for entry in inbounds if entry.get("tag") == tag]
        wanted = f"an inbound tagged {tag!r}"
    if len(chosen) != 1:
        raise InboundError([f"needs {wanted}; found {len(chosen)}"])
    entry = chosen[0]
    if not isinstance(entry.get("tag"), str) or not entry["tag"]:
        raise InboundError(["the vless inbound needs a tag: Xray's API knows an inbound by it"])
    stream = _dict(entry.get("streamSettings"))
    network = str(stream.get("network", "")).lower()
    reality = _dict(stream.get("realitySettings"))
    raw = _dict(stream.get("rawSettings") or stream.get("tcpSettings"))
    return Inbound(
        tag=entry["tag"],
        protocol=str(entry.get("protocol", "")),
        ports=_ports(entry.get("port")),
        network=_NETWORKS.get(network, network),
        security=str(stream.get("security", "")).lower(),
        header=str(_dict(raw.get("header")).get("type", "")),
        decryption=str(_dict(entry.get("settings")).get("decryption", "")),
        private_key=_key(reality.get("privateKey")),
        server_names=tuple(name for name in _list(reality.get("serverNames")) if isinstance(name, str)),
        short_ids=tuple(short for text in _list(reality.get("shortIds")) if (short := _short_id(text))),
        min_client_version=_version(reality.get("minClientVer")),
        max_client_version=_version(reality.get("maxClientVer")),
    )


def from_running(handler: Any) -> Inbound:
    """The inbound that the running Xray describes in a `ListInbounds` answer (one `InboundHandlerConfig`)."""
    receiver_settings, proxy_settings = handler.receiver_settings, handler.proxy_settings
    receiver = messages.parse(
        "ReceiverConfig", receiver_settings.value if receiver_settings.type == _RECEIVER_TYPE else b""
    )
    stream = receiver.stream_settings
    reality = messages.make("RealityConfig")
    for settings in stream.security_settings:
        if settings.type == _REALITY_TYPE:
            reality = messages.parse("RealityConfig", settings.value)
    vless = proxy_settings.type == _VLESS_TYPE
    proxy = messages.parse("VlessInboundConfig", proxy_settings.value if vless else b"")
    header = next(
        (
            messages.parse("TcpConfig", transport.settings.value).header_settings.type
            for transport in stream.transport_settings
            if transport.protocol_name == "tcp"
        ),
        "",
    )
    return Inbound(
        tag=handler.tag,
        protocol="vless" if vless else proxy_settings.type,
        ports=tuple(
            port for span in receiver.port_list.range for port in range(span.From, min(span.To, span.From + 1) + 1)
        ),
        network=_NETWORKS.get(stream.protocol_name, stream.protocol_name),
        security=_REALITY if stream.security_type == _REALITY_TYPE else stream.security_type,
        header="" if header.endswith(".noop.ConnectionConfig") else header,
        decryption=proxy.decryption,
        private_key=reality.private_key,
        server_names=tuple(reality.server_names),
        short_ids=tuple(short for raw in reality.short_ids if (short := _unpadded(raw))),
        min_client_version=tuple(reality.min_client_ver) or None,
        max_client_version=tuple(reality.max_client_ver) or None,
    )


def _sni(names: tuple[str, ...]) -> str:
    return next((name for name in names if name and "*" not in name), "")


def _unpadded(raw: bytes) -> str:
    """A short id as hex. The core holds it filled up to 8 bytes with zeros, and so do clients: the zeros say nothing."""
    return raw.rstrip(b"\0").hex()


def _short_id(text: Any) -> str:
    try:
        raw = bytes.fromhex(text) if isinstance(text, str) and text.isascii() and text.isalnum() else b""
    except ValueError:
        return ""
    return _unpadded(raw) if len(raw) <= _SHORT_ID_BYTES else ""


def _key(text: Any) -> bytes:
    """32 raw bytes of unpadded base64url text, the one form the core takes; empty when it is something else."""
    if not isinstance(text, str) or not text.isascii() or "=" in text or "+" in text or "/" in text:
        return b""
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return b""


def _version(text: Any) -> tuple[int, ...] | None:
    """The numbers of a dotted version; None when unset. A malformed one is newer than anything, so it is refused."""
    if text is None or text == "":
        return None
    parts = str(text).split(".")
    return tuple(int(part) for part in parts) if all(p.isascii() and p.isdigit() for p in parts) else (1 << 16,)


def _ports(value: Any) -> tuple[int, ...]:
    if isinstance(value, int) and not isinstance(value, bool):
        return (value,)
    return (int(value),) if isinstance(value, str) and value.isascii() and value.isdigit() else ()


def _dict(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []
