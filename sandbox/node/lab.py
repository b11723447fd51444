"""A whole VPN node on loopback around the real Xray-core: the core, the site it hides behind and Atlas's node service."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import secrets
import ssl
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sandbox.node.origin import RealityTarget, certificate_file
from sandbox.node.tunnel_client import PATIENCE_SECONDS, Origin, ShareLink, TunnelClient, TunnelRefusedError
from sandbox.processes.child import Process, ProcessFailedError, bare_environment, listens
from sandbox.state.ports import free_port
from sandbox.state.private_json import write_private_json

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "PATIENCE_SECONDS",
    "Origin",
    "ProcessFailedError",
    "RealityKeys",
    "RealityTarget",
    "ShareLink",
    "TunnelClient",
    "TunnelRefusedError",
    "XrayCore",
    "XrayNode",
    "generate_reality_keys",
    "server_config",
]

INBOUND_TAG = "vless-in"
SERVER_NAME = "www.example.com"
_ROOT = Path(__file__).resolve().parents[2]
_CORE = "import sys, xray.xray; xray.xray.startFromJSON(open(sys.argv[1], encoding='utf-8').read())"


class RealityKeys(NamedTuple):
    """A key pair as Xray writes it: 32 bytes each, base64url without padding."""

    private_key: str
    public_key: str


def generate_reality_keys() -> RealityKeys:
    """A new X25519 pair, as `xray x25519` prints one."""
    private = X25519PrivateKey.generate()
    return RealityKeys(_text(private.private_bytes_raw()), _text(private.public_key().public_bytes_raw()))


def server_config(*, port: int, api_port: int, target_port: int, private_key: str, short_id: str) -> dict[str, Any]:
    """The lab's Xray configuration; a production node leaves `finalRules` out (docs/node.md).

    `finalRules` lets the tunnel reach loopback, where the lab's website is. `minClientVer` lets sing-box in. No access log: it
    would hold the UUID of every refused client.
    """
    return {
        "log": {"access": "none", "loglevel": "warning"},
        "api": {"tag": "api", "listen": f"127.0.0.1:{api_port}", "services": ["HandlerService", "StatsService"]},
        "stats": {},
        "policy": {
            "levels": {"0": {"statsUserUplink": True, "statsUserDownlink": True, "statsUserOnline": True}},
            "system": {"statsInboundUplink": True, "statsInboundDownlink": True},
        },
        "inbounds": [
            {
                "tag": INBOUND_TAG,
                "listen": "127.0.0.1",
                "port": port,
                "protocol": "vless",
                "settings": {"clients": [], "decryption": "none"},
                "streamSettings": {
                    "network": "raw",
                    "security": "reality",
                    "realitySettings": {
                        "show": False,
                        "target": f"127.0.0.1:{target_port}",
                        "xver": 0,
                        "serverNames": [SERVER_NAME],
                        "privateKey": private_key,
                        "shortIds": [short_id],
                        "minClientVer": "1.8.0",
                    },
                },
            }
        ],
        "outbounds": [{"tag": "direct", "protocol": "freedom", "settings": {"finalRules": [{"action": "allow"}]}}],
    }


class XrayCore:
    """The real core in a child process. Its configuration and log are files in `folder`; it dies with this process."""

    def __init__(self, folder: Path, config: Mapping[str, Any]) -> None:
        self.folder = folder
        self.config_path = folder / "xray.json"
        self.config = dict(config)
        ports = [entry["port"] for entry in self.config["inbounds"]]
        if listen := self.config.get("api", {}).get("listen"):
            ports.append(int(listen.rpartition(":")[2]))
        self._process = Process(
            [sys.executable, "-I", "-c", _CORE, str(self.config_path)],
            cwd=folder,
            env=bare_environment({}),
            log=folder / "xray.log",
            port=ports[0],
            more_ports=ports[1:],
            is_ready=listens,
        )

    @property
    def running(self) -> bool:
        """Whether the process lives."""
        return self._process.running

    @property
    def pid(self) -> int:
        """Its process id; RuntimeError when it is not running."""
        return self._process.pid

    async def start(self) -> None:
        """Write the configuration, start, and return when both the VLESS port and the API accept."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.config_path.touch(mode=0o600)
        self.config_path.write_text(json.dumps(self.config, indent=1), encoding="utf-8")
        await self._process.start()

    async def stop(self) -> None:
        """End it politely."""
        await self._process.stop()

    async def kill(self) -> None:
        """`kill -9`."""
        await self._process.kill()

    async def restart(self) -> None:
        """Stop and start; every hot-added user is forgotten, as on any node."""
        await self.stop()
        await self.start()

    def suspend(self) -> None:
        """Freeze it (SIGSTOP): connections are accepted by the kernel and never answered."""
        self._process.suspend()

    def resume(self) -> None:
        """Let it go on (SIGCONT)."""
        self._process.resume()


@dataclass(frozen=True)
class _Identity:
    """What a node keeps over restarts: links given out stay right."""

    private_key: str
    public_key: str
    short_id: str
    api_key: str
    port: int
    api_port: int
    target_port: int
    service_port: int


class XrayNode:
    """Target, core and node service together, as one VPN node.

    Keys, ports and the recorded state live in `folder`, so a node started there again is the same node.

    Args:
        folder: everything the node writes, logs included.
        ports: pins some of `port` (VLESS), `api_port` (Xray's gRPC), `target_port`, `service_port` (xray_api), whatever they were;
            links that were given out with another VLESS port no longer lead here.
        link_name: what clients show for the link.
        key: the service's API key; one made up here unless said.
        environment: further settings of the service, over the ones made here.
        code: the folder with the service's package, this checkout unless said.
        tls: the service is called by TLS, as one on another machine is; its certificate is made once.
    """

    def __init__(
        self,
        folder: Path,
        *,
        ports: Mapping[str, int] | None = None,
        link_name: str = "Atlas",
        key: str | None = None,
        environment: Mapping[str, str] | None = None,
        code: Path = _ROOT,
        tls: bool = False,
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._identity = _identity(folder / "node.json", dict(ports or {}))
        self.key = key or self._identity.api_key
        self._clock_path = folder / "clock"
        if not self._clock_path.exists():
            self.set_clock(0)
        self.target = RealityTarget(folder, self._identity.target_port, SERVER_NAME)
        self.core = XrayCore(
            folder,
            server_config(
                port=self._identity.port,
                api_port=self._identity.api_port,
                target_port=self._identity.target_port,
                private_key=self._identity.private_key,
                short_id=self._identity.short_id,
            ),
        )
        self.certificate = certificate_file(folder / "tls.pem", "node.test") if tls else None
        shown = {"XRAY_API_TLS_CERT": str(self.certificate), "XRAY_API_TLS_KEY": str(self.certificate)} if tls else {}
        self.environment = {
            "XRAY_API_KEYS": self.key,
            "XRAY_API_CLOCK_PATH": str(self._clock_path),
            "XRAY_API_BIND": f"127.0.0.1:{self._identity.service_port}",
            "XRAY_CONFIG_PATH": str(self.core.config_path),
            "XRAY_GRPC": f"127.0.0.1:{self._identity.api_port}",
            "XRAY_STATE_PATH": str(folder / "state.sqlite3"),
            "XRAY_PUBLIC_HOST": "127.0.0.1",
            "XRAY_LINK_NAME": link_name,
            "ENVIRONMENT": "local",
            **shown,
            **(environment or {}),
        }
        self.service_log = folder / "xray_api.log"
        self.service = Process(
            [sys.executable, "-m", "xray_api"],
            cwd=code,
            env=bare_environment({"PYTHONUNBUFFERED": "1", **self.environment}),
            log=self.service_log,
            port=self._identity.service_port,
            is_ready=listens,
        )
        self._starting = asyncio.Lock()
        self._ends = 0

    @property
    def url(self) -> str:
        """Base URL of the node service: `XRAY_API_URL`."""
        return f"{'http' if self.certificate is None else 'https'}://127.0.0.1:{self._identity.service_port}"

    @property
    def pin(self) -> str | None:
        """What its certificate is known by; None without TLS."""
        if self.certificate is None:
            return None
        key = x509.load_pem_x509_certificate(self.certificate.read_bytes()).public_key()
        return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()

    @property
    def trust(self) -> ssl.SSLContext | bool:
        """What makes an ordinary HTTP client trust its certificate, whatever name it was called by: `verify` of httpx."""
        if self.certificate is None:
            return True
        context = ssl.create_default_context(cafile=str(self.certificate))
        context.check_hostname = False
        return context

    def set_clock(self, off_ms: int) -> None:
        """Make the machine's wall clock, as the service sees it, wrong by so many milliseconds, at once."""
        making = self._clock_path.with_suffix(".new")
        making.write_text(f"{off_ms}\n", encoding="ascii")
        making.replace(self._clock_path)

    @property
    def public_key(self) -> str:
        """The REALITY public key that links must carry."""
        return self._identity.public_key

    @property
    def short_id(self) -> str:
        """The short id that links must carry."""
        return self._identity.short_id

    @property
    def port(self) -> int:
        """The VLESS port."""
        return self._identity.port

    @property
    def api_port(self) -> int:
        """The port of Xray's own gRPC API."""
        return self._identity.api_port

    async def start(self) -> Self:
        """Start what does not run: target, core, service. Returns when all of them accept.

        Raises:
            ProcessFailedError: one did not come up, or the node was stopped or killed meanwhile.
        """
        async with self._starting:
            ends = self._ends
            self.target.stop()
            self.target.start()
            if not self.core.running:
                await self.core.start()
            if ends != self._ends:
                raise ProcessFailedError("the node was ended while it started")
            if not self.service.running:
                await self.start_service()
        return self

    async def start_service(self) -> None:
        """Start the node service alone and return when it accepts."""
        await self.service.start()

    async def stop(self) -> None:
        """Stop all three politely."""
        self._ends += 1
        await self.service.stop()
        await self.core.stop()
        self.target.stop()

    async def kill(self) -> None:
        """The machine loses power: `kill -9` of service and core at once. `start` brings the node back."""
        self._ends += 1
        await self.service.kill()
        await self.core.kill()
        self.target.stop()

    def forget(self) -> None:
        """Another machine is put in its place: keys and addresses are the same, of clients it knows nothing.

        Raises:
            RuntimeError: the service runs, and would go on with the file that was removed.
        """
        if self.service.running:
            raise RuntimeError("its service runs")
        for kept in self.folder.glob("state.sqlite3*"):
            kept.unlink()

    def hang(self) -> None:
        """The service accepts connections and never answers."""
        self.service.suspend()

    def unhang(self) -> None:
        """It answers again, what it was asked meanwhile included."""
        self.service.resume()


def _identity(path: Path, pinned: dict[str, int]) -> _Identity:
    if path.exists():
        kept = _Identity(**json.loads(path.read_text(encoding="utf-8")))
        if (made := _Identity(**asdict(kept) | pinned)) != kept:
            write_private_json(path, asdict(made))
        return made
    keys = generate_reality_keys()
    made = _Identity(
        private_key=keys.private_key,
        public_key=keys.public_key,
        # Xray fills a short id up with zeros and says it without them: one that ends in zeros has two spellings.
        short_id=secrets.token_hex(7) + "a7",
        api_key=secrets.token_urlsafe(32),
        port=pinned.pop("port", 0) or free_port(),
        api_port=pinned.pop("api_port", 0) or free_port(),
        target_port=pinned.pop("target_port", 0) or free_port(),
        service_port=pinned.pop("service_port", 0) or free_port(),
    )
    if pinned:
        raise ValueError(f"unknown ports: {', '.join(pinned)}")
    write_private_json(path, asdict(made))
    return made


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
