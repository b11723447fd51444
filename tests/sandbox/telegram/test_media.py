"""Files, albums, copies and forwards: what is taken, shown, and refused."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.sandbox.telegram.conftest import TOKEN, open_bench, png

if TYPE_CHECKING:
    import pathlib

    from tests.endpoint import Endpoint
    from tests.sandbox.telegram.conftest import Bench

MP4 = b"\x00\x00\x00\x18ftypmp42" + b"\x00" * 32
GIF = b"GIF89a" + b"\x00" * 16
OGG = b"OggS" + b"\x00" * 16
MP3 = b"ID3" + b"\x00" * 16


async def send(bench: Bench, kind: str, name: str, body: bytes, **parameters: Any) -> dict[str, Any]:
    """One upload; the answer's body."""
    url = f"{bench.url}/bot{TOKEN}/send{kind}"
    given = {key: value if isinstance(value, str) else json.dumps(value) for key, value in parameters.items()}
    response = await bench.client.post(url, data={"chat_id": "777"} | given, files={kind: (name, body)})
    answer: dict[str, Any] = response.json()
    return answer


async def started(bench: Bench) -> None:
    await bench.telegram.user(777, "Anna").send("/start")


@pytest.mark.parametrize(
    ("kind", "name", "body", "shown"),
    [
        ("document", "conf.txt", b"key", {"document": ("conf.txt", "text/plain", 3)}),
        ("document", "loop.gif", GIF, {"animation": ("loop.gif", "image/gif", 22), "document": ("loop.gif",)}),
        ("document", "pic.png", png(), {"document": ("pic.png", "image/png")}),
        ("video", "how.mp4", MP4, {"video": ("how.mp4", "video/mp4", 44)}),
        ("video", "how.avi", b"RIFF....", {"document": ("how.avi",)}),
        ("animation", "loop.mp4", MP4, {"animation": ("loop.mp4", "video/mp4"), "document": ("loop.mp4",)}),
        ("audio", "song.mp3", MP3, {"audio": ("song.mp3", "audio/mpeg")}),
        ("voice", "say.ogg", OGG, {"voice": ()}),
        ("voice", "say.txt", b"hello", {"document": ("say.txt",)}),
    ],
)
async def test_files_become_what_they_are(
    bench: Bench, kind: str, name: str, body: bytes, shown: dict[str, tuple[Any, ...]]
) -> None:
    await started(bench)
    message = (await send(bench, kind, name, body, caption="<b>c</b>", parse_mode="HTML"))["result"]
    assert message["caption_entities"] == [{"type": "bold", "offset": 0, "length": 1}]
    assert {"document", "video", "animation", "audio", "voice", "photo"} & message.keys() == shown.keys()
    for field, facts in shown.items():
        said = [message[field].get(name) for name in ("file_name", "mime_type", "file_size")]
        assert said[: len(facts)] == list(facts)
    file_id = message[next(iter(shown))]["file_id"]
    file = (await bench.call("getFile", file_id=file_id))["result"]
    assert (await bench.client.get(f"{bench.url}/file/bot{TOKEN}/{file['file_path']}")).content == body


async def test_a_call_may_say_more_of_a_file(bench: Bench) -> None:
    await started(bench)
    video = (await send(bench, "video", "a.mp4", MP4, width=640, height=360, duration=9, has_spoiler=True))["result"]
    assert (video["video"]["width"], video["video"]["height"], video["video"]["duration"]) == (640, 360, 9)
    assert video["has_media_spoiler"] is True
    song = (await send(bench, "audio", "a.mp3", MP3, title="T", performer="P", duration=3))["result"]["audio"]
    assert (song["title"], song["performer"], song["duration"]) == ("T", "P", 3)
    plain = (await send(bench, "document", "a.gif", GIF, disable_content_type_detection=True))["result"]
    assert "animation" not in plain


async def test_a_file_id_sends_again_and_as_nothing_else(bench: Bench) -> None:
    await started(bench)
    document = (await send(bench, "document", "a.pdf", b"%PDF"))["result"]["document"]
    again = (await bench.call("sendDocument", chat_id=777, document=document["file_id"]))["result"]
    assert again["document"] == document
    photo = (await bench.send_photo(png(), chat_id="777"))["result"]["photo"][-1]
    refused = [
        ("sendVideo", "video", document["file_id"], "can't use file of type Document as Video"),
        ("sendPhoto", "photo", document["file_id"], "can't use file of type Document as Photo"),
        ("sendDocument", "document", photo["file_id"], "can't use file of type Photo as Document"),
        ("sendDocument", "document", "BQACxx", "wrong file identifier/HTTP URL specified"),
        ("sendDocument", "document", "", "there is no document in the request"),
        ("sendVoice", "voice", "", "there is no voice in the request"),
        ("sendVideo", "video", "https://a.com/a.mp4", "failed to get HTTP URL content"),
    ]
    for method, name, value, reason in refused:
        assert await bench.refusal(method, chat_id=777, **{name: value}) == f"Bad Request: {reason}"
    assert (await send(bench, "document", "a.txt", b""))["description"] == "Bad Request: file must be non-empty"
    long = await send(bench, "document", "a.txt", b"a", caption="x" * 1025)
    assert long["description"] == "Bad Request: message caption is too long"
    assert (await send(bench, "video", "a.mp4", MP4, thumbnail="attach://video"))["error_code"] == 501


async def album(bench: Bench, *items: dict[str, Any], files: dict[str, bytes] | None = None) -> dict[str, Any]:
    uploads = {name: (f"{name}.bin", body) for name, body in (files or {}).items()} or {"unused": ("x", b"x")}
    url, given = f"{bench.url}/bot{TOKEN}/sendMediaGroup", {"chat_id": "777", "media": json.dumps(items)}
    answer: dict[str, Any] = (await bench.client.post(url, data=given, files=uploads)).json()
    return answer


async def test_albums(bench: Bench) -> None:
    await started(bench)
    files = {"one": png(), "two": MP4, "text": b"text"}
    photo = {"type": "photo", "media": "attach://one", "caption": "<i>c</i>", "parse_mode": "HTML"}
    video, document = {"type": "video", "media": "attach://two"}, {"type": "document", "media": "attach://text"}
    sent = await album(bench, photo, video, files=files)
    assert sent["ok"], sent
    first, second = sent["result"]
    assert first["media_group_id"] == second["media_group_id"]
    assert first["caption_entities"][0]["type"] == "italic"
    assert "video" in second
    assert second["message_id"] == first["message_id"] + 1
    loop = {"type": "document", "media": "attach://loop"}
    plain = await album(bench, loop, loop, files={"loop": GIF})
    assert all("document" in one and "animation" not in one for one in plain["result"])
    before = len(bench.telegram.user(777).messages)
    for items, reason in [
        ([], "there are no messages to send"),
        ([photo] * 11, "too many messages to send as an album"),
        ([photo, document], "document can't be mixed with other media types"),
        ([photo, {"type": "voice", "media": "attach://one"}], 'can\'t parse InputMedia: type "voice" is unsupported'),
        ([photo, {"media": "attach://one"}], "can't parse InputMedia: Can't find field \"type\""),
        ([photo, {"type": "photo"}], "can't parse InputMedia: media not found"),
        ([photo, {"type": "photo", "media": "attach://none"}], "can't parse InputMedia: media not found"),
        (
            [photo, {"type": "animation", "media": "attach://one"}],
            "can't parse InputMedia: type \"animation\" can't be used in sendMediaGroup",
        ),
        (
            [photo, photo | {"caption": "1 < 2"}],
            "can't parse InputMedia: Can't parse entities: Unsupported start tag \"\" at byte offset 2",
        ),
    ]:
        assert (await album(bench, *items, files=files))["description"] == f"Bad Request: {reason}"
    assert (await album(bench, photo, files=files))["error_code"] == 501
    assert await bench.refusal("sendMediaGroup", chat_id=777) == 'Bad Request: parameter "media" is required'
    assert len(bench.telegram.user(777).messages) == before


async def test_one_kind_of_content_can_take_anothers_place(bench: Bench) -> None:
    await started(bench)
    text = (await bench.call("sendMessage", chat_id=777, text="t"))["result"]["message_id"]
    document = (await send(bench, "document", "a.pdf", b"%PDF"))["result"]["document"]["file_id"]
    place = {"chat_id": 777, "message_id": text}
    media = {"type": "document", "media": document, "caption": "c"}
    edited = (await bench.call("editMessageMedia", media=media, **place))["result"]
    assert (edited["document"]["file_id"], edited["caption"]) == (document, "c")
    assert "text" not in edited
    recaptioned = (await bench.call("editMessageCaption", caption="new", **place))["result"]
    assert (recaptioned["caption"], recaptioned["document"]) == ("new", edited["document"])
    voice = await bench.refusal("editMessageMedia", media={"type": "voice", "media": document}, **place)
    assert voice == 'Bad Request: can\'t parse InputMedia: type "voice" is unsupported'
    assert await bench.refusal("editMessageMedia", **place) == 'Bad Request: parameter "media" is required'


async def test_copies_are_the_bots_own(bench: Bench) -> None:
    await started(bench)
    await bench.telegram.user(778, "Boris").send("/start")
    photo = (await bench.send_photo(png(), chat_id="777", caption="one"))["result"]
    copy = {"chat_id": 778, "from_chat_id": 777, "message_id": photo["message_id"]}
    same = (await bench.call("copyMessage", **copy))["result"]
    assert list(same) == ["message_id"]
    buttons = {"inline_keyboard": [[{"text": "a", "callback_data": "a"}]]}
    await bench.call("copyMessage", caption="two", reply_markup=buttons, **copy)
    await bench.call("copyMessage", caption="", **copy)
    boris = bench.telegram.user(778).messages[1:]
    assert [one.get("caption") for one in boris] == ["one", "two", None]
    assert [one["photo"] for one in boris] == [photo["photo"]] * 3
    assert boris[1]["reply_markup"] == buttons
    assert not any("forward_origin" in one for one in boris)
    theirs = bench.telegram.user(777).messages[0]["message_id"]
    await bench.call("copyMessage", **copy | {"message_id": theirs})
    assert bench.telegram.user(778).messages[-1]["from"]["is_bot"] is True
    secret = (await bench.call("sendMessage", chat_id=777, text="s", protect_content=True))["result"]["message_id"]
    refusals: list[tuple[dict[str, Any], str]] = [
        ({"message_id": 10**6}, "message to copy not found"),
        ({"message_id": 0}, "message to copy not found"),
        ({"from_chat_id": ""}, 'parameter "from_chat_id" is required'),
        ({"from_chat_id": 5}, "chat not found"),
        ({"message_id": secret}, "message can't be copied"),
    ]
    for changed, reason in refusals:
        assert await bench.refusal("copyMessage", **copy | changed) == f"Bad Request: {reason}"


async def test_forwards_tell_their_origin(bench: Bench) -> None:
    await started(bench)
    anna = bench.telegram.user(777)
    theirs = anna.messages[0]
    move = {"chat_id": 777, "from_chat_id": 777, "message_id": theirs["message_id"]}
    sent = (await bench.call("forwardMessage", **move))["result"]
    origin = {"type": "user", "sender_user": anna.account.user(), "date": theirs["date"]}
    assert (sent["text"], sent["forward_origin"], sent["from"]["is_bot"]) == ("/start", origin, True)
    anna.block()
    await bench.telegram.user(778, "Boris").send("/start")
    away = (await bench.call("forwardMessage", **move | {"chat_id": 778}))["result"]
    assert away["forward_origin"] == origin
    refusal = await bench.refusal("forwardMessage", **move | {"chat_id": 778, "message_id": 10**6})
    assert refusal == "Bad Request: message to forward not found"


async def test_many_messages_are_deleted_at_once(bench: Bench) -> None:
    await started(bench)
    ids = [(await bench.call("sendMessage", chat_id=777, text=text))["result"]["message_id"] for text in "abc"]
    assert (await bench.call("deleteMessages", chat_id=777, message_ids=[*ids[:2], 10**6]))["result"] is True
    assert [one["message_id"] for one in bench.telegram.user(777).messages][1:] == ids[2:]
    bench.clock.travel(timedelta(hours=49))
    for message_ids, reason in [
        (ids, "message can't be deleted for everyone"),
        ([], "message identifiers are not specified"),
        ("{}", "expected an Array of message identifiers"),
        (list(range(101)), "too many message identifiers specified"),
        ([[]], "message identifier must be a Number"),
        (["x"], "can't parse message identifier as Number"),
        ([0], "invalid message identifier specified"),
        ("[", "can't parse message_ids JSON object"),
    ]:
        refusal = await bench.refusal("deleteMessages", chat_id=777, message_ids=message_ids)
        assert refusal == f"Bad Request: {reason}"


async def test_a_store_keeps_files(endpoints: tuple[Endpoint, Endpoint], tmp_path: pathlib.Path) -> None:
    store = tmp_path / "telegram.sqlite"
    async with open_bench(endpoints, store) as bench:
        await started(bench)
        sent = (await send(bench, "document", "a.pdf", b"%PDF"))["result"]["document"]
    async with open_bench(endpoints, store) as bench:
        again = (await bench.call("sendDocument", chat_id=777, document=sent["file_id"]))["result"]
        assert again["document"] == sent
