"""The running Xray, over its gRPC API (HandlerService, StatsService): hot adds and removes, and what it really runs.

Synchronous, for the one converging thread. Calls for many users are pipelined over one HTTP/2 connection.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import grpc

from xray_api import messages
from xray_api.inbound import FLOW, Inbound, InboundError, from_running

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_HANDLER: Final = "/xray.app.proxyman.command.HandlerService/"
_STATS: Final = "/xray.app.stats.command.StatsService/"
_WINDOW: Final = 256  # calls in flight: 9 000 adds/s measured there, and more gains nothing
_CALL_SECONDS: Final = 2.0
_LIST_SECONDS: Final = 10.0  # 50 000 users are 5 MB and take 0.15 s
_MAX_ANSWER_BYTES: Final = 256 << 20
# What gRPC says when Xray is gone or does not answer. Xray's own refusals are all UNKNOWN, with a text.
_UNAVAILABLE: Final = frozenset(
    {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
)


class XrayUnavailableError(Exception):
    """Xray is down or did not answer in time. What was asked may or may not have been done."""


class XrayRefusedError(Exception):
    """Xray answered, and refused; the text is its own."""

    def __init__(self, code: str, details: str) -> None:
        super().__init__(f"{code}: {details}")
        self.code = code


class RunningUser(NamedTuple):
    """A user as Xray holds it."""

    name: str
    uuid: str
    flow: str


class Xray:
    """A channel to the API of one Xray and the calls the service needs; every call has a deadline."""

    def __init__(self, target: str, tag: str) -> None:
        self.tag = tag
        self._channel = grpc.insecure_channel(
            target,
            options=[
                ("grpc.max_receive_message_length", _MAX_ANSWER_BYTES),
                ("grpc.initial_reconnect_backoff_ms", 100),
                # despite its name what a connection gets to be made; a loaded Xray may take longer than the first pause
                ("grpc.min_reconnect_backoff_ms", round(_CALL_SECONDS * 1000)),
                ("grpc.max_reconnect_backoff_ms", 1000),
                ("grpc.enable_http_proxy", 0),  # loopback is never reached through the environment's proxy
                ("grpc.use_local_subchannel_pool", 1),
            ],
        )
        self._alter = self._method(_HANDLER + "AlterInbound", "AlterInboundResponse")
        self._users = self._method(_HANDLER + "GetInboundUsers", "GetInboundUserResponse")
        self._count = self._method(_HANDLER + "GetInboundUsersCount", "GetInboundUsersCountResponse")
        self._inbounds = self._method(_HANDLER + "ListInbounds", "ListInboundsResponse")
        self._system = self._method(_STATS + "GetSysStats", "SysStatsResponse")
        self._online = self._method(_STATS + "GetUsersStats", "GetUsersStatsResponse")

    def close(self) -> None:
        """Close the channel; calls in flight fail."""
        self._channel.close()

    def on_loss(self, lost: Callable[[], None]) -> None:
        """Have `lost` called, on a thread of gRPC, whenever an established connection goes away."""
        was_ready = False

        def changed(state: Any) -> None:
            nonlocal was_ready
            if was_ready and state is not grpc.ChannelConnectivity.READY:
                lost()
            was_ready = state is grpc.ChannelConnectivity.READY

        self._channel.subscribe(changed, try_to_connect=True)

    def inbound(self, timeout_seconds: float = _CALL_SECONDS) -> Inbound:
        """The inbound as it runs.

        Raises:
            InboundError: no inbound of that tag runs.
            XrayUnavailableError: no answer.
        """
        answer = _call(self._inbounds, messages.make("ListInboundsRequest"), timeout_seconds)
        for handler in answer.inbounds:
            if handler.tag == self.tag:
                return from_running(handler)
        raise InboundError([f"the running Xray has no inbound tagged {self.tag!r}"])

    def uptime_seconds(self) -> int | None:
        """Whole seconds since Xray started; None when its API lacks StatsService."""
        try:
            return int(_call(self._system, messages.make("SysStatsRequest"), _CALL_SECONDS).Uptime)
        except XrayRefusedError as error:
            if error.code == grpc.StatusCode.UNIMPLEMENTED.name:
                return None
            raise

    def user_count(self) -> int:
        """How many users the inbound has, our own or not."""
        return int(_call(self._count, messages.make("GetInboundUserRequest", tag=self.tag), _CALL_SECONDS).count)

    def users(self) -> list[RunningUser]:
        """Every user of the inbound. One without a name is never listed by Xray."""
        answer = _call(self._users, messages.make("GetInboundUserRequest", tag=self.tag), _LIST_SECONDS)
        return [_running(user) for user in answer.users]

    def lookup(self, names: Iterable[str]) -> dict[str, RunningUser | None]:
        """What Xray runs under each of the names; None where it runs nothing."""
        found: dict[str, RunningUser | None] = {}
        requests = ((name, messages.make("GetInboundUserRequest", tag=self.tag, email=name)) for name in names)
        for name, answer in _pipeline(self._users, requests):
            # An unknown name answers with one empty user, or none.
            user = next((user for user in answer.users if user.email), None)
            found[name] = _running(user) if user is not None else None
        return found

    def add(self, users: Iterable[tuple[str, str]]) -> None:
        """Add (name, uuid) pairs. A name that is there already stays as it is: `lookup` tells what came of it."""
        self._alter_all(
            (
                messages.typed(
                    "xray.app.proxyman.command.AddUserOperation",
                    messages.make(
                        "AddUserOperation",
                        user=messages.make(
                            "User",
                            email=name,
                            account=messages.typed(
                                "xray.proxy.vless.Account",
                                messages.make("VlessAccount", id=uuid, flow=FLOW, encryption="none"),
                            ),
                        ),
                    ),
                )
                for name, uuid in users
            ),
            tolerated="already exists",
        )

    def remove(self, names: Iterable[str]) -> None:
        """Remove users by name; one that is not there is as good as removed."""
        self._alter_all(
            (
                messages.typed(
                    "xray.app.proxyman.command.RemoveUserOperation", messages.make("RemoveUserOperation", email=name)
                )
                for name in names
            ),
            tolerated="not found",
        )

    def online_addresses(self) -> dict[str, frozenset[str]]:
        """The addresses each user is connected from now; needs `statsUserOnline`, and never lists 127.0.0.1."""
        answer = _call(self._online, messages.make("GetUsersStatsRequest"), _CALL_SECONDS)
        return {user.email: frozenset(entry.ip for entry in user.ips) for user in answer.users}

    def _alter_all(self, operations: Iterable[Any], tolerated: str) -> None:
        requests = (
            (None, messages.make("AlterInboundRequest", tag=self.tag, operation=operation)) for operation in operations
        )
        for _ in _pipeline(self._alter, requests, tolerated):
            pass

    def _method(self, path: str, answer: str) -> Any:
        return self._channel.unary_unary(
            path,
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=messages.message_class(answer).FromString,
        )


def _running(user: Any) -> RunningUser:
    account = messages.parse("VlessAccount", user.account.value)
    return RunningUser(user.email, account.id.lower(), account.flow)


def _call(method: Any, request: Any, timeout_seconds: float) -> Any:
    try:
        return method(request, timeout=timeout_seconds)
    except grpc.RpcError as error:
        raise _told(error) from error


def _pipeline(
    method: Any, requests: Iterable[tuple[Any, Any]], tolerated: str | None = None
) -> Iterable[tuple[Any, Any]]:
    """Call for every (key, request) with a window of calls in flight; yields (key, answer) in order.

    A refusal whose text holds `tolerated` is passed over; any other error cancels what is in flight and is raised.
    """
    flying: deque[tuple[Any, Any]] = deque()

    def land() -> Iterable[tuple[Any, Any]]:
        key, call = flying.popleft()
        try:
            yield key, call.result()
        except grpc.RpcError as error:
            if tolerated is None or error.code() in _UNAVAILABLE or tolerated not in (error.details() or ""):
                raise _told(error) from error

    try:
        for key, request in requests:
            flying.append((key, method.future(request, timeout=_CALL_SECONDS)))
            if len(flying) >= _WINDOW:
                yield from land()
        while flying:
            yield from land()
    finally:
        for _, call in flying:
            call.cancel()


def _told(error: Any) -> Exception:
    if error.code() in _UNAVAILABLE:
        return XrayUnavailableError(error.code().name)
    return XrayRefusedError(error.code().name, error.details() or "")
