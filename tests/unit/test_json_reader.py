"""G-16: the one reader of JSON that others send."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from lib import json_reader
from xray_api import requests as node_requests

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=20,
)
TWICE = [b'{"a": 1, "a": 1}', b'[{"b": {"a": 1, "c": 2, "a": 3}}]', b'{"a": 1, "\\u0061": 2}', b'{"": 0, "": 0}']


@pytest.mark.proves("G-16")
@given(value=VALUES, ascii_only=st.booleans())
def test_what_is_json_is_read_as_what_it_says(value: Any, *, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode("utf-8")
    assert json_reader.read(body) == value


@pytest.mark.proves("G-16")
@given(body=st.binary(max_size=60) | st.text(alphabet='{}[]":,\\0123456789.eE+-truefalsnINy \u0660\x00', max_size=60))
@example(body="1e999")
@example(body="-Infinity")
@example(body="9" * 5000)
@example(body="\ufeff{}")
def test_anything_else_is_refused_with_the_one_exception(body: bytes | str) -> None:
    raw = body.encode() if isinstance(body, str) else body
    try:
        value = json_reader.read(raw)
    except json_reader.UnreadableJson as error:
        assert str(error)  # noqa: PT017 -- what is drawn decides which way it ends
    else:
        assert not isinstance(value, float) or math.isfinite(value)
        json.dumps(value, allow_nan=False)


@pytest.mark.proves("G-16")
@pytest.mark.parametrize("body", TWICE)
def test_a_name_twice_in_one_object_is_refused_at_every_edge(body: bytes) -> None:
    """Two readers would take it for two different things: a signature would be of one, the effect of the other."""
    for exact in (False, True):
        with pytest.raises(json_reader.UnreadableJson, match="twice"):
            json_reader.read(body, exact=exact)
    with pytest.raises(node_requests.BadRequestError):
        node_requests.document(body)


def test_the_same_name_in_two_objects_is_no_such_thing() -> None:
    assert json_reader.read(b'[{"a": 1}, {"a": {"a": 2}}]') == [{"a": 1}, {"a": {"a": 2}}]


@pytest.mark.proves("G-16")
@pytest.mark.parametrize(
    "string",
    [b'"' + b'\\"' * 400_000, b'"' + b'\\"' * 400_000 + b"\\", b'"' * 800_000, b'"\\' * 400_000, b'"a' * 400_000],
)
def test_depth_is_measured_in_one_pass_whatever_is_quoted(string: bytes) -> None:
    """Each of a million quotation marks tried as the beginning of a string would take days."""
    body = string + b"[" * (json_reader.MOST_DEPTH + 1)
    with pytest.raises(json_reader.UnreadableJson):
        json_reader.read(body)
    with pytest.raises(node_requests.BadRequestError):
        node_requests.document(body)


@pytest.mark.proves("G-16")
@pytest.mark.parametrize(("opening", "closing"), [(b"[", b"]"), (b'{"[":', b"}")])
def test_no_deeper_than_what_walks_it_can_follow(opening: bytes, closing: bytes) -> None:
    deepest = opening * json_reader.MOST_DEPTH + b"0" + closing * json_reader.MOST_DEPTH
    value = json_reader.read(deepest)
    assert json.loads(json.dumps(copy.deepcopy(value), sort_keys=True)) == value
    for levels in (json_reader.MOST_DEPTH + 1, 400_000):
        with pytest.raises(json_reader.UnreadableJson, match="deep"):
            json_reader.read(opening * levels + b"0" + closing * levels)


def test_brackets_inside_strings_are_no_depth() -> None:
    assert json_reader.read(json.dumps(["[{" * 5000, '\\"[[' * 5000]).encode()) == ["[{" * 5000, '\\"[[' * 5000]


@pytest.mark.proves("G-16")
@given(value=st.integers() | st.booleans() | st.floats() | st.text() | st.none())
def test_an_id_is_what_a_bigint_column_holds(value: object) -> None:
    fits = type(value) is int and 0 < value < 2**63
    assert json_reader.is_id(value) is fits
    assert json_reader.id_or_zero(value) == (value if fits else 0)
