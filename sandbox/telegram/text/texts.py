"""Texts of messages: cleaning, formatting, entities, lengths. Lengths are code points, offsets UTF-16 units."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.protocol.arguments import whole_number
from sandbox.telegram.protocol.errors import bad_request, not_modelled
from sandbox.telegram.text.html_markup import Entity, parse_html, utf16_length
from sandbox.telegram.text.text_links import find_links

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

TEXT_LIMIT: Final = 4096
CAPTION_LIMIT: Final = 1024
RAW_LIMIT: Final = 32768

SPLITTABLE: Final = {"bold", "italic", "underline", "strikethrough", "spoiler"}
QUOTES: Final = {"blockquote", "expandable_blockquote"}
PLAIN_TYPES: Final = (
    SPLITTABLE
    | QUOTES
    | {"code", "mention", "hashtag", "cashtag", "bot_command", "url", "email", "phone_number", "bank_card_number"}
)
_EXTRA: Final = {"text_link": "url", "text_mention": "user", "custom_emoji": "custom_emoji_id"}

# What the server finds by itself in any text, links apart (`find_links`). Bank cards and phone numbers are left out.
_FOUND: Final = (
    ("email", re.compile(r"(?<![\w.@+/-])[\w.+-]+@[\w-]+(?:\.[\w-]+)*\.[A-Za-z]{2,}")),
    ("bot_command", re.compile(r"(?<![\w/<>])/[A-Za-z0-9_]{1,64}(?:@[A-Za-z0-9_]{3,32})?(?![\w/<>@])")),
    ("mention", re.compile(r"(?<!\w)@(?:gif|pic|vid|[A-Za-z0-9_]{4,32})(?!\w)")),
    ("hashtag", re.compile(r"(?<!\w)#(?=\w*[^\W\d_])\w{1,256}(?![\w#])")),
    ("cashtag", re.compile(r"(?<![\w$])\$(?:1INCH|[A-Z]{1,8})(?![\w$])")),
)

# Control characters become blanks; direction marks and line separators vanish (the server's clean_input_string).
_CLEAN: Final = (
    dict.fromkeys(range(32), " ")
    | {0x0A: "\n", 0x0D: None}
    | dict.fromkeys(range(0x2028, 0x202F))
    | dict.fromkeys((0x030A, 0x0333, 0x033F))
)
_TRIMMED = " \n\t\r\x0b\x00"


def clean(text: str) -> str:
    """The text as the server lets it in.

    Raises:
        ApiError: it holds lone surrogates, so it is no UTF-8.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise bad_request("strings must be encoded in UTF-8") from None
    return text.translate(_CLEAN)


def find_entities(text: str) -> list[Entity]:
    """Commands, links, mentions and the like that the server marks in any text, by offset."""
    found: list[Entity] = []
    taken: list[tuple[int, int]] = []
    spans = [("url", span) for span in find_links(text)]
    spans += [(kind, match.span()) for kind, pattern in _FOUND for match in pattern.finditer(text)]
    for kind, (begin, end) in spans:
        if all(end <= left or begin >= right for left, right in taken):
            taken.append((begin, end))
            found.append({"type": kind, "offset": utf16_length(text[:begin]), "length": utf16_length(text[begin:end])})
    return sorted(found, key=lambda entity: int(entity["offset"]))


def _end(entity: Entity) -> int:
    return int(entity["offset"]) + int(entity["length"])


def _disjoint(entity: Entity, others: Iterable[Entity]) -> bool:
    return all(_end(entity) <= other["offset"] or entity["offset"] >= _end(other) for other in others)


def _outside(begin: int, end: int, holes: list[Entity]) -> Iterable[tuple[int, int]]:
    for hole in sorted(holes, key=lambda entity: int(entity["offset"])):
        if begin < hole["offset"] < end:
            yield begin, hole["offset"]
        if hole["offset"] < end and _end(hole) > begin:
            begin = min(max(begin, _end(hole)), end)
    if begin < end:
        yield begin, end


def _merged(kind: str, entities: list[Entity], code: list[Entity]) -> Iterable[Entity]:
    """Bold next to bold is one bold; nothing is styled inside code."""
    spans: list[list[int]] = []
    for entity in sorted((one for one in entities if one["type"] == kind), key=lambda one: int(one["offset"])):
        if spans and entity["offset"] <= spans[-1][1]:
            spans[-1][1] = max(spans[-1][1], _end(entity))
        else:
            spans.append([entity["offset"], _end(entity)])
    for begin, end in spans:
        for left, right in _outside(begin, end, code):
            yield {"type": kind, "offset": left, "length": right - left}


def fix_entities(text: str, marked: list[Entity]) -> list[Entity]:
    """Entities in the server's order: none overlaps another it may not overlap, found ones fill what is left free."""
    ordered = sorted(marked, key=lambda entity: (entity["offset"], -entity["length"]))
    solid: list[Entity] = []
    quotes: list[Entity] = []
    for entity in ordered:
        group = quotes if entity["type"] in QUOTES else solid
        if entity["type"] not in SPLITTABLE and _disjoint(entity, group):
            group.append(entity)
    code = [entity for entity in solid if entity["type"] in {"code", "pre"}]
    styles = [span for kind in sorted(SPLITTABLE) for span in _merged(kind, ordered, code)]
    found = [entity for entity in find_entities(text) if _disjoint(entity, solid)]
    return sorted([*quotes, *solid, *styles, *found], key=lambda entity: (entity["offset"], -entity["length"]))


def _check_span(offset: int, end: int, total: int) -> None:
    if offset < 0 or end < offset:
        raise bad_request(f"receive an entity with incorrect offset {offset}")
    if offset > total:
        raise bad_request(f"entity begins after the end of the text at UTF-16 offset {offset}")
    if end > total:
        raise bad_request(
            f"entity beginning at UTF-16 offset {offset} ends after the end of the text at UTF-16 offset {end}"
        )


def _number(raw: dict[str, Any], name: str) -> int:
    number = whole_number(raw[name])
    if number is None:
        raise bad_request(f'can\'t parse MessageEntity: Field "{name}" must be of type Number')
    return number


def _entity(raw: Any, total: int) -> Entity:
    if not isinstance(raw, dict):
        raise bad_request("can't parse MessageEntity: expected an Object")
    kind = str(raw.get("type", ""))
    for name in ("type", "offset", "length", *([_EXTRA[kind]] if kind in _EXTRA else [])):
        if name not in raw:
            raise bad_request(f"can't parse MessageEntity: Can't find field \"{name}\"")
    if kind not in PLAIN_TYPES and kind not in _EXTRA and kind != "pre":
        raise bad_request("can't parse MessageEntity: Unsupported type specified")
    offset, length = _number(raw, "offset"), _number(raw, "length")
    _check_span(offset, offset + length, total)
    entity: Entity = {"type": kind, "offset": offset, "length": length}
    if kind in _EXTRA:
        entity[_EXTRA[kind]] = raw[_EXTRA[kind]]
    if kind == "pre" and raw.get("language"):
        entity["language"] = raw["language"]
    return entity


def _given_entities(text: str, entities: str) -> list[Entity]:
    try:
        listed = json.loads(entities)
    except (ValueError, RecursionError):
        raise bad_request("can't parse entities JSON object") from None
    if not isinstance(listed, list):
        raise bad_request("expected an Array of MessageEntity")
    total = utf16_length(text)
    return [entity for entity in (_entity(one, total) for one in listed) if entity["length"]]


def _trim(text: str, entities: list[Entity]) -> tuple[str, list[Entity]]:
    stripped = text.strip(_TRIMMED)
    lead = utf16_length(text[: len(text) - len(text.lstrip(_TRIMMED))])
    total = utf16_length(stripped)
    kept: list[Entity] = []
    for entity in entities:
        begin, end = max(entity["offset"] - lead, 0), min(_end(entity) - lead, total)
        if begin < end:
            kept.append({**entity, "offset": begin, "length": end - begin})
    return stripped, kept


def format_text(
    text: str, parse_mode: str, entities: str, known_user: Callable[[int], dict[str, Any] | None]
) -> tuple[str, list[Entity]]:
    """A text of the bot as it will stand in the message: plain text and its entities. May come out empty.

    Raises:
        ApiError: over 32768 bytes, an unknown `parse_mode`, markup that can't be read.
    """
    if len(text.encode("utf-8", "surrogatepass")) > RAW_LIMIT:
        raise bad_request("text is too long")
    text = clean(text)
    mode = parse_mode.lower()
    if mode == "html":
        plain, marked = parse_html(text)
    elif mode in {"markdown", "markdownv2"}:
        raise not_modelled("Markdown; use parse_mode=HTML")
    elif mode not in {"", "none"}:
        raise bad_request("unsupported parse_mode")
    else:
        plain, marked = text, _given_entities(text, entities) if entities else []
    for entity in marked:
        if entity["type"] == "text_mention":
            mentioned = entity["user"] if isinstance(entity["user"], dict) else {}
            entity["user"] = known_user(whole_number(mentioned.get("id")) or 0)
    marked = [entity for entity in marked if entity.get("user", True)]
    plain, marked = _trim(plain, marked)
    return plain, fix_entities(plain, marked)
