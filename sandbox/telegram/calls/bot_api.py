"""The Bot API as one table of calls: looked up, checked, executed, recorded; over HTTP or inside a webhook response."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.calls.faults import HANG, CallFaults, Fault
from sandbox.telegram.methods.webhook import Described
from sandbox.telegram.protocol.errors import ApiError, not_modelled
from sandbox.telegram.protocol.method_table import methods
from sandbox.telegram.updates.delivery import KEPT

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from datetime import datetime

    from sandbox.stand_in.clock import Clock
    from sandbox.telegram.calls.limits import Throttle
    from sandbox.telegram.protocol.arguments import Arguments

# Not executed when they come inside a webhook response, nor is any get*.
NOT_IN_RESPONSE: Final = {"setwebhook", "deletewebhook", "close", "logout"}


def is_executed_in_response(method: str) -> bool:
    """Whether a call that comes inside a webhook response is made at all."""
    name = method.lower()
    return name not in NOT_IN_RESPONSE and not name.startswith("get")


@dataclass
class Call:
    """One call as it came and as it was answered: `time` on the sandbox's clock, `duration` in real seconds.

    `code` is 0 while it is being executed or hangs; `result` is the result's JSON value.
    """

    method: str
    params: dict[str, Any]
    time: datetime
    in_response: bool = False
    code: int = 0
    description: str = ""
    duration: float = 0.0
    result: Any = field(default=None, repr=False)
    # Names the API does not know for this method; the server ignores them in silence, a test should not.
    unknown_parameters: list[str] = field(default_factory=list)
    # Required by the documentation and not given (the server's answer is in `description`).
    missing_parameters: list[str] = field(default_factory=list)


class BotApi:
    """Executes calls by name. `table` maps lower-case names to coroutines of one argument; `faults` go wrong on purpose."""

    def __init__(
        self, clock: Clock, throttle: Throttle, table: dict[str, Callable[[Arguments], Awaitable[Any]]]
    ) -> None:
        self._clock = clock
        self.throttle = throttle
        self._table = table
        self.faults = CallFaults()
        self._stopping = asyncio.Event()
        self.calls: list[Call] = []

    def stop(self) -> None:
        """Let go of calls that hang."""
        self._stopping.set()

    def start(self) -> None:
        """Hang again when told to."""
        self._stopping.clear()

    def _record(self, method: str, arguments: Arguments, *, in_response: bool) -> Call:
        known: dict[str, str] = methods().get(method.lower(), {}).get("parameters", {})
        given = {name: _shown(value, known.get(name, "string")) for name, value in arguments.values.items()}
        uploads = {name: f"<{len(upload.body)} bytes>" for name, upload in arguments.files.items()}
        attached = {value.removeprefix("attach://") for value in _strings(given) if value.startswith("attach://")}
        call = Call(
            methods().get(method.lower(), {}).get("name", method),
            given | uploads,
            self._clock.now(),
            in_response,
            unknown_parameters=sorted((set(given) | (set(uploads) - attached)) - set(known)),
            missing_parameters=sorted(
                name for name, kind in known.items() if kind.endswith("!") and name not in given | uploads
            ),
        )
        self.calls.append(call)
        del self.calls[:-KEPT]
        return call

    async def _execute(self, method: str, arguments: Arguments) -> Any:
        handler = self._table.get(method.lower())
        if handler is None:
            known = methods().get(method.lower())
            raise not_modelled(known["name"]) if known else ApiError(404, "Not Found: method not found")
        self.throttle.check(method, arguments)
        return await handler(arguments)

    async def call(self, method: str, arguments: Arguments, *, in_response: bool = False) -> tuple[int, dict[str, Any]]:
        """Execute one call; the answer is the HTTP status and the JSON body."""
        call = self._record(method, arguments, in_response=in_response)
        began = time.monotonic()
        try:
            return await self._answer(call, method, arguments)
        finally:
            call.duration = time.monotonic() - began

    async def _answer(self, call: Call, method: str, arguments: Arguments) -> tuple[int, dict[str, Any]]:
        fault = self.faults.of_next(method.lower())
        try:
            result = None
            if fault is None or fault.executed:
                result = await self._execute(method, arguments)
            if fault is not None:
                await self._fail(fault)
        except ApiError as error:
            call.code, call.description = error.code, error.description
            body: dict[str, Any] = {"ok": False, "error_code": error.code, "description": error.description}
            if error.parameters is not None:
                body["parameters"] = error.parameters
            return error.code, body
        call.code = 200
        if isinstance(result, Described):
            call.description, call.result = result.description, result.result
            return 200, {"ok": True, "result": result.result, "description": result.description}
        call.result = result
        return 200, {"ok": True, "result": result}

    async def _fail(self, fault: Fault) -> None:
        if fault.code == HANG:
            await self._stopping.wait()
            raise ApiError(502, "Bad Gateway")
        raise fault.refusal

    async def call_in_response(self, method: str, arguments: Arguments) -> None:
        """Execute a call that came inside a webhook response: its outcome is reported nowhere."""
        if not is_executed_in_response(method):
            ignored = self._record(method, arguments, in_response=True)
            ignored.description = "ignored in a webhook response"
            return
        await self.call(method, arguments, in_response=True)


def _strings(given: dict[str, Any]) -> list[str]:
    """All strings in the arguments, nested ones too: an upload may be named deep inside."""
    found: list[str] = []
    waiting: list[Any] = list(given.values())
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list):
            waiting.extend(value)
    return found


def _shown(value: str, kind: str) -> Any:
    """A value for the record: numbers, flags and JSON as what they are where they can be read so."""
    kind = kind.removesuffix("!")
    if kind == "string":
        return value
    try:
        return json.loads(value.lower() if kind == "boolean" else value)
    except (ValueError, RecursionError):
        return value
