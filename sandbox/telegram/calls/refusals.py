"""What the Bot API may answer instead of doing what it was asked: the documented texts, and ones that no list has.

The texts are those of the server's source, of its documentation and of MTProto's lists of errors. No caller may depend on the
list being complete, so one draw in three is a text and a code that are made up on the spot.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from sandbox.telegram.protocol.errors import ApiError

if TYPE_CHECKING:
    import random


@dataclass(frozen=True, slots=True)
class Refusal:
    """One answer. `migrate_to` goes into its parameters."""

    code: int
    description: str
    migrate_to: int | None = None

    def error(self) -> ApiError:
        """As it is raised."""
        parameters = None if self.migrate_to is None else {"migrate_to_chat_id": self.migrate_to}
        return ApiError(self.code, self.description, parameters)


def _all(code: int, prefix: str, *texts: str) -> tuple[Refusal, ...]:
    return tuple(Refusal(code, f"{prefix}: {text}") for text in texts)


OF_CHATS: Final = (
    *_all(400, "Bad Request", "chat not found", "PEER_ID_INVALID", "USER_IS_BLOCKED", "INPUT_USER_DEACTIVATED"),
    *_all(400, "Bad Request", "have no rights to send a message", "CHAT_WRITE_FORBIDDEN", "CHAT_RESTRICTED"),
    *_all(
        400,
        "Bad Request",
        "need administrator rights in the channel chat",
        "not enough rights to send photos to the chat",
    ),
    *_all(400, "Bad Request", "TOPIC_CLOSED", "message thread not found", "VOICE_MESSAGES_FORBIDDEN"),
    *_all(403, "Forbidden", "bot was blocked by the user", "bot can't initiate conversation with a user"),
    *_all(
        403,
        "Forbidden",
        "user is deactivated",
        "the bot can't send messages to the bot",
        "bot is not a member of the channel chat",
    ),
    *_all(
        403,
        "Forbidden",
        "bot was kicked from the supergroup chat",
        "not enough rights to send text messages to the chat",
    ),
    Refusal(400, "Bad Request: group chat was upgraded to a supergroup chat", -1_001_234_567_890),
)
OF_CONTENT: Final = (
    *_all(
        400, "Bad Request", "message text is empty", "text must be non-empty", "message is too long", "text is too long"
    ),
    *_all(400, "Bad Request", "message caption is too long", "MEDIA_CAPTION_TOO_LONG", "ENTITY_TEXT_INVALID"),
    *_all(
        400,
        "Bad Request",
        'can\'t parse entities: Unsupported start tag "x" at byte offset 0',
        "unsupported parse_mode",
    ),
    *_all(
        400,
        "Bad Request",
        "can't parse reply keyboard markup JSON object",
        "reply markup is too long",
        "BUTTON_DATA_INVALID",
    ),
    *_all(
        400,
        "Bad Request",
        "BUTTON_URL_INVALID",
        "BUTTON_TYPE_INVALID",
        "BUTTON_USER_PRIVACY_RESTRICTED",
        "BUTTON_COPY_TEXT_INVALID",
    ),
    *_all(400, "Bad Request", "inline keyboard button URL 'x:' is invalid: Unsupported URL protocol"),
    *_all(400, "Bad Request", "can't parse inline keyboard button: Text buttons are unallowed in the inline keyboard"),
    *_all(
        400,
        "Bad Request",
        "wrong file identifier/HTTP URL specified",
        "PHOTO_INVALID_DIMENSIONS",
        "IMAGE_PROCESS_FAILED",
    ),
    *_all(400, "Bad Request", "message to be replied not found", "EFFECT_ID_INVALID", "MESSAGE_ID_INVALID"),
    Refusal(413, "Request Entity Too Large"),
)
OF_EDITS: Final = (
    *_all(
        400,
        "Bad Request",
        "message to edit not found",
        "message can't be edited",
        "message identifier is not specified",
    ),
    *_all(
        400, "Bad Request", "there is no text in the message to edit", "MESSAGE_ID_INVALID", "MESSAGE_EDIT_TIME_EXPIRED"
    ),
    *_all(400, "Bad Request", "message to delete not found", "message can't be deleted"),
)
OF_QUERIES: Final = (
    *_all(
        400, "Bad Request", "query is too old and response timeout expired or query ID is invalid", "QUERY_ID_INVALID"
    ),
    *_all(400, "Bad Request", "MESSAGE_TOO_LONG", "URL_INVALID"),
)
OF_INVOICES: Final = (
    *_all(400, "Bad Request", "CURRENCY_TOTAL_AMOUNT_INVALID", "INVOICE_PAYLOAD_INVALID", "PAYMENT_PROVIDER_INVALID"),
    *_all(
        400, "Bad Request", "wrong invoice information specified", "STARS_INVOICE_INVALID", "CHARGE_ALREADY_REFUNDED"
    ),
)
TROUBLE: Final = (
    Refusal(409, "Conflict: terminated by other getUpdates request; make sure that only one bot instance is running"),
    Refusal(500, "Internal Server Error"),
    Refusal(502, "Bad Gateway"),
    Refusal(504, "Gateway Timeout"),
)
DOCUMENTED: Final = (*OF_CHATS, *OF_CONTENT, *OF_EDITS, *OF_QUERIES, *OF_INVOICES, *TROUBLE)
_SAYING: Final = ("send", "copy", "forward", "edit", "delete", "answer", "pin")
_UNKNOWN: Final = ("Bad Request", "Forbidden", "Conflict", "Not Acceptable", "Unavailable For Legal Reasons", "")
# 401 and 404 stand for a wrong token, a matter of the whole bot, and 429 has a fault of its own.
_CODES: Final = (400, 403, 406, 409, 418, 420, 451, 500, 503)
_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_"


def may_be_refused(method: str) -> bool:
    """Whether the method says something to a customer, in small letters. What sets the bot up is left alone."""
    return method.startswith(_SAYING)


def draw(method: str, dice: random.Random) -> Refusal:
    """One that fits the method, or one that is known nowhere."""
    if dice.random() < 1 / 3:
        name = "".join(dice.choices(_LETTERS, k=dice.randrange(3, 30)))
        return Refusal(dice.choice(_CODES), ": ".join(filter(None, (dice.choice(_UNKNOWN), name))))
    if method.startswith("answer"):
        return dice.choice((*OF_QUERIES, *TROUBLE))
    if method.startswith(("edit", "delete")):
        return dice.choice((*OF_CHATS, *OF_CONTENT, *OF_EDITS, *TROUBLE))
    return dice.choice((*OF_CHATS, *OF_CONTENT, *TROUBLE, *(OF_INVOICES if method == "sendinvoice" else ())))
