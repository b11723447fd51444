"""One update, one effect transaction (docs/architecture.md, rule 3).

A router says which act to run; the act runs inside the transaction that consumes the update's key and stores the reply.
An act that needs the outside world between two effects returns an `Errand`: the transaction commits what it did so far
without finishing the update, the router runs the errand with no transaction open, and a second act finishes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

from lib import texts
from lib.bot import screen as screens
from lib.bot.screen import Call, Played, Screen, Surface
from lib.db import keyed
from lib.domain import accounts, updates

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from zoneinfo import ZoneInfo

    from lib.bot.services import Services
    from lib.db import Transaction
    from lib.domain.accounts import Account, Person
    from lib.domain.outbox import Item
    from lib.domain.pricelist import PriceList
    from lib.domain.updates import Incoming
    from lib.texts import Texts


@dataclass(frozen=True, slots=True)
class Handled:
    """What an update came to.

    Attributes:
        reply: Bot API calls in their order, exactly as stored with the update.
        follow_up: to be enqueued by the caller, now that it is committed; empty when the update was done before.
        cap_reached: the trial's daily cap refused somebody: an operator is told.
    """

    reply: list[Call]
    follow_up: tuple[Item, ...] = ()
    cap_reached: bool = False


@dataclass(frozen=True, slots=True)
class Errand:
    """Something to be done outside, between two transactions of one update."""


@dataclass(frozen=True, slots=True)
class Setting:
    """What is the same for every update of a process, as far as an act may know it."""

    prices: PriceList
    zone: ZoneInfo
    support_url: str
    crypto_offered: bool


@dataclass(frozen=True, slots=True)
class Scene:
    """What every act may look at, all of it values."""

    account: Account
    texts: Texts
    setting: Setting
    correlation_id: str

    @property
    def prices(self) -> PriceList:
        """What is sold."""
        return self.setting.prices

    def moment(self, when: datetime) -> str:
        """A time as the customer reads it."""
        return self.texts.moment(when, self.setting.zone)

    def speaking(self, language: str) -> Scene:
        """The same in another language."""
        return replace(self, texts=texts.of(language))


@dataclass(frozen=True, slots=True)
class Frame:
    """What the effect transaction needs to know of the update and its surroundings.

    Attributes:
        back_from_errand: what is to be shown is known from outside, so it is newer than what another delivery of the same
            update may have stored meanwhile.
    """

    incoming: Incoming
    person: Person
    surface: Surface
    setting: Setting
    start_payload: str | None = None
    back_from_errand: bool = False


E = TypeVar("E", bound=Errand)


@keyed
def take_effect(
    tx: Transaction, frame: Frame, act: Callable[..., Screen | Played | Errand], arguments: tuple[Any, ...]
) -> Handled | Errand:
    """Consume the update, run `act(tx, scene, *arguments)`, keep the reply: one transaction."""
    update_id = frame.incoming.update_id
    meeting = accounts.meeting(frame.person, start_payload=frame.start_payload, update_id=update_id)
    (claimed,), met = tx.together(updates.claiming(frame.incoming), meeting)
    if claimed.done:
        moved_on = accounts.has_moved_on(tx, frame.person.telegram_id, update_id)
        if moved_on or not frame.back_from_errand:
            return Handled(_again(claimed.reply or [], moved_on=moved_on))
        met = [accounts.meet(tx, frame.person, start_payload=frame.start_payload, update_id=update_id)]
    (account,) = met
    scene = Scene(account, texts.of(account.language), frame.setting, frame.incoming.correlation_id)
    outcome = act(tx, scene, *arguments)
    if isinstance(outcome, Errand):
        return outcome
    played = outcome if isinstance(outcome, Played) else Played(outcome)
    reply = screens.calls(played.screen, frame.surface)
    tx.reach("update.mid-transaction")
    updates.finish(tx, update_id, reply)
    return Handled(reply, played.follow_up, played.cap_reached)


def _again(reply: list[Call], *, moved_on: bool) -> list[Call]:
    """The stored reply, for a second delivery: nobody knows whether the first one's got through.

    A person who has done something else since has seen what came of that; a screen of before must not come over it.
    """
    return [call for call in reply if call["method"] != "editMessageText"] if moved_on else reply


@keyed
def finish_silently(
    tx: Transaction, incoming: Incoming, telegram_id: int | None = None, *, reachable: bool | None = None
) -> Handled:
    """Consume an update that is answered with nothing; one about a block or an unblock is noted on the account."""
    claimed = updates.claim(tx, incoming)
    if claimed.done:
        return Handled(claimed.reply or [])
    if telegram_id is not None and reachable is not None:
        accounts.set_reachable(tx, telegram_id, reachable=reachable)
    updates.finish(tx, incoming.update_id, [])
    return Handled([])


class Turn:
    """What a router is given: the update's surroundings, and the way to have its effect."""

    def __init__(self, services: Services, incoming: Incoming) -> None:
        self.services = services
        self.incoming = incoming
        self.handled: Handled | None = None
        self._sent_out = False
        self._frame: Frame | None = None

    def enter(self, person: Person, surface: Surface) -> None:
        """Who acts, and where the answer goes; said once, before any act."""
        services = self.services
        setting = Setting(services.prices, services.zone, services.telegram.support_url, services.cryptopay is not None)
        self._frame = Frame(self.incoming, person, surface, setting)

    async def play(
        self, act: Callable[..., Screen | Played], *arguments: Any, start_payload: str | None = None
    ) -> None:
        """Run an act to the end of the update.

        Raises:
            DatabaseError: nothing was changed; the sender is to try again.
        """
        await self.set_out(act, *arguments, start_payload=start_payload)

    async def set_out(
        self,
        act: Callable[..., Screen | Played | E],
        *arguments: Any,
        start_payload: str | None = None,
    ) -> E | None:
        """Run an act that may ask for an errand; None when the update is finished.

        Raises:
            DatabaseError: nothing was changed; the sender is to try again.
        """
        if self._frame is None:
            raise RuntimeError("nobody entered")
        frame = replace(self._frame, start_payload=start_payload, back_from_errand=self._sent_out)
        outcome = await self.services.db.run(take_effect, frame, act, arguments)
        if isinstance(outcome, Handled):
            self.handled = outcome
            return None
        self._sent_out = True
        return cast("E", outcome)

    def add_follow_up(self, items: tuple[Item, ...]) -> None:
        """Work that another transaction of this update left behind."""
        if self.handled is not None and items:
            self.handled = replace(self.handled, follow_up=(*self.handled.follow_up, *items))
