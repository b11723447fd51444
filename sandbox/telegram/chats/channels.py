"""Channels: who is in them, what the bot is there, and the updates that tell it. No posts: only membership is modelled."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

from sandbox.telegram.protocol.arguments import chat_number
from sandbox.telegram.protocol.errors import bad_request, forbidden

if TYPE_CHECKING:
    from sandbox.telegram.chats.accounts import Account, Accounts
    from sandbox.telegram.state.store import Store
    from sandbox.telegram.updates.updates import Updates

HIGHEST_ID: Final = -1_000_000_000_000  # a channel's id is below it
BotStatus = Literal["administrator", "left", "kicked"]
# What an administrator of a channel may do; every name must be there since Bot API 10.3.
RIGHTS: Final = {
    "can_be_edited": False,
    "is_anonymous": False,
    "can_manage_chat": True,
    "can_delete_messages": True,
    "can_manage_video_chats": False,
    "can_restrict_members": True,
    "can_promote_members": False,
    "can_change_info": False,
    "can_invite_users": True,
    "can_post_stories": False,
    "can_edit_stories": False,
    "can_delete_stories": False,
    "can_send_welcome_messages": False,
    "can_post_messages": True,
    "can_edit_messages": True,
    "can_manage_direct_messages": False,
}


@dataclass
class _Kept:
    """What the store holds of a channel. `members` are those who were ever in it, by id: member, left or kicked."""

    id: int
    title: str
    username: str
    owner_id: int
    bot: BotStatus = "left"
    members: dict[str, str] = field(default_factory=dict)


def as_member(status: str, user: dict[str, Any]) -> dict[str, Any]:
    """Bot API `ChatMember`."""
    more: dict[str, dict[str, Any]] = {
        "creator": {"is_anonymous": False},
        "administrator": RIGHTS,
        "kicked": {"until_date": 0},
    }
    return {"status": status, "user": user, **more.get(status, {})}


class Channel:
    """One channel, as its owner and the people in it handle it. Whatever they do becomes an update, if the bot may see it."""

    def __init__(self, kept: _Kept, store: Store, people: Accounts, updates: Updates) -> None:
        self._kept = kept
        self._store = store
        self._people = people
        self._updates = updates

    @property
    def id(self) -> int:
        """Below -1 000 000 000 000."""
        return self._kept.id

    @property
    def username(self) -> str:
        """Without the @; empty for a private channel."""
        return self._kept.username

    @property
    def bot_status(self) -> BotStatus:
        """What the bot is here."""
        return self._kept.bot

    @property
    def owner(self) -> Account:
        """Who made it."""
        return self._people.accounts[self._kept.owner_id]

    @property
    def members(self) -> list[int]:
        """Ids of the people who are in it, the owner first, without the bot."""
        return [self._kept.owner_id, *(int(who) for who, status in self._kept.members.items() if status == "member")]

    def chat(self) -> dict[str, Any]:
        """Bot API `Chat`."""
        username = {"username": self.username} if self.username else {}
        return {"id": self.id, "title": self._kept.title, **username, "type": "channel"}

    def status_of(self, user_id: int) -> str:
        """creator, administrator (the bot alone), member, left or kicked; left for a person who never came."""
        if user_id == self._people.bot["id"]:
            return self._kept.bot
        return "creator" if user_id == self._kept.owner_id else self._kept.members.get(str(user_id), "left")

    def save(self) -> None:
        """Keep it as it now is."""
        self._store.save_record("channel", str(self.id), asdict(self._kept))
        self._people.changes.tell()

    def set_bot(self, status: BotStatus, by: dict[str, Any] | None = None) -> int:
        """Make the bot an administrator, or let it go; the answer is the id of the `my_chat_member` update."""
        before, self._kept.bot = self._kept.bot, status
        self.save()
        return self._tell("my_chat_member", by or self.owner.user(), self._people.bot, (before, status))

    def ban(self, account: Account) -> int:
        """The owner throws a person out; the answer is the id of the `chat_member` update."""
        return self.move(account, "kicked", self.owner)

    def unban(self, account: Account) -> int:
        """The owner lets a person come again; they are not back in by that."""
        if self.status_of(account.id) != "kicked":
            raise ValueError("they are not banned")
        return self.move(account, "left", self.owner)

    def move(self, account: Account, status: str, by: Account) -> int:
        """Change a person's status here; the answer is the id of the `chat_member` update.

        Raises:
            ValueError: they are that already, own the channel, or were thrown out and want in.
        """
        before = self.status_of(account.id)
        if before in {status, "creator"} or (before == "kicked" and status == "member"):
            raise ValueError(f"{account.first_name} is {before} here")
        self._kept.members[str(account.id)] = status
        self.save()
        return self._tell("chat_member", by.user(), account.user(), (before, status))

    def _tell(self, kind: str, by: dict[str, Any], who: dict[str, Any], statuses: tuple[str, str]) -> int:
        """A bot that is no administrator learns nothing of others."""
        if kind == "chat_member" and self._kept.bot != "administrator":
            return 0
        before, after = statuses
        change = {
            "chat": self.chat(),
            "from": by,
            "date": self._people.now,
            "old_chat_member": as_member(before, who),
            "new_chat_member": as_member(after, who),
        }
        return self._updates.emit(kind, change)

    def check_access(self) -> None:
        """Refuse what a bot that is not here may not know.

        Raises:
            ApiError: 403 with the server's words.
        """
        if self._kept.bot == "kicked":
            raise forbidden("bot was kicked from the channel chat")
        if self._kept.bot == "left" and not self.username:
            raise forbidden("bot is not a member of the channel chat")

    def check_members(self) -> None:
        """Refuse the list of members to all but administrators.

        Raises:
            ApiError: 400 with the server's words.
        """
        if self._kept.bot != "administrator":
            raise bad_request("member list is inaccessible")


class Channels:
    """Every channel there is."""

    def __init__(self, store: Store, people: Accounts, updates: Updates) -> None:
        self._parts = store, people, updates
        self._channels = {int(name): Channel(_Kept(**body), *self._parts) for name, body in store.records("channel")}

    def add(self, channel_id: int, title: str, username: str, owner_id: int) -> Channel:
        """A new channel, which the bot is not in yet."""
        channel = Channel(_Kept(channel_id, title, username, owner_id), *self._parts)
        self._channels[channel_id] = channel
        channel.save()
        return channel

    def get(self, channel_id: int) -> Channel | None:
        """By id."""
        return self._channels.get(channel_id)

    def find(self, chat_id: str) -> Channel | None:
        """By a call's `chat_id`: the id, or @username in any case."""
        chat_id = chat_id.strip()
        if chat_id.startswith("@"):
            wanted = chat_id[1:].lower()
            return next((one for one in self._channels.values() if wanted and one.username.lower() == wanted), None)
        number = chat_number(chat_id)
        return None if number is None else self._channels.get(number)
