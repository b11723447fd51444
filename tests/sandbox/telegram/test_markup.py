"""Texts and markup, against answers recorded from TDLib 1.8.69, the library inside the real server."""

from __future__ import annotations

import json
import pathlib
from typing import Any

import pytest

from sandbox.telegram.protocol.errors import ApiError
from sandbox.telegram.text.html_markup import parse_html, utf16_length
from sandbox.telegram.text.links import LinkError, check_link
from sandbox.telegram.text.texts import find_entities, format_text

CASES = json.loads(pathlib.Path(__file__).with_name("html_cases.json").read_text())
FOUND = json.loads(pathlib.Path(__file__).with_name("entity_cases.json").read_text())


def read(text: str) -> dict[str, Any]:
    try:
        plain, entities = parse_html(text)
    except ApiError as error:
        return {"error": error.description.replace("Bad Request: can't", "Can't")}
    names = ("url", "language", "custom_emoji_id")
    spans = []
    for entity in entities:
        extra = next((entity[name] for name in names if entity.get(name)), None) or (entity.get("user") or {}).get("id")
        spans.append([entity["offset"], entity["length"], entity["type"], extra])
    return {"text": plain, "entities": sorted(spans, key=str)}


def test_html_is_read_as_the_real_library_reads_it() -> None:
    assert len(CASES) > 600
    different = [(text, wanted, read(text)) for text, wanted in CASES if read(text) != wanted]
    assert different == []


def test_links_mentions_and_the_like_are_found_where_the_real_library_finds_them() -> None:
    assert len(FOUND) > 100
    found = [
        (text, wanted, [[one["type"], one["offset"], one["length"]] for one in find_entities(text)])
        for text, wanted in FOUND
    ]
    assert [case for case in found if case[1] != case[2]] == []


def formatted(text: str, parse_mode: str = "HTML", entities: str = "") -> tuple[str, list[dict[str, Any]]]:
    return format_text(text, parse_mode, entities, lambda _: None)


def spans(text: str) -> list[tuple[str, int, int]]:
    return [(entity["type"], entity["offset"], entity["length"]) for entity in formatted(text)[1]]


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("<b>a</b><b>b</b>", [("bold", 0, 2)]),
        ("<b>a<code>b</code>c</b>", [("bold", 0, 1), ("code", 1, 1), ("bold", 2, 1)]),
        ("<code><b>a</b></code>", [("code", 0, 1)]),
        ("😀<i>я</i>", [("italic", 2, 1)]),
        ("  <b> x </b>  ", [("bold", 0, 1)]),
        ("<code>https://a.com</code> https://b.com", [("code", 0, 13), ("url", 14, 13)]),
        ("<a href='vless://x'>k</a>", []),
        ("/start @atlas_bot", [("bot_command", 0, 6), ("mention", 7, 10)]),
    ],
)
def test_entities_merge_split_and_are_found(text: str, wanted: list[tuple[str, int, int]]) -> None:
    assert spans(text) == wanted


def test_text_is_cleaned_and_trimmed() -> None:
    assert formatted(" a\r\n\tb\u202e \n")[0] == "a\n b"


def test_entities_given_by_hand_are_checked() -> None:
    assert formatted("hello", "", '[{"type":"bold","offset":0,"length":5}]')[1][0]["type"] == "bold"
    for entities, reason in [
        ('[{"type":"bold","offset":100,"length":1}]', "entity begins after the end of the text at UTF-16 offset 100"),
        ('[{"type":"bold","offset":-1,"length":1}]', "receive an entity with incorrect offset -1"),
        ('[{"type":"x","offset":0,"length":1}]', "can't parse MessageEntity: Unsupported type specified"),
        ('[{"type":"text_link","offset":0,"length":1}]', "can't parse MessageEntity: Can't find field \"url\""),
        ("nonsense", "can't parse entities JSON object"),
    ]:
        with pytest.raises(ApiError, match="Bad Request") as caught:
            formatted("hello", "", entities)
        assert caught.value.description == f"Bad Request: {reason}"


def test_lengths_are_utf16_units() -> None:
    assert utf16_length("a😀я") == 4


def test_found_links_end_where_a_reader_would_end_them() -> None:
    text = "see (https://a.com/x?y=1), a.org. mail me@b.com #tag $USD 1/2"
    assert [text[one["offset"] : one["offset"] + one["length"]] for one in find_entities(text)] == [
        "https://a.com/x?y=1",
        "a.org",
        "me@b.com",
        "#tag",
        "$USD",
    ]


@pytest.mark.parametrize(
    ("link", "reason"),
    [
        ("vless://u@h.c:443", "Unsupported URL protocol"),
        ("https://localhost/x", "Wrong HTTP URL"),
        ("https://a.b:99999", "Wrong port number specified in the URL"),
        ("https://", "URL host is empty"),
        ("https://a b.c", "Disallowed character in URL host"),
    ],
)
def test_links_telegram_does_not_open_are_refused(link: str, reason: str) -> None:
    with pytest.raises(LinkError, match=f"^{reason}$"):
        check_link(link)


def test_links_are_kept_as_the_server_writes_them() -> None:
    assert check_link("HTTP://Example.COM") == "http://example.com/"
    assert check_link("http://127.0.0.1:8080/pay?id=1") == "http://127.0.0.1:8080/pay?id=1"
    assert check_link("tg:resolve?domain=x") == "tg://resolve?domain=x"
    with pytest.raises(LinkError, match="Only HTTPS"):
        check_link("http://example.com", https_only=True)
