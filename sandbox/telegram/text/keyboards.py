"""Reply markup: which inline keyboards the server takes, and the texts it refuses the others with."""

from __future__ import annotations

import json
from typing import Any, Final

from sandbox.telegram.protocol.errors import bad_request, not_modelled
from sandbox.telegram.text.links import LinkError, check_link
from sandbox.telegram.text.texts import clean

Keyboard = list[list[dict[str, Any]]]

DATA_LIMIT: Final = 64  # bytes
COPY_LIMIT: Final = 256  # code points
BUTTONS_LIMIT: Final = 100
ROW_LIMIT: Final = 8
MARKUP_LIMIT: Final = 10_000  # bytes of the whole markup, serialised
STYLES: Final = {"danger", "success", "primary"}
NOT_MODELLED: Final = (
    "login_url",
    "switch_inline_query",
    "switch_inline_query_current_chat",
    "switch_inline_query_chosen_chat",
)


def _button_error(reason: str) -> Exception:
    return bad_request(f"can't parse inline keyboard button: {reason}")


def _string(button: dict[str, Any], name: str) -> str:
    value = button.get(name, "")
    if isinstance(value, bool | list | dict) or value is None:
        raise _button_error(f'Field "{name}" must be of type String')
    return clean(str(value))


def _nested(button: dict[str, Any], name: str, field: str) -> str:
    value = button[name]
    if not isinstance(value, dict):
        raise _button_error(f'Field "{name}" must be of type Object')
    if field not in value:
        raise _button_error(f'Can\'t find field "{field}"')
    return _string(value, field)


def _url(label: str, link: str, *, https_only: bool = False) -> str:
    try:
        return check_link(link, https_only=https_only)
    except LinkError as error:
        raise bad_request(f"inline keyboard button {label} '{link}' is invalid: {error}") from None


def _action(button: dict[str, Any]) -> dict[str, Any]:
    """What pressing the button does, looked for in the server's order; an empty value is as good as none."""
    if _string(button, "url"):
        return {"url": _url("URL", _string(button, "url"))}
    if _string(button, "callback_data"):
        return {"callback_data": _string(button, "callback_data")}
    if "callback_game" in button:
        raise not_modelled("callback_game buttons")
    if "pay" in button:
        return {"pay": True}
    for name in NOT_MODELLED:
        if name in button:
            raise not_modelled(f"{name} buttons")
    if "web_app" in button:
        return {"web_app": {"url": _url("Web App URL", _nested(button, "web_app", "url"), https_only=True)}}
    if "copy_text" in button:
        return {"copy_text": {"text": _nested(button, "copy_text", "text")}}
    if "disabled" in button:
        return {"disabled": {}}
    raise _button_error("Text buttons are unallowed in the inline keyboard")


def _button(raw: Any) -> dict[str, Any] | None:
    if not isinstance(raw, dict):
        raise bad_request("can't parse inline keyboard button: InlineKeyboardButton must be an Object")
    if "text" not in raw:
        raise _button_error('Can\'t find field "text"')
    button: dict[str, Any] = {"text": _string(raw, "text"), **_action(raw)}
    if _string(raw, "icon_custom_emoji_id"):
        raise not_modelled("custom emoji on buttons")
    style = _string(raw, "style")
    if style:
        if style not in STYLES:
            raise _button_error("Invalid button style specified")
        button["style"] = style
    return button if button["text"] else None


def _check_sizes(keyboard: Keyboard) -> None:
    """Limits the server behind the API keeps, in its capitals."""
    for button in (button for row in keyboard for button in row):
        if len(button.get("callback_data", "").encode()) > DATA_LIMIT:
            raise bad_request("BUTTON_DATA_INVALID")
        if "copy_text" in button and not 1 <= len(button["copy_text"]["text"]) <= COPY_LIMIT:
            raise bad_request("BUTTON_COPY_TEXT_INVALID")
    if len(json.dumps(keyboard, ensure_ascii=False).encode()) > MARKUP_LIMIT:
        raise bad_request("reply markup is too long")
    if any(len(row) > ROW_LIMIT for row in keyboard) or sum(map(len, keyboard)) > BUTTONS_LIMIT:
        raise bad_request("reply markup is too long")  # the API's words for REPLY_MARKUP_TOO_LONG


def check_pay_buttons(markup: dict[str, Any] | None, *, invoice: bool) -> None:
    """An invoice's first button pays, nothing else does.

    Raises:
        ApiError: in the capitals of the server behind the API.
    """
    if markup is None:
        return
    first, *others = [button for row in markup["inline_keyboard"] for button in row]
    if not invoice and any("pay" in button for button in (first, *others)):
        raise bad_request("BUTTON_TYPE_INVALID")
    if invoice and "pay" not in first:
        raise bad_request("REPLY_MARKUP_BUY_EMPTY")
    if any("pay" in button for button in others):
        raise bad_request("BUTTON_POS_INVALID")


def _inline(rows: Any) -> dict[str, Any] | None:
    if not isinstance(rows, list):
        raise bad_request('field "inline_keyboard" must be of type Array')
    keyboard: Keyboard = []
    for row in rows:
        if not isinstance(row, list):
            raise bad_request('field "inline_keyboard" of the InlineKeyboardMarkup must be an Array of Arrays')
        buttons = [button for button in map(_button, row) if button is not None]
        if buttons:
            keyboard.append(buttons)
    _check_sizes(keyboard)
    return {"inline_keyboard": keyboard} if keyboard else None


def parse_markup(markup: str, *, inline_only: bool = False) -> dict[str, Any] | None:
    """The `reply_markup` of a message as it will be shown, None for none.

    Raises:
        ApiError: with the server's reason; 501 for markups that the stand-in does not show.
    """
    if not markup:
        return None
    try:
        parsed = json.loads(markup)
    except (ValueError, RecursionError):
        raise bad_request("can't parse reply keyboard markup JSON object") from None
    if not isinstance(parsed, dict):  # null is no object either, although many a library sends it for "none"
        raise bad_request("object expected as reply markup")
    if "inline_keyboard" in parsed:
        return _inline(parsed["inline_keyboard"])
    for name in ("remove_keyboard", "force_reply"):
        if not isinstance(parsed.get(name, False), bool):
            raise bad_request(f'field "{name}" must be of type Boolean')
    if inline_only and parsed:
        raise bad_request("inline keyboard expected")
    if "keyboard" in parsed:
        raise not_modelled("reply keyboards; use inline ones")
    return None
