"""`parse_mode=HTML` as the server reads it: which tags, which errors, which entities.

Not an HTML parser: the server's is a small scanner with habits of its own, which texts must survive. `&nbsp;` stays as
typed, a bare `&` is fine, `1 < 2` is an error, a link that Telegram cannot open is dropped without a word. Positions in
errors are bytes, positions of entities are UTF-16 units.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

from sandbox.telegram.protocol.errors import bad_request
from sandbox.telegram.text.links import LinkError, check_link, user_of_link

Entity = dict[str, Any]

SIMPLE_TAGS: Final = {
    "b": "bold",
    "strong": "bold",
    "i": "italic",
    "em": "italic",
    "u": "underline",
    "ins": "underline",
    "s": "strikethrough",
    "strike": "strikethrough",
    "del": "strikethrough",
    "span": "spoiler",
    "tg-spoiler": "spoiler",
}
OTHER_TAGS: Final = {"a", "code", "pre", "blockquote", "tg-emoji", "tg-time"}
# Which attribute of which tag means something; every other one is read and forgotten.
ATTRIBUTES: Final = {
    ("a", "href"),
    ("code", "class"),
    ("span", "class"),
    ("tg-emoji", "emoji-id"),
    ("tg-time", "unix"),
    ("tg-time", "format"),
    ("blockquote", "expandable"),
}
_SPACE = b" \t\r\n\0\x0b"
_NAMED = {b"lt": "<", b"gt": ">", b"amp": "&", b"quot": '"'}
_REFERENCE = re.compile(rb"&(?:#x([0-9a-fA-F]*)|#([0-9]*)|([A-Za-z]*));?")
_LONGEST_NUMBER = 10
_LAST_CODE_POINT = 0x10FFFF
_SURROGATES = range(0xD800, 0xE000)
_BEYOND_BMP = 0xFFFF
_INT64 = 2**63


def utf16_length(text: str) -> int:
    """Length in UTF-16 units, which is how Telegram counts offsets."""
    return len(text) + sum(ord(char) > _BEYOND_BMP for char in text)


@dataclass(frozen=True)
class _OpenTag:
    name: str
    attributes: dict[str, str]
    offset: int
    characters: int


def _character(source: bytes, at: int) -> tuple[str, int]:
    """The character that a reference at this `&` stands for and where it ends; empty when it is a plain `&`."""
    found = _REFERENCE.match(source, at)
    if found is None:
        return "", at
    hexadecimal, decimal, name = found.groups()
    if name is not None:
        return _NAMED.get(name, ""), found.end()
    code = int(hexadecimal or b"0", 16) if hexadecimal is not None else int(decimal or b"0")
    digits_end = found.end() - found[0].endswith(b";")
    if not 0 < code < _LAST_CODE_POINT or code in _SURROGATES or digits_end - at >= _LONGEST_NUMBER:
        return "", at
    return chr(code), found.end()


class _Scanner:
    """One pass over the text. `source` ends with a NUL, so looking one byte ahead is always possible."""

    def __init__(self, text: str) -> None:
        self.source = text.encode() + b"\0"
        self.end = len(self.source) - 1
        self.at = 0
        self.tag_at = 0
        self.text: list[str] = []
        self.offset = 0
        self.open: list[_OpenTag] = []
        self.entities: list[Entity] = []

    def run(self) -> tuple[str, list[Entity]]:
        while self.at < self.end:
            mark = self.source[self.at : self.at + 1]
            if mark == b"<":
                self.tag_at = self.at
                if self.source[self.at + 1 : self.at + 2] == b"/":
                    self._close()
                else:
                    self._start()
            else:
                self._plain(mark)
        if self.open:
            raise _error(f'Can\'t find end tag corresponding to start tag "{self.open[-1].name}"')
        return "".join(self.text), self.entities

    def _plain(self, mark: bytes) -> None:
        if mark == b"&":
            character, after = _character(self.source, self.at)
            if character:
                self._write(character)
                self.at = after
                return
            self._write("&")
            self.at += 1
            return
        found = re.compile(rb"[^<&]+").match(self.source, self.at, self.end)
        if found is None:  # the loop hands over anything but `<` and `&`
            raise AssertionError("nothing to read")
        self._write(found[0].decode())
        self.at = found.end()

    def _write(self, text: str) -> None:
        self.text.append(text)
        self.offset += utf16_length(text)

    def _byte(self) -> bytes:
        return self.source[self.at : self.at + 1]

    def _at_end(self) -> bool:
        return self.at >= self.end

    def _skip_space(self) -> None:
        while not self._at_end() and self._byte() in _SPACE:
            self.at += 1

    def _read_until(self, stop: bytes) -> str:
        begin = self.at
        while not self._at_end() and self._byte() not in stop:
            self.at += 1
        return self.source[begin : self.at].decode()

    def _start(self) -> None:
        self.at += 1
        name = self._read_until(_SPACE + b">").lower()
        if self._at_end():
            raise _error(f"Unclosed start tag at byte offset {self.tag_at}")
        if name not in SIMPLE_TAGS and name not in OTHER_TAGS:
            raise _error(f'Unsupported start tag "{name}" at byte offset {self.tag_at}')
        attributes: dict[str, str] = {}
        while self._byte() != b">":
            self._skip_space()
            if self._byte() == b">":
                break
            self._attribute(name, attributes)
        self.at += 1
        if name == "span" and attributes.get("class") != "tg-spoiler":
            raise _error(f'Tag "span" must have class "tg-spoiler" at byte offset {self.tag_at}')
        self.open.append(_OpenTag(name, attributes, self.offset, len(self.text)))

    def _attribute(self, tag: str, attributes: dict[str, str]) -> None:
        name = self._read_until(_SPACE + b"=>/\"'")
        if not name:
            raise _error(f'Empty attribute name in the tag "{tag}" at byte offset {self.tag_at}')
        self._skip_space()
        value = ""
        if self._byte() == b"=":
            self.at += 1
            self._skip_space()
            self._not_at_end(tag)
            value = self._value()
            if self.at > self.end:
                raise _error(f"Unclosed start tag at byte offset {self.tag_at}")  # this one text has no tag name
        self._not_at_end(tag)
        if (tag, name) in ATTRIBUTES:
            attributes[name] = value

    def _not_at_end(self, tag: str) -> None:
        if self._at_end():
            raise _error(f'Unclosed start tag "{tag}" at byte offset {self.tag_at}')

    def _value(self) -> str:
        quote = self._byte()
        if quote not in (b"'", b'"'):
            begin = self.at
            found = re.compile(rb"[A-Za-z0-9.-]*").match(self.source, self.at)
            self.at = found.end() if found else begin
            if self._byte() not in _SPACE + b">":
                raise _error(f"Unexpected end of name token at byte offset {begin}")
            return self.source[begin : self.at].decode().lower()
        self.at += 1
        value = bytearray()
        while not self._at_end() and self._byte() != quote:
            character, after = _character(self.source, self.at) if self._byte() == b"&" else ("", self.at)
            if character:
                value += character.encode()
                self.at = after
            else:
                value += self._byte()
                self.at += 1
        self.at += 1  # the closing quote, or past the end of the text, which the caller notices
        return value.decode()

    def _close(self) -> None:
        if not self.open:
            raise _error(f"Unexpected end tag at byte offset {self.tag_at}")
        self.at += 2
        name = self._read_until(_SPACE + b">").lower()
        self._skip_space()
        if self._byte() != b">":
            raise _error(f"Unclosed end tag at byte offset {self.tag_at}")
        self.at += 1
        tag = self.open.pop()
        if name not in ("", tag.name):
            raise _error(f'Unmatched end tag at byte offset {self.tag_at}, expected "</{tag.name}>", found "</{name}>"')
        if self.offset > tag.offset:
            self._entity(tag)

    def _entity(self, tag: _OpenTag) -> None:
        span: Entity = {"offset": tag.offset, "length": self.offset - tag.offset}
        kind = SIMPLE_TAGS.get(tag.name)
        if kind is not None:
            self.entities.append({**span, "type": kind})
        elif tag.name == "a":
            self._link(tag, span)
        elif tag.name in {"code", "pre"}:
            self._code(tag, span)
        elif tag.name == "blockquote":
            kind = "expandable_blockquote" if "expandable" in tag.attributes else "blockquote"
            self.entities.append({**span, "type": kind})
        elif tag.name == "tg-emoji":
            identifier = tag.attributes.get("emoji-id", "")
            if not identifier.isascii() or not identifier.isdigit() or not 0 < int(identifier) < _INT64:
                raise _error("Invalid custom emoji identifier specified")
            self.entities.append({**span, "type": "custom_emoji", "custom_emoji_id": identifier})
        elif tag.attributes.get("unix", "").isdigit():
            moment = {"unix_time": int(tag.attributes["unix"]), "date_time_format": tag.attributes.get("format", "")}
            self.entities.append({**span, "type": "date_time", **moment})

    def _link(self, tag: _OpenTag, span: Entity) -> None:
        url = tag.attributes.get("href") or "".join(self.text[tag.characters :])
        user = user_of_link(url)
        if user is not None:
            self.entities.append({**span, "type": "text_mention", "user": {"id": user}})
            return
        try:
            self.entities.append({**span, "type": "text_link", "url": check_link(url)})
        except LinkError:
            return  # the server drops the link and keeps the text, so a vless:// link is lost in silence there too

    def _code(self, tag: _OpenTag, span: Entity) -> None:
        language = tag.attributes.get("class", "")
        language = language.removeprefix("language-") if language.startswith("language-") else ""
        last = self.entities[-1] if self.entities else {}
        same_place = all(last.get(key) == value for key, value in span.items())
        if tag.name == "pre" and same_place and last.get("type") == "code" and last.get("language"):
            last["type"] = "pre"
        elif tag.name == "code" and same_place and last.get("type") == "pre" and language:
            last["language"] = language
        else:
            self.entities.append({**span, "type": tag.name} | ({"language": language} if language else {}))


def _error(reason: str) -> Exception:
    return bad_request(f"can't parse entities: {reason}")


def parse_html(text: str) -> tuple[str, list[Entity]]:
    """The text without tags and its entities, in the order the tags were closed.

    Raises:
        ApiError: `Bad Request: can't parse entities: ...`, the reason in the server's words.
    """
    plain, entities = _Scanner(text).run()
    for entity in entities:
        if entity["type"] == "code":
            entity.pop("language", None)  # a language belongs to a block
    return plain, entities
