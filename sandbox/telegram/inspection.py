"""What the inspector shows: each update with its attempts and the calls that belong near it, and calls that stand alone.

Telegram itself ties no call to an update, so the tie is made by what they name: the query that a call answers, or the
person, when the call came soon after their update and before their next one.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.protocol.arguments import chat_number
from sandbox.telegram.updates.updates import kind_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sandbox.telegram.calls.bot_api import Call
    from sandbox.telegram.service import TelegramService
    from sandbox.telegram.updates.delivery import Attempt

LOOKED_AT: Final = 400  # newest attempts and calls
SHOWN: Final = 80  # newest entries
NEAR: Final = timedelta(seconds=30)
TITLE_LIMIT: Final = 60


@dataclass
class _Update:
    update_id: int
    update: dict[str, Any]
    user: int
    query: str
    began: datetime | None = None
    ended: datetime | None = None
    attempts: list[Attempt] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)

    @classmethod
    def of(cls, update_id: int, update: dict[str, Any]) -> _Update:
        content = update.get(kind_of(update))
        content = content if isinstance(content, dict) else {}
        sender = content.get("from") or content.get("user") or content.get("chat")
        user = sender.get("id") if isinstance(sender, dict) else None
        return cls(update_id, update, user if isinstance(user, int) else 0, str(content.get("id", "")))

    def add(self, attempt: Attempt) -> None:
        self.attempts.append(attempt)
        self.began = self.began or attempt.started
        self.ended = attempt.started + timedelta(seconds=attempt.duration)


def _title(update: dict[str, Any]) -> str:
    """What a person would call it: the text they sent, the data of their button, what they pay."""
    kind = kind_of(update)
    content = update.get(kind)
    if not isinstance(content, dict):
        return ""
    paid = content.get("successful_payment") or content.get("refunded_payment") or content
    title = content.get("text") or content.get("data")
    if not title and isinstance(paid, dict) and "total_amount" in paid:
        title = f"{paid['total_amount']} {paid.get('currency', '')}"
    if not title and isinstance(content.get("new_chat_member"), dict):
        title = {"kicked": "blocked the bot", "member": "unblocked the bot"}.get(
            str(content["new_chat_member"].get("status")), ""
        )
    return str(title or "")[:TITLE_LIMIT]


def _user_of(call: Call) -> int:
    for name in ("chat_id", "user_id"):
        number = chat_number(str(call.params.get(name, "")))
        if number is not None and number > 0:
            return number
    return 0


def _query_of(call: Call) -> str:
    return str(call.params.get("callback_query_id") or call.params.get("pre_checkout_query_id") or "")


def _owner(call: Call, updates: list[_Update]) -> _Update | None:
    """The update that the call belongs near; `updates` are in the order of their first attempts."""
    query, user = _query_of(call), _user_of(call)
    if query:
        return next((update for update in reversed(updates) if update.query == query), None)
    for update in reversed(updates):
        if user and update.user == user and update.began is not None and update.began <= call.time:
            near = update.ended is not None and call.time - update.ended <= NEAR
            return update if near else None
    return None


def _state(update: _Update, waiting: set[int], expired: set[int]) -> str:
    last = update.attempts[-1] if update.attempts else None
    if last is not None and last.delivered:
        return "delivered"
    if update.update_id in expired:
        return "expired"
    if last is not None and last.status is None and last.error is None:
        return "under way"
    return "waiting" if update.update_id in waiting else "given up"


def _shown_call(call: Call, since: datetime | None = None) -> dict[str, Any]:
    shown = asdict(call)
    shown["user"] = _user_of(call)
    shown["after_ms"] = None if since is None else round((call.time - since).total_seconds() * 1000)
    shown["ms"] = round(shown.pop("duration") * 1000, 1)
    shown["failed"] = call.code != 200 and not call.description.startswith("ignored")  # noqa: PLR2004 - OK
    return shown


def _shown_attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "attempt": attempt.attempt,
        "started": attempt.started,
        "ms": round(attempt.duration * 1000, 1),
        "status": attempt.status,
        "error": attempt.error,
        "method": attempt.method,
        "answer": attempt.answer,
        "delivered": attempt.delivered,
    }


def _gather(telegram: TelegramService) -> tuple[list[_Update], list[Call]]:
    """Updates with their calls, and the calls that belong to none; both oldest first."""
    found: dict[int, _Update] = {}
    for attempt in telegram.deliveries[-LOOKED_AT:]:
        if attempt.update_id not in found:
            found[attempt.update_id] = _Update.of(attempt.update_id, attempt.update)
        found[attempt.update_id].add(attempt)
    tried = list(found.values())
    for pending in telegram.pending:
        if pending.update_id not in found:
            found[pending.update_id] = _Update.of(pending.update_id, pending.body)
    alone = []
    for call in telegram.calls[-LOOKED_AT:]:
        owner = _owner(call, tried)
        if owner is None:
            alone.append(call)
        else:
            owner.calls.append(call)
    return list(found.values()), alone


def _entries(telegram: TelegramService) -> Iterator[tuple[datetime, dict[str, Any]]]:
    updates, alone = _gather(telegram)
    waiting = {pending.update_id for pending in telegram.pending}
    expired = {pending.update_id for pending in telegram.expired}
    now = datetime.fromtimestamp(telegram.chats.now + 1, UTC)  # what was not tried yet is newest
    for update in updates:
        state = _state(update, waiting, expired)
        calls = [_shown_call(call, update.began) for call in update.calls]
        tries = [_shown_attempt(attempt) for attempt in update.attempts]
        entry = {
            "key": f"update-{update.update_id}",
            "update_id": update.update_id,
            "kind": kind_of(update.update),
            "title": _title(update.update),
            "user": update.user,
            "at": update.began,
            "state": state,
            "failed": state in {"expired", "given up"}
            or any(not one["delivered"] and (one["status"] or one["error"]) for one in tries)
            or any(call["failed"] for call in calls),
            "attempts": tries,
            "calls": calls,
            "update": update.update,
        }
        yield update.began or now, entry
    for call in alone:
        shown = _shown_call(call)
        yield (
            call.time,
            {
                "key": f"call-{call.time.isoformat()}-{call.method}",
                "kind": "",
                "user": shown["user"],
                "at": call.time,
                "failed": shown["failed"],
                "calls": [shown],
            },
        )


def trace(telegram: TelegramService) -> dict[str, Any]:
    """Everything the inspector shows, newest first; times on the sandbox's clock, `ms` in real milliseconds."""
    entries = sorted(_entries(telegram), key=lambda entry: entry[0], reverse=True)
    return {"entries": [entry for _, entry in entries[:SHOWN]], "pending": len(telegram.pending)}


def mark(telegram: TelegramService) -> tuple[object, ...]:
    """Changes whenever `trace` does, and costs little to look at."""
    calls, deliveries = telegram.calls[-LOOKED_AT:], telegram.deliveries[-LOOKED_AT:]
    return (
        len(telegram.pending),
        len(telegram.expired),
        _ends(call.time for call in calls),
        sum(call.code for call in calls),
        _ends(attempt.started for attempt in deliveries),
        sum((attempt.status or 0) + (attempt.duration > 0) for attempt in deliveries),
    )


def _ends(moments: Iterable[datetime]) -> tuple[datetime | None, int]:
    listed = list(moments)
    return (listed[-1] if listed else None, len(listed))
