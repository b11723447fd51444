"""Delivery to the webhook: order, parallelism, retries, expiry."""

from __future__ import annotations

import asyncio
import itertools
import json
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from starlette.responses import JSONResponse, Response

from sandbox.telegram import Timing
from sandbox.telegram.updates.updates import queue_of
from tests.sandbox.telegram.conftest import SECRET, open_bench
from tests.still_clock import StillClock
from tests.waiting import all_that_can_happen, until

if TYPE_CHECKING:
    from tests.endpoint import Endpoint
    from tests.sandbox.telegram.conftest import Bench


MOMENT = timedelta(milliseconds=1)


def statuses(bench: Bench) -> list[int | str | None]:
    return [attempt.status or attempt.error for attempt in bench.telegram.deliveries]


async def failures(bench: Bench, count: int) -> None:
    """Wait until so many attempts were answered 500; the pause after the last has begun."""
    await until(lambda: statuses(bench).count(500) == count)


async def test_one_update_arrives_as_telegram_sends_it(bench: Bench) -> None:
    await bench.set_webhook()
    update_id = await bench.telegram.user(777, "Анна").send("/start r_abc")
    await bench.telegram.idle()
    assert [update["update_id"] for update in bench.hook.updates] == [update_id]
    body, headers = bench.hook.bodies[0], bench.hook.headers[0]
    assert body.startswith(f'{{"update_id":{update_id},"message":'.encode())
    assert body.isascii()
    assert headers["x-telegram-bot-api-secret-token"] == SECRET
    assert headers["content-type"] == "application/json"
    assert headers["accept-encoding"] == "gzip, deflate"
    assert bench.hook.updates[0]["message"]["entities"] == [{"type": "bot_command", "offset": 0, "length": 6}]
    attempt = bench.telegram.deliveries[0]
    assert (attempt.update_id, attempt.status, attempt.attempt) == (update_id, 200, 1)


async def test_no_secret_no_header(bench: Bench) -> None:
    await bench.set_webhook(secret_token="")
    await bench.telegram.user(777).send("a")
    await bench.telegram.idle()
    assert "x-telegram-bot-api-secret-token" not in bench.hook.headers[0]


async def test_a_chat_is_strictly_in_order_and_one_at_a_time(bench: Bench) -> None:
    async def slowly(_update: dict[str, Any]) -> Response:
        await all_that_can_happen()
        return JSONResponse({})

    bench.hook.answer = slowly
    await bench.set_webhook()
    sent = [await bench.telegram.user(777).send(f"message {number}") for number in range(10)]
    await bench.telegram.idle()
    assert [update["update_id"] for update in bench.hook.updates] == sent
    assert bench.hook.most_running == 1


async def test_queues_run_side_by_side(bench: Bench) -> None:
    """A message, a click, a block and a pre-checkout of one user are four queues; another user is a fifth."""
    together = asyncio.Event()

    async def wait_for_all(_update: dict[str, Any]) -> Response:
        if bench.hook.running == 5:
            together.set()
        await together.wait()
        return JSONResponse({})

    await bench.set_webhook()
    anna = bench.telegram.user(777)
    await anna.send("/start")
    await bench.telegram.idle()
    bench.hook.answer = wait_for_all
    await anna.send("a")
    await anna.click_raw(1, "x")
    sender = {"id": 777, "is_bot": False, "first_name": "Anna"}
    checkout = {"id": "9", "from": sender, "currency": "XTR", "total_amount": 1, "invoice_payload": "p"}
    bench.telegram.inject({"pre_checkout_query": checkout})
    anna.block()
    await bench.telegram.user(778).send("b")
    await bench.telegram.idle()
    assert bench.hook.most_running == 5
    assert set(statuses(bench)) == {200}


async def test_no_more_connections_than_max_connections(bench: Bench) -> None:
    async def slowly(_update: dict[str, Any]) -> Response:
        await all_that_can_happen()
        return JSONResponse({})

    bench.hook.answer = slowly
    await bench.set_webhook(max_connections=3)
    for user_id in range(1, 21):
        await bench.telegram.user(user_id).send("a")
    await bench.telegram.idle()
    assert bench.hook.most_running == 3
    assert len(bench.hook.updates) == 20


async def test_a_failure_is_repeated_at_once_then_ever_slower(bench: Bench) -> None:
    answers = [500, 403, 302, 500, 200]

    async def fail(_update: dict[str, Any]) -> Response:
        return JSONResponse({}, answers[len(bench.hook.updates) - 1], headers={"Location": "/elsewhere"})

    bench.hook.answer = fail
    await bench.set_webhook()
    first = await bench.telegram.user(777).send("a")
    second = await bench.telegram.user(777).send("b")
    answers.append(200)
    await bench.telegram.idle()
    assert [update["update_id"] for update in bench.hook.updates] == [first] * 5 + [second]
    assert [attempt.attempt for attempt in bench.telegram.deliveries] == [1, 2, 3, 4, 5, 1]
    starts = [attempt.started for attempt in bench.telegram.deliveries]
    gaps = [(after - before).total_seconds() for before, after in itertools.pairwise(starts)]
    assert gaps[1] >= 0.02
    assert gaps[2] >= 0.04
    assert gaps[3] >= 0.08
    info = (await bench.call("getWebhookInfo"))["result"]
    assert info["last_error_message"] == "Wrong response from the webhook: 500 Internal Server Error"


def test_pauses_are_those_of_the_real_server() -> None:
    timing = Timing()
    assert [timing.pause(failures) for failures in range(1, 7)] == [0, 2, 4, 8, 16, 32]
    assert all(60 <= timing.pause(7) <= 64 for _ in range(50))
    later = [timing.pause(8) for _ in range(200)]
    assert min(later) >= 60
    assert 64 < max(later) <= 120


async def test_a_failing_queue_holds_up_no_other(bench: Bench) -> None:
    async def fail_one(update: dict[str, Any]) -> Response:
        return JSONResponse({}, 500 if update["message"]["chat"]["id"] == 1 else 200)

    bench.hook.answer = fail_one
    await bench.set_webhook()
    await bench.telegram.user(1).send("a")
    await until(lambda: len(bench.hook.updates) >= 2)
    sent = await bench.telegram.user(2).send("b")
    await until(lambda: sent in [one.update_id for one in bench.telegram.deliveries if one.status == 200])
    assert [pending.queue for pending in bench.telegram.pending] == ["chat:1"]
    with pytest.raises(AssertionError, match="undelivered"):
        await bench.telegram.idle(0.05)


async def test_retry_after_replaces_the_pause_on_the_sandbox_clock(bench: Bench) -> None:
    async def busy(_update: dict[str, Any]) -> Response:
        return JSONResponse({}, 503 if len(bench.hook.updates) == 1 else 200, headers={"Retry-After": "3000"})

    bench.hook.answer = busy
    await bench.set_webhook()
    await bench.telegram.user(777).send("a")
    await until(lambda: statuses(bench) == [503])
    await asyncio.wait_for(bench.clock.sleep(0.05), 1)
    assert statuses(bench) == [503]
    bench.clock.travel(timedelta(seconds=3000))
    await bench.telegram.idle()
    assert statuses(bench) == [503, 200]


@pytest.mark.parametrize(
    ("asked", "pauses"),
    [
        (["0", "0", "0"], [0, 2, 4]),
        (["-5", "soon", "99999999999999999999"], [0, 2, 4]),
        (["5", "", ""], [5, 2, 4]),
        (["", "5", ""], [0, 5, 2]),
        (["4000", "", ""], [3600, 2, 4]),
    ],
)
async def test_a_retry_after_is_an_hour_at_most_and_no_step_of_the_schedule(
    endpoints: tuple[Endpoint, Endpoint], asked: list[str], pauses: list[int]
) -> None:
    async def busy(_update: dict[str, Any]) -> Response:
        tried = len(bench.hook.updates)
        if tried > len(asked):
            return JSONResponse({})
        return JSONResponse({}, 503, headers={"Retry-After": asked[tried - 1]} if asked[tried - 1] else {})

    def refused(times: int) -> bool:
        return statuses(bench)[:times] == [503] * times

    def came(times: int) -> bool:
        return len(bench.hook.updates) >= times

    async with open_bench(endpoints, clock=StillClock(), timing=Timing()) as bench:
        bench.hook.answer = busy
        await bench.set_webhook()
        await bench.telegram.user(777).send("a")
        for number, pause in enumerate(pauses, 1):
            await until(partial(refused, number))
            if pause:
                bench.clock.travel(timedelta(seconds=pause) - MOMENT)
                await all_that_can_happen()
                assert len(bench.hook.updates) == number
                bench.clock.travel(MOMENT)
            await until(partial(came, number + 1))


async def test_an_update_that_cannot_come_again_in_time_is_given_up_at_once(
    endpoints: tuple[Endpoint, Endpoint],
) -> None:
    """The next one in its queue does not wait for the end of the first one's time."""

    async def later(update: dict[str, Any]) -> Response:
        first = update["callback_query"]["data"] == "first"
        return JSONResponse({}, 503 if first else 200, headers={"Retry-After": "151"})

    async with open_bench(endpoints, timing=Timing()) as bench:
        bench.hook.answer = later
        anna = bench.telegram.user(777)
        await anna.click_raw(1, "first")
        await anna.click_raw(1, "second")
        await bench.set_webhook()
        await bench.telegram.idle()
        assert statuses(bench) == [503, 200]
        assert [pending.body["callback_query"]["data"] for pending in bench.telegram.expired] == ["first"]


async def test_sixty_seconds_of_the_sandbox_end_a_request_whose_handler_still_runs(
    endpoints: tuple[Endpoint, Endpoint],
) -> None:
    release = asyncio.Event()

    async def hang(_update: dict[str, Any]) -> Response:
        if len(bench.hook.updates) == 1:
            await release.wait()
        return JSONResponse({})

    async with open_bench(endpoints, clock=StillClock(), timing=Timing()) as bench:
        bench.hook.answer = hang
        await bench.set_webhook()
        await bench.telegram.user(777).send("a")
        await until(lambda: bench.hook.running == 1)
        bench.clock.travel(timedelta(seconds=59))
        await all_that_can_happen()
        assert len(bench.hook.updates) == 1
        bench.clock.travel(timedelta(seconds=1))
        await bench.telegram.idle()
        assert statuses(bench) == ["Read timeout expired", 200]
        assert bench.hook.most_running == 2
        assert bench.hook.updates[0] == bench.hook.updates[1]
        release.set()


async def test_the_schedule_of_attempts_on_the_sandbox_clock(endpoints: tuple[Endpoint, Endpoint]) -> None:
    async def fail(_update: dict[str, Any]) -> Response:
        return JSONResponse({}, 500)

    async with open_bench(endpoints, clock=StillClock(), timing=Timing()) as bench:
        bench.hook.answer = fail
        await bench.set_webhook()
        await bench.telegram.user(777).send("a")
        await failures(bench, 2)
        for attempts, pause in enumerate((2, 4, 8, 16, 32), start=2):
            bench.clock.travel(timedelta(seconds=pause) - MOMENT)
            await all_that_can_happen()
            assert len(bench.telegram.deliveries) == attempts
            bench.clock.travel(MOMENT)
            await failures(bench, attempts + 1)
        bench.clock.travel(timedelta(seconds=60) - MOMENT)
        await all_that_can_happen()
        assert len(bench.telegram.deliveries) == 7
        bench.clock.travel(timedelta(seconds=4) + MOMENT)
        await failures(bench, 8)


async def test_there_is_one_connection_until_something_succeeds(endpoints: tuple[Endpoint, Endpoint]) -> None:
    codes = {"now": 500}

    async def answer(_update: dict[str, Any]) -> Response:
        await all_that_can_happen()
        return JSONResponse({}, codes["now"])

    async with open_bench(endpoints, clock=StillClock(), timing=Timing()) as bench:
        bench.hook.answer = answer
        await bench.set_webhook()
        for user_id in range(1, 6):
            await bench.telegram.user(user_id).send("a")
        await failures(bench, 10)  # each at once again
        bench.clock.travel(timedelta(seconds=12))
        await failures(bench, 15)  # and again without a pause: a webhook that answers keeps its connection
        assert bench.hook.most_running == 1
        codes["now"] = 200
        bench.clock.travel(timedelta(seconds=8))
        await bench.telegram.idle()
        assert bench.hook.most_running > 1


async def test_a_connection_that_broke_is_opened_anew_two_seconds_after_the_last(
    endpoints: tuple[Endpoint, Endpoint],
) -> None:
    release = asyncio.Event()

    async def hang(_update: dict[str, Any]) -> Response:
        await release.wait()
        return JSONResponse({})

    async with open_bench(endpoints, clock=StillClock(), timing=Timing(request_timeout=1)) as bench:
        bench.hook.answer = hang
        await bench.set_webhook()
        for user_id in range(1, 4):
            await bench.telegram.user(user_id).send("a")
        for attempts in (1, 2, 3):
            await until(partial(lambda count: len(bench.hook.updates) == count, attempts))
            bench.clock.travel(timedelta(seconds=1))
            await until(partial(lambda count: statuses(bench).count("Read timeout expired") == count, attempts))
            await all_that_can_happen()
            assert len(bench.hook.updates) == attempts
            bench.clock.travel(timedelta(seconds=1))
        release.set()
        await bench.telegram.idle()


@pytest.mark.parametrize(("silence", "at_once"), [(5, 5), (30, 3), (70, 1)])
async def test_a_bot_that_had_nothing_to_do_is_called_over_what_is_still_open(
    endpoints: tuple[Endpoint, Endpoint], silence: int, at_once: int
) -> None:
    """More is opened after the next success, or at any time within ten seconds of the last one."""
    gates = [asyncio.Event(), asyncio.Event()]
    round_now = {"number": 0}

    async def wait(_update: dict[str, Any]) -> Response:
        await gates[round_now["number"]].wait()
        return JSONResponse({})

    async with open_bench(endpoints, clock=StillClock(), timing=Timing()) as bench:
        await bench.set_webhook()
        await bench.telegram.user(1).send("a")
        await bench.telegram.idle()
        bench.hook.answer = wait
        for number, (users, expected) in enumerate([(3, 3), (5, at_once)]):
            round_now["number"], bench.hook.most_running = number, 0
            for user_id in range(1, users + 1):
                await bench.telegram.user(user_id).send("b")
            await until(partial(lambda count: bench.hook.running == count, expected))
            await all_that_can_happen()
            assert bench.hook.most_running == expected
            gates[number].set()
            await bench.telegram.idle()
            bench.clock.travel(timedelta(seconds=silence))
        assert len(bench.hook.updates) == 9


async def test_the_app_sends_an_unanswered_click_again_with_new_ids(bench: Bench) -> None:
    await bench.set_webhook()
    anna = bench.telegram.user(777)
    await anna.send("/start")
    click_id = await anna.click_raw(1, "buy")

    def was_sent(times: int) -> bool:
        return sum("callback_query" in update for update in bench.hook.updates) == times

    for times in (1, 2, 3):
        await until(partial(was_sent, times))
        await bench.telegram.idle()
        bench.clock.travel(timedelta(seconds=10))
    for _ in range(2):
        await all_that_can_happen()
        await bench.telegram.idle()
        assert was_sent(3)
        bench.clock.travel(timedelta(seconds=10))
    clicks = [update for update in bench.hook.updates if "callback_query" in update]
    assert len({update["update_id"] for update in clicks}) == 3
    queries = [update["callback_query"] for update in clicks]
    ids = [query.pop("id") for query in queries]
    assert len(set(ids)) == 3
    assert ids[0] == click_id
    assert queries[0] == queries[1] == queries[2]


async def test_an_answer_to_any_sending_answers_the_click(bench: Bench) -> None:
    await bench.set_webhook()
    anna = bench.telegram.user(777)
    await anna.send("/start")
    click_id = await anna.click_raw(1, "buy")
    await bench.telegram.idle()
    bench.clock.travel(timedelta(seconds=10))
    await until(lambda: len(bench.hook.updates) == 3)
    bench.clock.travel(timedelta(seconds=6))
    again = bench.hook.updates[2]["callback_query"]["id"]
    late = await bench.refusal("answerCallbackQuery", callback_query_id=click_id)
    assert late.endswith("query is too old and response timeout expired or query ID is invalid")
    assert (await bench.call("answerCallbackQuery", callback_query_id=again, text="done"))["ok"]
    assert (await anna.wait_for_answer(click_id)).text == "done"
    bench.clock.travel(timedelta(seconds=60))
    await bench.clock.sleep(0.02)
    await bench.telegram.idle()
    assert len(bench.hook.updates) == 3


async def test_update_ids_jump_after_a_week_of_silence(bench: Bench) -> None:
    anna = bench.telegram.user(777)
    first, second = await anna.send("a"), await anna.send("b")
    assert second == first + 1
    bench.clock.travel(timedelta(days=8))
    third, fourth = await anna.send("c"), await anna.send("d")
    assert third > second
    assert fourth == third + 1
    jumps = set()
    for _ in range(5):
        bench.clock.travel(timedelta(days=8))
        jumps.add(await anna.send("e") - fourth)
        fourth = await anna.send("f")
    assert len(jumps) > 1


@pytest.mark.parametrize(
    ("update", "queue"),
    [
        ({"message": {"chat": {"id": -5}, "from": {"id": 1}}}, "chat:-5"),
        ({"edited_message": {"chat": {"id": -5}, "from": {"id": 1}}}, "chat:-5"),
        ({"channel_post": {"chat": {"id": -5}}}, "chat:-5"),
        ({"callback_query": {"from": {"id": 1}}}, "callback:1"),
        ({"pre_checkout_query": {"from": {"id": 1}}}, "checkout:1"),
        ({"shipping_query": {"from": {"id": 1}}}, "checkout:1"),
        ({"my_chat_member": {"chat": {"id": 7}, "from": {"id": 1}}}, "my_chat_member:7"),
        ({"chat_member": {"chat": {"id": -5}, "from": {"id": 1}, "new_chat_member": {"user": {"id": 2}}}}, "member:2"),
        ({"chat_join_request": {"chat": {"id": -5}, "from": {"id": 2}}}, "member:2"),
        ({"message_reaction": {"chat": {"id": 7}}}, "reaction:7"),
        ({"inline_query": {"from": {"id": 1}}}, "inline:1"),
        ({"subscription": {"user": {"id": 1}}}, "subscription:1"),
    ],
)
def test_each_kind_has_its_queue(update: dict[str, Any], queue: str) -> None:
    assert queue_of({"update_id": 1, **update}) == queue


async def test_silence_ends_the_request_and_the_update_comes_again_meanwhile(
    endpoints: tuple[Endpoint, Endpoint],
) -> None:
    release = asyncio.Event()

    async def hang(_update: dict[str, Any]) -> Response:
        if len(bench.hook.updates) == 1:
            await release.wait()
        return JSONResponse({})

    async with open_bench(endpoints, timing=Timing(request_timeout=0.5)) as bench:
        bench.hook.answer = hang
        await bench.set_webhook()
        await bench.telegram.user(777).send("a")
        await bench.telegram.idle()
        assert statuses(bench) == ["Read timeout expired", 200]
        assert bench.telegram.deliveries[0].duration >= 0.5
        assert bench.hook.most_running == 2
        release.set()


async def test_an_address_without_a_listener_is_a_failure_like_any_other(bench: Bench) -> None:
    await bench.call("setWebhook", url="http://127.0.0.1:1/not-listening")
    await bench.telegram.user(777).send("a")
    await until(lambda: len(bench.telegram.deliveries) >= 3)
    assert statuses(bench)[0] == "Connection refused"
    info = (await bench.call("getWebhookInfo"))["result"]
    assert (info["last_error_message"], info["pending_update_count"]) == ("Connection refused", 1)


@pytest.mark.parametrize(("kind", "seconds"), [("callback_query", 150), ("message", 24 * 3600)])
async def test_updates_expire(still_bench: Bench, kind: str, seconds: int) -> None:
    bench = still_bench

    async def fail(_update: dict[str, Any]) -> Response:
        return JSONResponse({}, 500)

    bench.hook.answer = fail
    await bench.set_webhook()
    anna = bench.telegram.user(777)
    await (anna.send("a") if kind == "message" else anna.click_raw(1, "x"))
    await failures(bench, 2)
    [first] = bench.telegram.pending
    assert kind in first.body
    bench.clock.travel(timedelta(seconds=seconds - 5))
    await until(lambda: len(bench.telegram.deliveries) > 2)
    assert first.update_id in [pending.update_id for pending in bench.telegram.pending]  # of clicks the app sent more
    bench.clock.travel(timedelta(seconds=5))
    await until(lambda: bench.telegram.expired)
    assert [pending.update_id for pending in bench.telegram.expired] == [first.update_id]


async def test_a_webhook_that_is_gone_for_23_hours_is_removed(bench: Bench) -> None:
    async def gone(_update: dict[str, Any]) -> Response:
        return JSONResponse({}, 410)

    bench.hook.answer = gone
    await bench.set_webhook()
    await bench.telegram.user(777).send("a")
    await until(lambda: statuses(bench).count(410) >= 2)
    assert (await bench.call("getWebhookInfo"))["result"]["url"] == bench.hook_url
    await until(lambda: None not in statuses(bench))  # travel ends what is on its way as any minute of silence does
    bench.clock.travel(timedelta(hours=23))
    attempts = len(bench.telegram.deliveries)
    await until(lambda: len(bench.telegram.deliveries) > attempts)
    await until(lambda: None not in statuses(bench))
    assert (await bench.call("getWebhookInfo"))["result"] == {
        "url": "",
        "has_custom_certificate": False,
        "pending_update_count": 1,
    }


async def test_a_success_starts_the_23_hours_of_a_gone_webhook_anew(bench: Bench) -> None:
    async def gone(_update: dict[str, Any]) -> Response:
        return JSONResponse({}, 410)

    def tried_after(attempts: int) -> bool:
        return len(bench.telegram.deliveries) > attempts

    bench.hook.answer = gone
    await bench.set_webhook()
    anna = bench.telegram.user(777)
    await anna.send("a")
    await until(lambda: 410 in statuses(bench))
    bench.hook.answer = None
    bench.clock.travel(timedelta(hours=22))
    await bench.telegram.idle()
    bench.hook.answer = gone
    await anna.send("b")
    for _ in range(2):
        attempts = len(bench.telegram.deliveries)
        await until(partial(tried_after, attempts))
        await until(lambda: None not in statuses(bench))
        bench.clock.travel(timedelta(hours=2))
    assert (await bench.call("getWebhookInfo"))["result"]["url"] == bench.hook_url


async def test_silence_does_not_start_the_23_hours_of_a_gone_webhook_anew(endpoints: tuple[Endpoint, Endpoint]) -> None:
    given_up = asyncio.Event()

    async def gone(update: dict[str, Any]) -> Response:
        if update["message"]["text"] == "hang" and "Read timeout expired" not in statuses(bench):
            await given_up.wait()
        return JSONResponse({}, 410)

    async with open_bench(endpoints, timing=Timing(backoff=0.01, request_timeout=0.5)) as bench:
        bench.hook.answer = gone
        await bench.set_webhook()
        await bench.telegram.user(1).send("a")
        await until(lambda: 410 in statuses(bench))
        bench.clock.travel(timedelta(hours=22, minutes=59))
        await bench.telegram.user(2).send("hang")
        await until(lambda: "Read timeout expired" in statuses(bench))
        given_up.set()
        bench.clock.travel(timedelta(minutes=2))

        async def is_removed() -> bool:
            return not (await bench.call("getWebhookInfo"))["result"]["url"]

        await until(is_removed)


async def test_duplicates_and_strange_updates_can_be_injected(bench: Bench) -> None:
    await bench.set_webhook()
    person = {"id": 777, "is_bot": False, "first_name": "Anna"}
    message = {"message_id": 1, "from": person, "chat": {"id": 777, "type": "private"}, "date": 1, "text": "a"}
    twice = {"update_id": 5, "message": message}
    assert [bench.telegram.inject(twice), bench.telegram.inject(twice)] == [5, 5]
    strange = bench.telegram.inject({"planet_visit": {"planet": "Mars"}})
    assert bench.telegram.inject({"message": "nonsense"}) == strange + 1
    await bench.telegram.idle()
    assert sorted(update["update_id"] for update in bench.hook.updates) == [5, 5, strange, strange + 1]
    assert (await bench.call("sendMessage", chat_id=777, text="hello"))["ok"]


async def test_raw_posts_carry_what_the_test_says(bench: Bench) -> None:
    await bench.set_webhook()
    assert (await bench.telegram.post_raw(b'{"update_id": 1}')).status_code == 200
    assert bench.hook.headers[-1]["x-telegram-bot-api-secret-token"] == SECRET
    await bench.telegram.post_raw(b"{}", {"X-Telegram-Bot-Api-Secret-Token": None, "Content-Type": "text/plain"})
    assert "x-telegram-bot-api-secret-token" not in bench.hook.headers[-1]
    assert bench.hook.headers[-1]["content-type"] == "text/plain"
    await bench.telegram.post_raw(b"{}", {"X-Telegram-Bot-Api-Secret-Token": "секрет"})
    assert bench.hook.headers[-1]["x-telegram-bot-api-secret-token"].encode("latin-1").decode() == "секрет"
    assert bench.telegram.deliveries == []


async def test_the_body_of_an_update_is_json_of_one_update(bench: Bench) -> None:
    await bench.set_webhook()
    await bench.telegram.user(777).send("😀 \u2028 </script>")
    await bench.telegram.idle()
    assert json.loads(bench.hook.bodies[0])["message"]["text"] == "😀  </script>"


async def test_no_cookie_goes_from_one_update_to_the_next(bench: Bench) -> None:
    async def answer(_update: dict[str, Any]) -> Response:
        return Response(headers={"Set-Cookie": "seen=1"})

    bench.hook.answer = answer
    await bench.set_webhook()
    user = bench.telegram.user(1, "Anna")
    for words in ("one", "two"):
        await user.send(words)
        await bench.telegram.idle()
    assert ["cookie" in headers for headers in bench.hook.headers] == [False, False]
