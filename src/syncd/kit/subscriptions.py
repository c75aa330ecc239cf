"""How a partner is asked to send us what changes: the calls and what their answers say. Pure; the engine compares and acts.

Mostly described (`webhooks.subscriptions`, `registering.py`); a driver that needs more returns one of its own from
`Driver.subscriptions`: a `ListedSubscriptions` where the partner has a list of them, else an `UnlistedSubscriptions`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from syncd.model import Request, Response
from syncd.secrets import Secret


@dataclass(frozen=True, slots=True)
class Subscription:
    """One that the partner keeps, whoever made it."""

    id: str
    url: str
    events: frozenset[str]
    """Event types, in the partner's words; `*` is every one."""
    active: bool = True
    said: str = ""
    """The partner's own word for its state, where it has one."""
    pending: bool = False
    """Somebody at the partner has to let it through first: nothing we do makes it work sooner."""

    def lacks(self, wanted: Collection[str]) -> frozenset[str]:
        """Which of these events it does not bring."""
        return frozenset() if "*" in self.events else frozenset(wanted) - self.events


class AnySubscriptions(ABC):
    """What one partner's API of subscriptions looks like, however it shows those there are."""

    one_a_url: bool = False
    """The partner refuses a second one to the same address: an old one goes before a new one comes."""
    one_an_event: bool = False
    """A subscription is for one kind of event, at an address of its own, which ends in the event: several are made."""
    own_address: bool = True
    """False: all subscriptions of `one_an_event` lead to one address, and their events tell them apart."""
    secret_in_address: bool = False
    """Nothing is signed: the address ends in a secret of ours, which is made with the first subscription."""
    vanish: bool = False
    """The partner may drop them without a word: once they were made they are looked at every 6 hours, and made anew."""
    longest_url: int | None = None
    """Characters of an address."""
    waits: Sequence[float] = ()
    """Seconds between tries to read a secret that is not there yet."""

    @abstractmethod
    def wanted(self, resources: Collection[str]) -> frozenset[str]:
        """The event types that tell of changes of these resources."""

    @abstractmethod
    def create(self, url: str, events: Collection[str]) -> Request:
        """The call that makes one."""

    @abstractmethod
    def created(self, response: Response) -> tuple[Subscription, Secret | None]:
        """What it made, and the secret if the answer has it. Raises PayloadError."""

    def secret(self, one: Subscription) -> Request | None:
        """The call that reads its secret at any time; None where only the answer to its making has it."""
        return None

    def secret_in(self, response: Response) -> Secret | None:
        """The secret in that answer."""
        return None

    def change(self, one: Subscription, events: Collection[str]) -> Request | None:
        """The call that lets it bring these events, and go on where it was switched off; None: it has to be replaced."""
        return None

    @abstractmethod
    def remove(self, one: Subscription) -> Request:
        """The call that ends it."""


class ListedSubscriptions(AnySubscriptions):
    """The partner has a list of them all."""

    @abstractmethod
    def listing(self) -> Request:
        """The first call of the list of all subscriptions."""

    @property
    def lists(self) -> int:
        """So many lists make up that of all: one for each property, say."""
        return 1

    def following(self, request: Request, response: Response) -> Request | None:
        """The call after one that was answered; None at the end."""
        return None

    @abstractmethod
    def found(self, response: Response) -> list[Subscription]:
        """What a page of the list holds. Raises PayloadError."""


class UnlistedSubscriptions(AnySubscriptions):
    """There is no list: each is read by its id, and known only from the row its secret is sealed in."""

    @abstractmethod
    def read(self, one: Subscription) -> Request:
        """The call that reads one that was made as it is given here."""

    @abstractmethod
    def told(self, one: Subscription, response: Response) -> Subscription:
        """What its answer says of it; what that leaves out is as it was made. Raises PayloadError."""


Subscriptions = ListedSubscriptions | UnlistedSubscriptions
"""What a driver may return: one of the two, each with all that it needs."""
