"""Methods that send files, or put one in the place of another: photos, documents, video, sound, albums."""

from __future__ import annotations

import json
import secrets
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.arguments import Arguments
from sandbox.telegram.editing import MEDIA
from sandbox.telegram.errors import bad_request, not_modelled
from sandbox.telegram.files import StoredPicture
from sandbox.telegram.keyboards import parse_markup

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sandbox.telegram.chats import Account, Chats, Message
    from sandbox.telegram.editing import Editing
    from sandbox.telegram.files import StoredFile
    from sandbox.telegram.sending import Formatted, Sending

ALBUM_LIMIT: Final = 10
# What may stand beside what in an album: documents and sound only beside their own kind.
ALBUM: Final = {"photo", "video", "document", "audio"}
ALONE: Final = ("document", "audio")
FLAGS: Final = {"has_spoiler": "has_media_spoiler", "show_caption_above_media": "show_caption_above_media"}


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

    @staticmethod
    def _described(raw: Any, arguments: Arguments) -> tuple[str, Arguments]:
        """An InputMedia as the arguments of a call of its own: its type, and everything else."""
        if not isinstance(raw, dict):
            raise bad_request("can't parse InputMedia: expected an Object")
        for name in ("type", "media"):
            if not isinstance(raw.get(name), str):
                raise bad_request(f"can't parse InputMedia: Can't find field \"{name}\"")
        described = Arguments(
            {name: value if isinstance(value, str) else json.dumps(value) for name, value in raw.items()},
            arguments.files,
        )
        return raw["type"], described

    async def send_group(self, arguments: Arguments) -> list[Message]:
        """Send an album of 2 to 10 files."""
        listed = arguments.parsed("media", "can't parse media JSON object")
        if not isinstance(listed, list):
            raise bad_request("expected an Array of InputMedia")
        if not listed:
            raise bad_request("there are no messages to send")
        if len(listed) > ALBUM_LIMIT:
            raise bad_request("too many messages to send as an album")
        if len(listed) == 1:
            raise not_modelled("albums of one")
        items = [self._described(raw, arguments) for raw in listed]
        kinds = {kind for kind, _ in items}
        if not kinds <= ALBUM:
            raise bad_request("invalid message content type")
        mixed = next((kind for kind in ALONE if kind in kinds and len(kinds) > 1), None)
        if mixed is not None:
            raise bad_request(f"{mixed} can't be mixed with other media types")
        captions = [self._sending.caption(described) for _, described in items]
        account = self._chats.open_chat(arguments.text("chat_id"))
        for caption in captions:
            self._sending.check_caption(caption)
        options = self._sending.options(arguments, account)
        media = [self._media(described, "media", kind) for kind, described in items]
        return self._send_all(account, media, captions, options)

    def _send_all(
        self, account: Account, media: list[dict[str, Any]], captions: list[Formatted], options: dict[str, Any]
    ) -> list[Message]:
        album = {"media_group_id": str(secrets.randbits(53))} | options
        pairs = zip(media, captions, strict=True)
        return [self._sending.send(account, one | caption.fields("caption") | album, None) for one, caption in pairs]

    async def edit_media(self, arguments: Arguments) -> Message:
        """Put another file, with its caption, in the place of a message's content."""
        media = arguments.parsed("media", "can't parse input media JSON object")
        if media is None:
            raise bad_request("input media is not specified")
        kind, described = self._described(media, arguments)
        if kind not in MEDIA or kind == "voice":
            raise bad_request("invalid message content type")
        caption = self._sending.caption(described)
        markup = parse_markup(arguments.text("reply_markup"), inline_only=True)
        message = self._editing.target(arguments)
        if "invoice" in message:
            raise bad_request("message can't be edited")
        self._sending.check_caption(caption)
        return self._editing.edit(message, self._media(described, "media", kind) | caption.fields("caption"), markup)
