"""Updates waiting for the bot: which queue each belongs to and when it is given up."""

from __future__ import annotations

import bisect
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from sandbox.telegram.state.changes import Changes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sandbox.stand_in.clock import Clock
    from sandbox.telegram.state.store import Store

Update = dict[str, Any]

DAY: Final = 24 * 3600.0
WEEK: Final = 7 * DAY
LONGEST_JUMP: Final = 1_000_000
# Seconds after which Telegram gives an undelivered update up.
EXPIRY: Final = {
    "callback_query": 150.0,
    "pre_checkout_query": 150.0,
    "shipping_query": 150.0,
    "inline_query": 30.0,
    "chosen_inline_result": 600.0,
}
# The queue of a kind: its name and where the chat or user that splits it is found.
_BY_CHAT: Final = {
    "message": "chat",
    "edited_message": "chat",
    "channel_post": "chat",
    "edited_channel_post": "chat",
    "my_chat_member": "my_chat_member",
    "message_reaction": "reaction",
    "message_reaction_count": "reactions",
    "chat_boost": "boost",
    "removed_chat_boost": "boost",
    "deleted_business_messages": "business_deleted",
}
_BY_USER: Final = {
    "callback_query": "callback",
    "shipping_query": "checkout",
    "pre_checkout_query": "checkout",
    "chat_member": "member",
    "chat_join_request": "member",
    "subscription": "subscription",
    "purchased_paid_media": "paid_media",
    "poll_answer": "poll_answer",
    "business_connection": "business",
    "inline_query": "inline",
    "chosen_inline_result": "inline",
}
NOT_BY_DEFAULT: Final = {"chat_member", "message_reaction", "message_reaction_count"}
KINDS: Final = (
    "message",
    "edited_message",
    "channel_post",
    "edited_channel_post",
    "business_connection",
    "business_message",
    "edited_business_message",
    "deleted_business_messages",
    "guest_message",
    "message_reaction",
    "message_reaction_count",
    "inline_query",
    "chosen_inline_result",
    "callback_query",
    "shipping_query",
    "pre_checkout_query",
    "purchased_paid_media",
    "poll",
    "poll_answer",
    "my_chat_member",
    "chat_member",
    "chat_join_request",
    "chat_boost",
    "removed_chat_boost",
    "managed_bot",
    "subscription",
    "stopped_message_generation",
)


def kind_of(update: Update) -> str:
    """The one key beside `update_id`, empty when there is none."""
    return next((key for key in update if key != "update_id"), "")


def queue_of(update: Update) -> str:
    """The queue's name: strictly one update in flight in each, any number of queues side by side."""
    kind = kind_of(update)
    content = update.get(kind)
    if not isinstance(content, dict):
        return kind
    user = content.get("from", content.get("user"))
    if kind == "chat_member":  # whose membership it is, not who changed it
        member = content.get("new_chat_member")
        user = member.get("user") if isinstance(member, dict) else None
    for names, owner in ((_BY_CHAT, content.get("chat")), (_BY_USER, user)):
        if kind in names:
            return f"{names[kind]}:{owner.get('id') if isinstance(owner, dict) else ''}"
    return kind


@dataclass(frozen=True)
class Pending:
    """One undelivered update. `position` is ours: an injected update may repeat an `update_id`."""

    position: int
    update_id: int
    queue: str
    expires_at: float
    body: Update


@dataclass
class Updates:
    """All undelivered updates, by arrival, and the numbering of new ones."""

    store: Store
    clock: Clock
    changes: Changes = field(default_factory=Changes)
    expired: list[Pending] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._pending: dict[int, Pending] = {}
        self._queues: dict[str, list[int]] = {}
        for row in self.store.updates():
            self._remember(Pending(*row))
        self._position: int = self.store.setting("last_position") or 0
        self._last_update_id: int = self.store.setting("last_update_id") or 700_000_000
        self._numbered_at: float = self.store.setting("last_update_at") or self.clock.now().timestamp()
        # None = everything but NOT_BY_DEFAULT. Kept by the server from call to call.
        self.allowed: list[str] | None = self.store.setting("allowed_updates")

    def __len__(self) -> int:
        return len(self._pending)

    def __iter__(self) -> Iterator[Pending]:
        return iter(list(self._pending.values()))

    def queues(self) -> list[str]:
        """Names of the queues that hold something."""
        return list(self._queues)

    def head(self, queue: str) -> Pending | None:
        """The next update of a queue that is still worth delivering; expired ones before it are dropped."""
        while positions := self._queues.get(queue):
            pending = self._pending[positions[0]]
            if pending.expires_at > self.clock.now().timestamp():
                return pending
            self.expire(pending)
        return None

    def expire(self, pending: Pending) -> None:
        """Give an update up, unless it is gone already."""
        if pending.position in self._pending:
            self.expired.append(pending)
            self.remove(pending)

    def drop_expired(self) -> None:
        """Forget what is past its time at the head of any queue."""
        for queue in self.queues():
            self.head(queue)

    def wanted(self, kind: str) -> bool:
        """Whether the bot asked for this kind (`allowed_updates`)."""
        return kind not in NOT_BY_DEFAULT if self.allowed is None else kind in self.allowed

    @staticmethod
    def known(kinds: list[str]) -> list[str] | None:
        """`allowed_updates` as it is kept: unknown names are ignored, an empty list means the default (None)."""
        return [kind for kind in KINDS if kind in kinds] or None

    def allow(self, kinds: list[str]) -> None:
        """Set `allowed_updates`."""
        self.allowed = self.known(kinds)
        self.store.save_setting("allowed_updates", self.allowed)

    def emit(self, kind: str, content: dict[str, Any]) -> int:
        """An update of Telegram's own; the answer is its id. Kinds the bot did not ask for are not even queued."""
        update_id = self._next_id()
        if self.wanted(kind):
            self.put({"update_id": update_id, kind: content})
        return update_id

    def _next_id(self) -> int:
        """One more than the last; somewhere else after a week of silence. Never back, so that pollers lose nothing."""
        now = self.clock.now().timestamp()
        step = random.randint(1, LONGEST_JUMP) if now - self._numbered_at > WEEK else 1  # noqa: S311 - no secret
        self._last_update_id, self._numbered_at = self._last_update_id + step, now
        self.store.save_setting("last_update_id", self._last_update_id)
        self.store.save_setting("last_update_at", now)
        return self._last_update_id

    def put(self, update: Update) -> int:
        """Queue a raw update as it is, with a new id when it has none."""
        if "update_id" not in update:
            update = {"update_id": self._next_id(), **update}
        self._position += 1
        self.store.save_setting("last_position", self._position)
        expires_at = self.clock.now().timestamp() + EXPIRY.get(kind_of(update), DAY)
        pending = Pending(self._position, int(update["update_id"]), queue_of(update), expires_at, update)
        self.store.save_update(*vars(pending).values())
        self._remember(pending)
        self.changes.tell()
        return pending.update_id

    def _remember(self, pending: Pending) -> None:
        self._pending[pending.position] = pending
        bisect.insort(self._queues.setdefault(pending.queue, []), pending.position)

    def remove(self, pending: Pending) -> None:
        """Forget an update that was delivered, confirmed or given up. A second removal does nothing."""
        if self._pending.pop(pending.position, None) is None:
            return
        self._queues[pending.queue].remove(pending.position)
        if not self._queues[pending.queue]:
            del self._queues[pending.queue]
        self.store.delete_update(pending.position)
        self.changes.tell()

    def clear(self) -> None:
        """Drop everything undelivered (`drop_pending_updates`), money included."""
        for pending in self:
            self.remove(pending)
