"""Files the bot sent: photos, documents, video, sound. A `file_id` sends the same file again, as the same kind."""

from __future__ import annotations

import mimetypes
import pathlib
import secrets
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.files.pictures import Picture, photo_sizes, read_picture
from sandbox.telegram.protocol.errors import bad_request

if TYPE_CHECKING:
    from sandbox.telegram.protocol.arguments import Arguments
    from sandbox.telegram.state.store import Store

# The folder of a kind in `file_path`, and the kind's name in refusals.
FOLDERS: Final = {
    "photo": "photos",
    "document": "documents",
    "video": "videos",
    "animation": "animations",
    "audio": "music",
    "voice": "voice",
}
TYPES: Final = {
    "photo": "Photo",
    "document": "Document",
    "video": "Video",
    "animation": "Animation",
    "audio": "Audio",
    "voice": "VoiceNote",
}
# Whole numbers and texts that a call may say of a file; the server would measure what is missing.
NUMBERS: Final = {
    "document": (),
    "video": ("width", "height", "duration"),
    "animation": ("width", "height", "duration"),
    "audio": ("duration",),
    "voice": ("duration",),
}
TEXTS: Final = {"audio": ("performer", "title")}
_MP4: Final = b"ftyp"
_MP4_AT: Final = slice(4, 8)
# How a file of each kind begins; what begins otherwise becomes a document.
_BEGINNINGS: Final = {
    "animation": (b"GIF87a", b"GIF89a"),
    "audio": (b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"),
    "voice": (b"OggS", b"ID3", b"\xff\xfb", b"\xff\xf3", b"\xff\xf2"),
}


@dataclass(frozen=True)
class StoredPicture:
    """A photo; all sizes of it lead here."""

    file_id: str
    unique_id: str
    path: str
    picture: Picture
    body: bytes

    def sizes(self) -> list[dict[str, Any]]:
        """The `photo` array of a message."""
        return photo_sizes(self.picture, self.file_id, self.unique_id, len(self.body))


@dataclass(frozen=True)
class StoredFile:
    """Anything but a photo. `said` is what the call said of it: sides, seconds, a title."""

    file_id: str
    unique_id: str
    path: str
    kind: str
    name: str
    mime_type: str
    body: bytes
    said: dict[str, Any] = field(default_factory=dict, hash=False)

    def shown(self) -> dict[str, Any]:
        """The message's field or fields; an animation is shown as a document too, as the server does."""
        facts = {"file_id": self.file_id, "file_unique_id": self.unique_id, **self.said}
        if self.kind != "voice" and self.name:
            facts["file_name"] = self.name
        facts |= {"mime_type": self.mime_type, "file_size": len(self.body)}
        if self.kind != "animation":
            return {self.kind: facts}
        plain = {name: value for name, value in facts.items() if name not in NUMBERS["animation"]}
        return {"animation": facts, "document": plain}


def _kind(wanted: str, body: bytes, *, detected: bool) -> str:
    """What the server makes of a file that was sent as `wanted`."""
    if wanted == "document":
        return "animation" if detected and body.startswith(_BEGINNINGS["animation"]) else "document"
    is_mp4 = body[_MP4_AT] == _MP4
    return wanted if is_mp4 or body.startswith(_BEGINNINGS.get(wanted, ())) else "document"


def _facts(stored: StoredPicture | StoredFile) -> dict[str, Any]:
    """All but the bytes, for the store."""
    facts = asdict(stored)
    del facts["body"]
    return facts


class Files:
    """Every file, by `file_id` and by `file_path`."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._pictures: dict[str, StoredPicture] = {}
        self._files: dict[str, StoredFile] = {}
        for facts, body in store.pictures():
            self._remember(StoredPicture(**facts | {"picture": Picture(**facts["picture"])}, body=body))
        for facts, body in store.files():
            stored = StoredFile(**facts, body=body)
            self._files[stored.file_id] = stored

    def _remember(self, stored: StoredPicture) -> None:
        for size in stored.sizes():
            self._pictures[size["file_id"]] = stored
        self._pictures[stored.file_id] = stored

    def _names(self, folder: str, ending: str) -> tuple[str, str, str]:
        """A new `file_id`, `file_unique_id` and `file_path`."""
        number = len(set(self._pictures.values())) + len(self._files)
        path = f"{folder}/file_{number}{ending}"
        return f"AgACAgIAAxkDAAI{secrets.token_urlsafe(42)}", f"AQAD{secrets.token_urlsafe(9)}", path

    def add_picture(self, body: bytes) -> StoredPicture:
        """Keep a photo that was sent.

        Raises:
            ApiError: it is none that Telegram would take.
        """
        picture = read_picture(body)
        stored = StoredPicture(*self._names("photos", f".{picture.kind}"), picture, body)
        self._remember(stored)
        self._store.save_picture(stored.file_id, _facts(stored), body)
        return stored

    def picture(self, file_id: str) -> StoredPicture | None:
        """A photo by the `file_id` of any of its sizes."""
        return self._pictures.get(file_id)

    def file(self, file_id: str) -> StoredFile | None:
        """Anything else by its `file_id`."""
        return self._files.get(file_id)

    def body_at(self, path: str) -> bytes | None:
        """The bytes by the `file_path` that getFile gave."""
        everything: list[StoredPicture | StoredFile] = [*self._pictures.values(), *self._files.values()]
        return next((stored.body for stored in everything if stored.path == path), None)

    def facts(self, file_id: str) -> dict[str, Any] | None:
        """Bot API `File`."""
        names = ("file_id", "file_unique_id", "file_size")
        picture = self._pictures.get(file_id)
        if picture is not None:
            size = next(size for size in picture.sizes() if size["file_id"] == file_id)
            return {name: size[name] for name in names} | {"file_path": picture.path}
        stored = self._files.get(file_id)
        if stored is None:
            return None
        return dict(zip(names, (file_id, stored.unique_id, len(stored.body)), strict=True)) | {"file_path": stored.path}

    def given(self, arguments: Arguments, name: str, kind: str) -> StoredPicture | StoredFile:
        """The file a call sends as `kind`: an upload, or a `file_id` of the same kind.

        Raises:
            ApiError: none, an empty one, one of another kind, or one that would have to be fetched.
        """
        upload = arguments.file(name)
        if upload is not None:
            if not upload.body:
                raise bad_request("file must be non-empty")
            if kind == "photo":
                return self.add_picture(upload.body)
            return self._add(arguments, kind, upload.name, upload.body)
        value = arguments.text(name)
        if not value or value.startswith("attach://"):
            raise bad_request(f"there is no {kind} in the request")
        if value.startswith(("http://", "https://")):
            raise bad_request("failed to get HTTP URL content")  # nothing outside the sandbox is fetched
        stored = self._pictures.get(value) or self._files.get(value)
        if stored is None:
            raise bad_request("wrong file identifier/HTTP URL specified")
        is_now = stored.kind if isinstance(stored, StoredFile) else "photo"
        if is_now != kind:
            raise bad_request(f"can't use file of type {TYPES[is_now]} as {TYPES[kind]}")
        return stored

    def _add(self, arguments: Arguments, wanted: str, name: str, body: bytes) -> StoredFile:
        kind = _kind(wanted, body, detected=not arguments.flag("disable_content_type_detection"))
        said: dict[str, Any] = {number: arguments.integer(number) for number in NUMBERS[kind]}
        said |= {text: arguments.text(text) for text in TEXTS.get(kind, ()) if arguments.text(text)}
        default = {"video": "video/mp4", "voice": "audio/ogg", "audio": "audio/mpeg"}.get(
            kind, "application/octet-stream"
        )
        mime_type = mimetypes.guess_type(name)[0] or default
        ending = pathlib.PurePosixPath(name).suffix
        stored = StoredFile(*self._names(FOLDERS[kind], ending), kind, name, mime_type, body, said)
        self._files[stored.file_id] = stored
        self._store.save_file(stored.file_id, _facts(stored), body)
        return stored
