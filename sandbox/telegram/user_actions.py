"""What the chat page lets a person do: by name, each with what the page sends for it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sandbox.telegram.user import User

Body = dict[str, Any]


class BadInputError(ValueError):
    """What the page sent makes no sense; the text says why."""


def _message_id(body: Body) -> int:
    message_id = body.get("message_id")
    if not isinstance(message_id, int):
        raise BadInputError("message_id is needed")
    return message_id


async def _send(user: User, body: Body) -> Body:
    return {"update_id": await user.send(str(body.get("text", "")))}


async def _start(user: User, body: Body) -> Body:
    """Writing takes a blocked bot back, as Restart does."""
    return {"update_id": await user.send(f"/start {body.get('payload', '')}")}


async def _edit(user: User, body: Body) -> Body:
    return {"update_id": user.edit(_message_id(body), str(body.get("text", "")))}


async def _erase(user: User, body: Body) -> Body:
    user.delete_message(_message_id(body))
    return {}


async def _click(user: User, body: Body) -> Body:
    data = body.get("data")
    if not isinstance(data, str):
        raise BadInputError("data is needed")
    return {"query_id": await user.click_raw(_message_id(body), data)}


async def _pay(user: User, body: Body) -> Body:
    link, charges, method = body.get("link"), body.get("charges", 1), body.get("method", "card")
    if not isinstance(charges, int) or charges not in {1, 2} or method not in ("card", "declined"):
        raise BadInputError("one charge or two, by a card that is taken or declined")
    info = body.get("order_info", {})
    if not isinstance(info, dict):
        raise BadInputError("order_info is an object")
    user.fill_in(info)
    if isinstance(link, str):
        return asdict(await user.pay_link(link, method=method, charges=charges))
    return asdict(await user.pay(_message_id(body), method=method, charges=charges))


async def _cancel(user: User, body: Body) -> Body:
    return {"update_id": user.cancel_subscription(str(body.get("charge_id", "")))}


async def _resume(user: User, body: Body) -> Body:
    return {"update_id": user.resume_subscription(str(body.get("charge_id", "")))}


async def _block(user: User, _body: Body) -> Body:
    return {"update_id": user.block()}


async def _unblock(user: User, _body: Body) -> Body:
    return {"update_id": user.unblock()}


async def _delete(user: User, _body: Body) -> Body:
    user.delete_account()
    return {}


USER_ACTIONS: Final[Mapping[str, Callable[[User, Body], Awaitable[Body]]]] = {
    "send": _send,
    "start": _start,
    "edit": _edit,
    "erase": _erase,
    "click": _click,
    "pay": _pay,
    "cancel": _cancel,
    "resume": _resume,
    "block": _block,
    "unblock": _unblock,
    "delete": _delete,
}
"""Each raises BadInputError, or ValueError with the app's reason."""
