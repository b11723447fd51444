"""The people who use the bot, and the bot itself."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sandbox.telegram.state.changes import Changes

if TYPE_CHECKING:
    from sandbox.stand_in.clock import Clock
    from sandbox.telegram.state.store import Store


@dataclass
class Account:
    """One Telegram user and where they stand with the bot."""

    id: int
    first_name: str
    last_name: str = ""
    username: str = ""
    language_code: str = ""
    started: bool = False
    blocked: bool = False
    deleted: bool = False
    # What they can pay with; ten thousand is a good deal more than any user owns.
    stars: int = 10_000
    # What they fill in where an invoice asks for it; made up when empty. The phone number is digits alone.
    phone_number: str = ""
    email: str = ""

    def particulars(self) -> dict[str, str]:
        """Bot API `OrderInfo`, filled in completely, without an address."""
        return {
            "name": f"{self.first_name} {self.last_name}".rstrip(),
            "phone_number": self.phone_number or f"7900{self.id % 10_000_000:07}",
            "email": self.email or f"user{self.id}@example.com",
        }

    def user(self) -> dict[str, Any]:
        """Bot API `User`; what is empty is left out, as the server does."""
        optional = {name: getattr(self, name) for name in ("last_name", "username", "language_code")}
        return {"id": self.id, "is_bot": False, "first_name": self.first_name} | {
            name: value for name, value in optional.items() if value
        }

    def chat(self) -> dict[str, Any]:
        """Bot API `Chat` of the private chat."""
        user = self.user()
        return {key: user[key] for key in ("id", "first_name", "last_name", "username") if key in user} | {
            "type": "private"
        }


class Accounts:
    """All accounts. `changes` moves with everything a user could see."""

    def __init__(self, store: Store, clock: Clock, bot: dict[str, Any]) -> None:
        self._store = store
        self._clock = clock
        self.bot = bot
        self.changes = Changes()
        self.accounts: dict[int, Account] = {body["id"]: Account(**body) for body in store.accounts()}

    @property
    def now(self) -> int:
        """The moment as Telegram writes it: whole POSIX seconds."""
        return int(self._clock.now().timestamp())

    def save(self, account: Account) -> None:
        """Write an account that is new or was changed."""
        self.accounts[account.id] = account
        self._store.save_account(account.id, asdict(account))
        self.changes.tell()
