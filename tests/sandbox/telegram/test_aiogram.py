"""aiogram as the judge: its client calls every method, its models read every update and answer."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from aiogram import Bot
from aiogram.client.session.aiohttp import AiohttpSession
from aiogram.client.telegram import TelegramAPIServer
from aiogram.exceptions import TelegramBadRequest, TelegramForbiddenError, TelegramRetryAfter, TelegramServerError
from aiogram.types import (
    BotCommand,
    BufferedInputFile,
    CallbackQuery,
    ChatMemberAdministrator,
    ChatMemberBanned,
    ChatMemberLeft,
    ChatMemberMember,
    ChatMemberOwner,
    CopyTextButton,
    InaccessibleMessage,
    InlineKeyboardButton,
    InlineKeyboardMarkup,
    InputMediaDocument,
    InputMediaPhoto,
    InputMediaVideo,
    LabeledPrice,
    LinkPreviewOptions,
    MenuButtonWebApp,
    Message,
    MessageOriginUser,
    TransactionPartnerUser,
    Update,
    WebAppInfo,
)

from sandbox.telegram.protocol.method_table import TABLE, generate, render
from tests.sandbox.telegram.conftest import TOKEN, png
from tests.sandbox.telegram.test_media import GIF, MP3, MP4, OGG
from tests.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.sandbox.telegram.conftest import Bench

BUTTONS = InlineKeyboardMarkup(
    inline_keyboard=[
        [
            InlineKeyboardButton(text="Go", callback_data="go"),
            InlineKeyboardButton(text="Pay", url="http://127.0.0.1/"),
        ],
        [InlineKeyboardButton(text="Copy", copy_text=CopyTextButton(text="vless://"))],
    ]
)


@pytest.fixture
async def bot(bench: Bench) -> AsyncIterator[Bot]:
    session = AiohttpSession(api=TelegramAPIServer.from_base(bench.url))
    await bench.telegram.user(777, "Anna").send("/start")
    async with Bot(TOKEN, session=session) as bot:
        yield bot


def test_the_table_of_methods_is_that_of_the_installed_aiogram() -> None:
    assert TABLE.read_text() == render(generate())


async def test_messages(bench: Bench, bot: Bot) -> None:
    preview = LinkPreviewOptions(is_disabled=True)
    sent = await bot.send_message(
        777, "<b>Hi</b> https://a.com", parse_mode="HTML", reply_markup=BUTTONS, link_preview_options=preview
    )
    assert isinstance(sent, Message)
    assert sent.html_text == "<b>Hi</b> https://a.com"
    assert sent.reply_markup is not None
    assert sent.reply_markup.model_dump(exclude_none=True) == BUTTONS.model_dump(exclude_none=True)
    edited = await bot.edit_message_text("new", chat_id=777, message_id=sent.message_id, reply_markup=BUTTONS)
    assert isinstance(edited, Message)
    assert edited.edit_date is not None
    with pytest.raises(TelegramBadRequest, match="message is not modified"):
        await bot.edit_message_text("new", chat_id=777, message_id=sent.message_id, reply_markup=BUTTONS)
    bare = await bot.edit_message_reply_markup(chat_id=777, message_id=sent.message_id, reply_markup=None)
    assert isinstance(bare, Message)
    assert bare.reply_markup is None
    reply = await bot.send_message(777, "r", reply_to_message_id=sent.message_id, protect_content=True)
    assert reply.reply_to_message is not None
    assert reply.reply_to_message.text == "new"
    assert reply.has_protected_content
    assert await bot.send_chat_action(777, "typing")
    assert await bot.delete_message(777, sent.message_id)
    assert all(not call.unknown_parameters and not call.missing_parameters for call in bench.telegram.calls)


async def test_photos(bench: Bench, bot: Bot) -> None:
    picture = BufferedInputFile(png(), "qr.png")
    sent = await bot.send_photo(777, picture, caption="<code>k</code>", parse_mode="HTML", reply_markup=BUTTONS)
    assert sent.photo
    assert (sent.photo[-1].width, sent.photo[-1].height) == (64, 64)
    file = await bot.get_file(sent.photo[-1].file_id)
    assert file.file_path
    downloaded = await bot.download_file(file.file_path)
    assert downloaded is not None
    assert downloaded.read() == png()
    other = InputMediaPhoto(media=BufferedInputFile(png(32, 32), "other.png"), caption="<i>o</i>", parse_mode="HTML")
    changed = await bot.edit_message_media(other, chat_id=777, message_id=sent.message_id)
    assert isinstance(changed, Message)
    assert changed.photo
    assert changed.photo[-1].width == 32
    assert changed.html_text == "<i>o</i>"
    again = await bot.edit_message_media(
        InputMediaPhoto(media=sent.photo[-1].file_id), chat_id=777, message_id=sent.message_id
    )
    assert isinstance(again, Message)
    assert bench.telegram.user(777).messages[-1]["photo_bytes"] == png()
    captioned = await bot.edit_message_caption(chat_id=777, message_id=sent.message_id, caption="c")
    assert isinstance(captioned, Message)
    assert captioned.caption == "c"
    assert all(not call.unknown_parameters for call in bench.telegram.calls)


async def test_files(bench: Bench, bot: Bot) -> None:
    document = await bot.send_document(777, BufferedInputFile(b"key", "atlas.conf"), caption="c")
    assert document.document is not None
    assert (document.document.file_name, document.document.file_size) == ("atlas.conf", 3)
    video = await bot.send_video(777, BufferedInputFile(MP4, "how.mp4"), width=640, height=360, duration=9)
    assert video.video is not None
    animation = await bot.send_animation(777, BufferedInputFile(GIF, "loop.gif"))
    assert animation.animation is not None
    assert (await bot.send_audio(777, BufferedInputFile(MP3, "a.mp3"), title="T")).audio is not None
    assert (await bot.send_voice(777, BufferedInputFile(OGG, "a.ogg"))).voice is not None
    group = await bot.send_media_group(
        777,
        [
            InputMediaPhoto(media=BufferedInputFile(png(), "a.png"), caption="one"),
            InputMediaVideo(media=video.video.file_id),
        ],
    )
    assert [one.content_type for one in group] == ["photo", "video"]
    assert len({one.media_group_id for one in group}) == 1
    edited = await bot.edit_message_media(
        InputMediaDocument(media=BufferedInputFile(b"new", "new.conf")), chat_id=777, message_id=document.message_id
    )
    assert isinstance(edited, Message)
    assert edited.document is not None
    assert edited.document.file_name == "new.conf"
    copy = await bot.copy_message(777, 777, document.message_id, caption="copy")
    assert copy.message_id > edited.message_id
    forward = await bot.forward_message(777, 777, document.message_id)
    assert isinstance(forward.forward_origin, MessageOriginUser)
    assert await bot.delete_messages(777, [copy.message_id, forward.message_id])
    assert all(not call.unknown_parameters and not call.missing_parameters for call in bench.telegram.calls)


async def test_chats(bench: Bench, bot: Bot) -> None:
    await bench.set_webhook(allowed_updates=["message", "chat_member", "my_chat_member"])
    anna = bench.telegram.user(777)
    news = bench.telegram.channel(-1_001_234_567_890, "News", username="atlas_news")
    news.set_bot("administrator")
    anna.join(news.id)
    assert isinstance(await bot.get_chat_member(news.id, 777), ChatMemberMember)
    assert isinstance(await bot.get_chat_member("@atlas_news", 42), ChatMemberAdministrator)
    anna.leave(news.id)
    assert isinstance(await bot.get_chat_member(news.id, 777), ChatMemberLeft)
    news.ban(anna.account)
    assert isinstance(await bot.get_chat_member(news.id, 777), ChatMemberBanned)
    owner, _ = await bot.get_chat_administrators(news.id)
    assert isinstance(owner, ChatMemberOwner)
    assert await bot.get_chat_member_count(news.id) == 2
    assert (await bot.get_chat(news.id)).title == "News"
    sent = await bot.send_message(777, "a")
    assert await bot.pin_chat_message(777, sent.message_id)
    pinned = (await bot.get_chat(777)).pinned_message
    assert pinned is not None
    assert pinned.message_id == sent.message_id
    assert await bot.unpin_chat_message(777)
    assert await bot.leave_chat(news.id)
    await bench.telegram.idle()
    updates = [Update.model_validate(body) for body in bench.hook.updates]
    assert [update.event_type for update in updates].count("chat_member") == 3
    assert not any(getattr(update.event, "model_extra", None) for update in updates)
    assert [update.message.content_type for update in updates if update.message][-1] == "pinned_message"


async def test_the_bots_profile(bench: Bench, bot: Bot) -> None:
    assert await bot.set_my_name("Atlas")
    assert (await bot.get_my_name()).name == "Atlas"
    assert await bot.set_my_description("d", language_code="ru")
    assert (await bot.get_my_description(language_code="ru")).description == "d"
    assert await bot.set_my_short_description("s")
    assert (await bot.get_my_short_description()).short_description == "s"
    button = MenuButtonWebApp(text="Open", web_app=WebAppInfo(url="https://atlas.example/"))
    assert await bot.set_chat_menu_button(777, button)
    assert (await bot.get_chat_menu_button(777)).model_dump() == button.model_dump()
    assert await bot.set_my_commands([BotCommand(command="start", description="Start")])
    assert await bot.delete_my_commands()
    assert await bot.get_my_commands() == []
    assert all(not call.unknown_parameters and not call.missing_parameters for call in bench.telegram.calls)


async def test_payments(bench: Bench, bot: Bot) -> None:
    await bench.set_webhook()
    anna = bench.telegram.user(777)
    stars: dict[str, Any] = {"title": "Atlas", "description": "30 days", "payload": "o1", "currency": "XTR"}
    prices = [LabeledPrice(label="30 days", amount=50)]
    sent = await bot.send_invoice(777, prices=prices, provider_token="", **stars)
    assert sent.invoice is not None
    assert (sent.invoice.total_amount, sent.invoice.currency) == (50, "XTR")
    assert sent.reply_markup is not None
    assert sent.reply_markup.inline_keyboard[0][0].pay is True
    url = await bot.create_invoice_link(prices=prices, subscription_period=2_592_000, **stars)
    paying = [asyncio.create_task(anna.pay(sent.message_id)), asyncio.create_task(anna.pay_link(url))]
    await until(lambda: sum("pre_checkout_query" in update for update in bench.hook.updates) == 2)
    for update in list(bench.hook.updates):
        if "pre_checkout_query" in update:
            query = Update.model_validate(update).pre_checkout_query
            assert query is not None
            assert await bot.answer_pre_checkout_query(query.id, ok=True)
    once, monthly = [(await payment).charge_ids[0] for payment in paying]
    assert await bot.edit_user_star_subscription(777, monthly, is_canceled=True)
    assert await bot.edit_user_star_subscription(777, monthly, is_canceled=False)
    anna.cancel_subscription(monthly)
    assert await bot.refund_star_payment(777, once)
    with pytest.raises(TelegramBadRequest, match="CHARGE_ALREADY_REFUNDED"):
        await bot.refund_star_payment(777, once)
    assert (await bot.get_my_star_balance()).amount == 50
    transactions = (await bot.get_star_transactions()).transactions
    assert {one.id for one in transactions} == {once, monthly}
    partners = [one.source or one.receiver for one in transactions]
    assert all(isinstance(partner, TransactionPartnerUser) for partner in partners)
    await bench.telegram.idle()
    updates = [Update.model_validate(body) for body in bench.hook.updates]
    messages = [update.message for update in updates if update.message]
    paid = {one.successful_payment.telegram_payment_charge_id for one in messages if one.successful_payment}
    assert paid == {once, monthly}
    assert [one.refunded_payment.total_amount for one in messages if one.refunded_payment] == [50]
    assert [update.subscription.state for update in updates if update.subscription] == ["canceled"]
    assert not any(getattr(update.event, "model_extra", None) for update in updates)
    assert all(not call.unknown_parameters and not call.missing_parameters for call in bench.telegram.calls)


async def test_the_bot_itself(bench: Bench, bot: Bot) -> None:
    me = await bot.get_me()
    assert (me.id, me.is_bot, me.username) == (42, True, "atlas_local_bot")
    assert await bot.set_my_commands([BotCommand(command="start", description="Start")])
    commands = await bot.get_my_commands()
    assert [(one.command, one.description) for one in commands] == [("start", "Start")]
    assert len(await bot.get_updates()) == 1
    assert await bot.set_webhook(bench.hook_url, allowed_updates=["message"], secret_token="s", max_connections=7)
    info = await bot.get_webhook_info()
    assert (info.url, info.max_connections, info.allowed_updates) == (bench.hook_url, 7, ["message"])
    assert await bot.delete_webhook()


async def test_failures_arrive_as_aiograms_own_errors(bench: Bench, bot: Bot) -> None:
    bench.telegram.fail_next("sendMessage", 429, retry_after=7)
    with pytest.raises(TelegramRetryAfter) as limited:
        await bot.send_message(777, "a")
    assert limited.value.retry_after == 7
    bench.telegram.fail_next("sendMessage", 500)
    with pytest.raises(TelegramServerError):
        await bot.send_message(777, "a")
    bench.telegram.user(777).block()
    with pytest.raises(TelegramForbiddenError, match="blocked by the user"):
        await bot.send_message(777, "a")


async def test_clicks_are_answered(bench: Bench, bot: Bot) -> None:
    anna = bench.telegram.user(777)
    sent = await bot.send_message(777, "a", reply_markup=BUTTONS)
    query_id = await anna.click(sent.message_id, "Go")
    assert await bot.answer_callback_query(query_id, text="done")
    assert anna.answers[-1].text == "done"
    for button in ("Pay", "Nowhere"):
        with pytest.raises(AssertionError, match=button):
            await anna.click(sent.message_id, button)


async def test_every_kind_of_update_is_one_aiogram_reads(bench: Bench, bot: Bot) -> None:
    await bench.set_webhook()
    anna = bench.telegram.user(778, "Борис", last_name="Иванов", username="boris", language_code="ru")
    await anna.send("/start r_abc https://a.com")
    sent = await bot.send_message(778, "<b>a</b>", parse_mode="HTML", reply_markup=BUTTONS)
    photo = await bot.send_photo(778, BufferedInputFile(png(), "qr.png"), reply_markup=BUTTONS)
    await anna.click(sent.message_id, "Go")
    await anna.click(photo.message_id, "Go")
    await bot.delete_message(778, sent.message_id)
    await anna.click_raw(sent.message_id, "forged")
    anna.block()
    anna.unblock()
    checkout = {"id": "1", "currency": "XTR", "total_amount": 5, "invoice_payload": "p", "from": anna.account.user()}
    bench.telegram.inject({"pre_checkout_query": checkout})
    await bench.telegram.idle()
    updates = [Update.model_validate(body) for body in bench.hook.updates]
    assert {update.event_type for update in updates} == {
        "message",
        "callback_query",
        "my_chat_member",
        "pre_checkout_query",
    }
    for update, body in zip(updates, bench.hook.updates, strict=True):
        # Nothing beyond the models: an unknown key would be kept as an extra.
        assert not update.model_extra
        assert not getattr(update.event, "model_extra", None)
        again = json.loads(update.model_dump_json(exclude_unset=True, by_alias=True))
        assert again.keys() == body.keys()
    clicks = [update.event for update in updates if isinstance(update.event, CallbackQuery)]
    assert [type(click.message) for click in clicks] == [Message, Message, InaccessibleMessage]
    assert [click.data for click in clicks] == ["go", "go", "forged"]
    assert len({click.chat_instance for click in clicks}) == 1
    members = [update.my_chat_member for update in updates if update.my_chat_member]
    assert [(one.old_chat_member.status, one.new_chat_member.status) for one in members] == [
        ("member", "kicked"),
        ("kicked", "member"),
    ]
