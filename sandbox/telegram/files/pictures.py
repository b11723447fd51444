"""Pictures sent by the bot: the format is read, not believed, for its width and height."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import Any, Final

from sandbox.telegram.protocol.errors import bad_request

PHOTO_LIMIT: Final = 10 * 1024 * 1024
SIDES_LIMIT: Final = 10_000
RATIO_LIMIT: Final = 20
# The boxes of Telegram's smaller copies.
BOXES: Final = (90, 320, 800, 1280)
_PNG: Final = b"\x89PNG\r\n\x1a\n"
_IHDR_END: Final = 33
_FRAME_HEADERS: Final = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_WITHOUT_LENGTH: Final = frozenset({0x01, *range(0xD0, 0xD8)})
_START_OF_SCAN: Final = 0xDA
_END_OF_IMAGE: Final = 0xD9


@dataclass(frozen=True)
class Picture:
    """What the file is: its kind (`png` or `jpg`) and its sides in pixels."""

    kind: str
    width: int
    height: int


def _png(body: bytes) -> Picture | None:
    if len(body) < _IHDR_END or body[12:16] != b"IHDR":
        return None
    width, height = struct.unpack(">II", body[16:24])
    intact = zlib.crc32(body[12:29]) == int.from_bytes(body[29:33], "big")
    return Picture("png", width, height) if intact and b"IDAT" in body and b"IEND" in body[-12:] else None


def _jpeg(body: bytes) -> Picture | None:
    at = 2
    while at + 4 <= len(body) and body[at] == 0xFF:  # noqa: PLR2004 - every marker starts with this byte
        marker = body[at + 1]
        if marker in _WITHOUT_LENGTH or marker == 0xFF:  # noqa: PLR2004 - fill byte
            at += 1 if marker == 0xFF else 2  # noqa: PLR2004 - fill byte
            continue
        if marker in {_START_OF_SCAN, _END_OF_IMAGE}:
            return None
        if marker in _FRAME_HEADERS and at + 9 <= len(body):
            height, width = struct.unpack(">HH", body[at + 5 : at + 9])
            return Picture("jpg", width, height)
        at += 2 + int.from_bytes(body[at + 2 : at + 4], "big")
    return None


def read_picture(body: bytes) -> Picture:
    """Kind and sides of a picture that `sendPhoto` would take.

    Raises:
        ApiError: too big, not a picture, broken, or sides that a photo may not have.
    """
    if len(body) > PHOTO_LIMIT:
        raise bad_request(
            f"file of size {len(body)} bytes is too big for a photo; the maximum size is {PHOTO_LIMIT} bytes"
        )
    picture = None
    if body.startswith(_PNG):
        picture = _png(body)
    elif body.startswith(b"\xff\xd8"):
        picture = _jpeg(body)
    if picture is None or not picture.width or not picture.height:
        raise bad_request("IMAGE_PROCESS_FAILED")
    small, large = sorted((picture.width, picture.height))
    if small + large > SIDES_LIMIT or large > RATIO_LIMIT * small:
        raise bad_request("PHOTO_INVALID_DIMENSIONS")
    return picture


def scaled_sides(picture: Picture) -> list[tuple[int, int]]:
    """Width and height of each copy Telegram would make, smallest first; a picture that fits is its own largest copy."""
    longest = max(picture.width, picture.height)
    sizes = [
        (max(1, picture.width * box // longest), max(1, picture.height * box // longest))
        for box in BOXES
        if box < longest
    ]
    return [*sizes, (picture.width, picture.height)] if longest <= BOXES[-1] else sizes


def photo_sizes(picture: Picture, file_id: str, unique_id: str, size: int) -> list[dict[str, Any]]:
    """The `photo` array of a message. All copies lead to the bytes that were sent: nothing is recompressed here."""
    sides = scaled_sides(picture)
    last = len(sides) - 1
    return [
        {
            "file_id": file_id if at == last else f"{file_id}-{at}",
            "file_unique_id": unique_id if at == last else f"{unique_id}-{at}",
            "file_size": size,
            "width": width,
            "height": height,
        }
        for at, (width, height) in enumerate(sides)
    ]
