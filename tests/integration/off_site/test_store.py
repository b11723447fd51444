"""The store's five calls over moto: what is signed, what is conditional, what is asked, and what no trouble may do (N-62)."""

from __future__ import annotations

import json
import random
import string
import subprocess
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from lib.off_site import signature, store
from lib.off_site.files import Small
from lib.off_site.store import NotThereError, Store, StoreError
from tests.integration.off_site import buckets

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.off_site.buckets import Bucket

pytestmark = pytest.mark.proves("N-62")


def requests_of_all_kinds(count: int) -> list[dict[str, Any]]:
    draw = random.Random(4)  # noqa: S311 -- the order of a test
    plain, any_of = string.ascii_letters + string.digits + "._-", string.printable.strip() + " "

    def text(alphabet: str, most: int) -> str:
        return "".join(draw.choices(alphabet, k=draw.randint(1, most)))

    return [
        {
            "method": draw.choice(["GET", "PUT", "HEAD"]),
            "url": f"https://{draw.choice(['s3.example.com', '127.0.0.1:5000', '[::1]:9'])}/books/{text(plain, 20)}/{text(plain, 9)}",
            "query": {text(plain, 8): draw.choice(["", text(any_of, 30)]) for _ in range(draw.randint(0, 3))},
            "headers": {"if-none-match": "*", "content-md5": text(plain, 24)} if draw.random() < 0.5 else {},
            "body_sha256": signature.NOTHING,
            "key_id": text(plain, 20),
            "secret": text(any_of.strip(), 40),
            "region": draw.choice(["auto", "eu-central-1"]),
            "at": (datetime(2026, 11, 30, tzinfo=UTC) + timedelta(seconds=draw.randint(0, 10**8))).strftime(
                "%Y%m%dT%H%M%SZ"
            ),
        }
        for _ in range(count)
    ]


def test_botocore_signs_the_same(endpoint: str) -> None:
    assert endpoint  # where moto is, botocore is
    asked = requests_of_all_kinds(300)
    script = buckets.ROOT / "tests/integration/off_site/signed_by_botocore.py"
    done = subprocess.run(
        [str(buckets.PYTHON), str(script)], input=json.dumps(asked), check=True, capture_output=True, text=True
    )
    for one, expected in zip(asked, json.loads(done.stdout), strict=True):
        at = datetime.strptime(one["at"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        made = signature.signed(
            one["method"],
            one["url"],
            one["query"],
            one["headers"],
            **{name: one[name] for name in ("body_sha256", "key_id", "secret", "region")},
            at=at,
        )
        assert made["authorization"] == expected, one


async def test_a_name_gets_its_content_once(bucket: Bucket) -> None:
    kept = bucket.store
    assert not await kept.exists("a/b")
    assert await kept.put_new("a/b", Small(b"first"))
    assert not await kept.put_new("a/b", Small(b"second"))
    assert await kept.exists("a/b")
    assert [chunk async for chunk in kept.chunks("a/b")] == [b"first"]
    assert await bucket.versions() == ["atlas/a/b"]
    with pytest.raises(NotThereError):
        [chunk async for chunk in kept.chunks("a/c")]


async def test_a_listing_of_more_than_one_page_is_whole(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store, "_PAGE", 3)
    names = [f"m/{number:05}" for number in range(10)]
    for name in names:
        await bucket.put(name, b"")
    assert await bucket.store.names("m") == names
    assert await bucket.store.names("n") == []


_LOCK = (
    '<ObjectLockConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><ObjectLockEnabled>Enabled</ObjectLockEnabled>'
    "<Rule><DefaultRetention><Mode>COMPLIANCE</Mode><Days>1</Days></DefaultRetention></Rule></ObjectLockConfiguration>"
)


async def test_versions_and_lock_are_asked_for(bucket: Bucket) -> None:
    assert await bucket.store.protection() == store.VERSIONED
    await bucket.keep_versions("Suspended")
    assert await bucket.store.protection() == store.UNPROTECTED
    locked = buckets.Bucket(bucket.client, replace(bucket.settings, bucket=f"{bucket.settings.bucket}-locked"))
    await locked.make(locked=True)
    assert await locked.store.protection() == store.VERSIONED  # a lock without a retention locks nothing
    await locked.configure("object-lock", _LOCK)
    assert await locked.store.protection() == store.LOCKED
    assert await locked.store.put_new("a", Small(b"x"))


async def test_a_bucket_that_is_not_there_and_a_store_that_is_down_are_told_without_the_key(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_PAUSE_S", 0.0)
    for changed, words in (
        ({"bucket": "no-such-bucket"}, "NoSuchBucket"),
        ({"endpoint": "http://127.0.0.1:9"}, "can't be had"),
    ):
        away = Store(lambda: bucket.client, replace(bucket.settings, **changed))
        for call in (
            away.names("m"),
            away.put_new("a", Small(b"x")),
            away.protection() if "endpoint" in changed else away.names("m"),
        ):
            with pytest.raises(StoreError, match=words) as told:
                await call
            assert "secret" not in str(told.value)


def answering(*answers: tuple[int, str] | Exception) -> tuple[Callable[[], httpx.AsyncClient], list[httpx.Request]]:
    """A store that answers so, one after the other."""
    left, seen = list(answers), list[httpx.Request]()

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        found = left.pop(0)
        if isinstance(found, Exception):
            raise found
        return httpx.Response(found[0], stream=httpx.ByteStream(found[1].encode()))

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer))
    return lambda: client, seen


async def test_a_lost_answer_is_asked_for_again_and_a_write_that_had_happened_is_none(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "_PAUSE_S", 0.0)
    for trouble in (httpx.ReadTimeout("x"), httpx.RemoteProtocolError("x"), (503, ""), (409, "")):
        http, seen = answering(trouble, (412, ""))
        assert not await Store(http, bucket.settings).put_new("a", Small(b"x"))
        assert [one.headers["if-none-match"] for one in seen] == ["*", "*"]
    http, seen = answering(*[(409, "")] * 4)
    assert not await Store(http, bucket.settings).put_new("a", Small(b"x"))  # someone else writes it: it is compared
    http, seen = answering(*[(500, "")] * 4)
    with pytest.raises(StoreError, match="can't be had: HTTP 500"):
        await Store(http, bucket.settings).put_new("a", Small(b"x"))
    assert len(seen) == 4


@pytest.mark.parametrize(
    "answer",
    [
        (301, "<Error><Code>PermanentRedirect</Code></Error>"),
        (403, "<Error><Code>AccessDenied</Code><Message>secret</Message></Error>"),
        (200, "<!DOCTYPE x [<!ENTITY a 'b'>]><x>&a;</x>"),
        (200, "<html>hello"),
        (200, "x" * (5 * 1024 * 1024)),
    ],
    ids=["moved", "denied", "entities", "no XML", "endless"],
)
async def test_nonsense_is_refused_in_words(bucket: Bucket, answer: tuple[int, str]) -> None:
    http, _ = answering(answer)
    with pytest.raises(StoreError) as told:
        await Store(http, bucket.settings).names("m")
    assert "secret" not in str(told.value)
