"""Methods that send files, or put one in the place of another: photos, documents, video, sound, albums."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.chats.editing import MEDIA
from sandbox.telegram.files.files import StoredPicture
from sandbox.telegram.protocol.arguments import Arguments
from sandbox.telegram.protocol.errors import ApiError, bad_request, not_modelled
from sandbox.telegram.text.keyboards import parse_markup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.telegram.chats.accounts import Account
    from sandbox.telegram.chats.chats import Chats, Message
    from sandbox.telegram.chats.editing import Editing
    from sandbox.telegram.chats.sending import Formatted, Sending
    from sandbox.telegram.files.files import StoredFile

ALBUM_LIMIT: Final = 10
# What stands beside its own kind alone in an album.
ALONE: Final = ("document", "audio")
FLAGS: Final = {"has_spoiler": "has_media_spoiler", "show_caption_above_media": "show_caption_above_media"}


@dataclass(frozen=True)
class _Described:
    """One InputMedia as it was read."""

    kind: str
    arguments: Arguments
    caption: Formatted


def _unreadable(reason: str) -> ApiError:
    return bad_request(f"can't parse InputMedia: {reason}")


class MediaMethods:
    """One coroutine a method; each takes the call's arguments and returns the call's result."""

    def __init__(self, chats: Chats, sending: Sending, editing: Editing) -> None:
        self._chats = chats
        self._sending = sending
        self._editing = editing

    def table(self) -> dict[str, Callable[[Arguments], Awaitable[Any]]]:
        """The methods by lower-case name."""
        return {f"send{kind}": partial(self.send, kind) for kind in MEDIA} | {
            "sendmediagroup": self.send_group,
            "editmessagemedia": self.edit_media,
        }

    def _media(self, arguments: Arguments, name: str, kind: str) -> dict[str, Any]:
        """The message's fields for the file of a call, with what is said about showing it."""
        if arguments.text("thumbnail") or arguments.file("thumbnail") or arguments.text("cover"):
            raise not_modelled("thumbnails and covers of one's own")
        stored: StoredPicture | StoredFile = self._chats.files.given(arguments, name, kind)
        shown = {"photo": stored.sizes()} if isinstance(stored, StoredPicture) else stored.shown()
        return shown | {field: True for flag, field in FLAGS.items() if arguments.flag(flag)}

    async def send(self, kind: str, arguments: Arguments) -> Message:
        """Send one file (an upload or a `file_id`) with a caption of up to 1024 code points."""
        if arguments.file(kind) is None and not arguments.text(kind):
            raise bad_request(f"there is no {kind} in the request")
        caption = self._sending.caption(arguments)
        markup = parse_markup(arguments.text("reply_markup"))
        account = self._chats.open_chat(arguments.text("chat_id"))
        self._sending.check_caption(caption)
        options = self._sending.options(arguments, account)
        media = self._media(arguments, kind, kind)
        return self._sending.send(account, media | caption.fields("caption") | options, markup)

    def _described(self, raw: Any, arguments: Arguments, *, album: bool = False) -> _Described:
        """An InputMedia: its type, its caption, and everything as the arguments of a call of its own."""
        if not isinstance(raw, dict):
            raise _unreadable("expected an Object")
        values = {name: value if isinstance(value, str) else json.dumps(value) for name, value in raw.items()}
        described = Arguments(values, arguments.files)
        try:
            caption = self._sending.caption(described)
        except ApiError as error:
            reason = error.description.removeprefix("Bad Request: ")
            raise _unreadable(reason[:1].upper() + reason[1:]) from None
        is_part = described.text("media").startswith("attach://")
        if not described.text("media") or (is_part and described.file("media") is None):
            raise _unreadable("media not found")
        if "type" not in raw:
            raise _unreadable('Can\'t find field "type"')
        kind = described.text("type")
        if album and kind == "animation":
            raise _unreadable(f'type "{kind}" can\'t be used in sendMediaGroup')
        if kind not in MEDIA or kind == "voice":
            raise _unreadable(f'type "{kind}" is unsupported')
        if album:  # a document stays one, whatever is in it
            values["disable_content_type_detection"] = "true"
        return _Described(kind, described, caption)

    @staticmethod
    def _listed(arguments: Arguments, what: str) -> Any:
        if not arguments.text("media"):
            raise bad_request('parameter "media" is required')
        return arguments.parsed("media", f"can't parse {what} JSON object")

    async def send_group(self, arguments: Arguments) -> list[Message]:
        """Send an album of 2 to 10 files."""
        listed = self._listed(arguments, "media")
        if not isinstance(listed, list):
            raise bad_request("expected an Array of InputMedia")
        items = [self._described(raw, arguments, album=True) for raw in listed]
        account = self._chats.open_chat(arguments.text("chat_id"))
        if not listed:
            raise bad_request("there are no messages to send")
        if len(listed) > ALBUM_LIMIT:
            raise bad_request("too many messages to send as an album")
        if len(listed) == 1:
            raise not_modelled("albums of one")
        kinds = {item.kind for item in items}
        mixed = next((kind for kind in ALONE if kind in kinds and len(kinds) > 1), None)
        if mixed is not None:
            raise bad_request(f"{mixed} can't be mixed with other media types")
        for item in items:
            self._sending.check_caption(item.caption)
        options = self._sending.options(arguments, account)
        media = [self._media(item.arguments, "media", item.kind) for item in items]
        return self._send_all(account, media, [item.caption for item in items], options)

    def _send_all(
        self, account: Account, media: list[dict[str, Any]], captions: list[Formatted], options: dict[str, Any]
    ) -> list[Message]:
        album = {"media_group_id": str(secrets.randbits(53))} | options
        pairs = zip(media, captions, strict=True)
        return [self._sending.send(account, one | caption.fields("caption") | album, None) for one, caption in pairs]

    async def edit_media(self, arguments: Arguments) -> Message:
        """Put another file, with its caption, in the place of a message's content."""
        markup = parse_markup(arguments.text("reply_markup"), inline_only=True)
        item = self._described(self._listed(arguments, "input media"), arguments)
        message = self._editing.target(arguments)
        if "invoice" in message:
            raise bad_request("message can't be edited")
        self._sending.check_caption(item.caption)
        content = self._media(item.arguments, "media", item.kind) | item.caption.fields("caption")
        return self._editing.edit(message, content, markup)
