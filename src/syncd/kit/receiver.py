"""What intake knows of one integration: whether a delivery is its partner's, and what it is called.

Made once and asked thousands of times a second, so all that does not depend on the delivery is decided when it is made.
Knows nothing of the partner's transport, gate or credential: a delivery is judged while the partner is down (R16).
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, Literal, NamedTuple

from syncd.kit import issuing
from syncd.kit.driver import Driver
from syncd.kit.signatures import Verdict
from syncd.kit.verifying import signature_headers, signs_address
from syncd.kit.webhooks import KNOWN_BY, Delivery, composite_id
from syncd.model import Headers
from syncd.secrets import Secret

PER_SECOND: Final = 2_000.0
"""Deliveries a second from one integration before the rest are told to come later."""
LONGEST_ID: Final = 200
"""Characters of an event id that are stored as they are; of a longer one its hash."""
LONGEST_TYPE: Final = 120
LONGEST_HEADER: Final = 1_000

Reason = Literal["signature", "stale", "malformed", "disabled", "unsure"]


class Accepted(NamedTuple):
    """The partner's own delivery. All text in it can be stored."""

    event_id: str
    """The same on every try of it; a random one where nothing makes it that delivery: better twice than lost."""
    event_type: str
    """What the partner calls it; "" where it does not say."""
    headers: dict[str, str]
    """The few it is read by later."""
    handed: str = ""
    """The integration whose account it names, where several share this address; "": the one of the address."""


class Refused(NamedTuple):
    """Not to be stored. The reason is for our metrics and log, never for the answer."""

    reason: Reason
    """`signature`: none, or of no secret of ours; `stale`: rightly signed, too long ago; `malformed`: not to be read;
    `disabled`: the integration is switched off, or has no secret to judge by; `unsure`: of another account, and whether who
    knows our secret may speak for that one cannot be told yet."""


_REFUSED: Final = {
    Verdict.FORGED: Refused("signature"),
    Verdict.STALE: Refused("stale"),
    Verdict.MALFORMED: Refused("malformed"),
}
DISABLED: Final = Refused("disabled")
UNSURE: Final = Refused("unsure")
# What PostgreSQL's text cannot hold: NUL, and the halves of a surrogate pair (aiohttp decodes headers with them).
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


class Receiver:
    """The judge of one integration's deliveries."""

    __slots__ = ("_driver", "_event_id", "_event_type", "_issues", "_kept", "_of_route", "_others", "_padding",
                 "_path", "_signed_by", "_signs_url", "_unsure", "_verify", "account", "answer", "cost", "doubted",
                 "integration", "partner", "per_second", "url")  # fmt: skip

    def __init__(
        self,
        partner: str,
        integration: str,
        driver: Driver,
        secrets: Sequence[Secret],
        *,
        url: str = "",
        per_second: float = PER_SECOND,
        tolerance_seconds: float | None = None,
        enabled: bool = True,
        at_least: int = 0,
        account: str = "",
        others: Mapping[str, str] | None = None,
        unsure: Collection[str] = (),
        of_route: Mapping[str, Sequence[Secret]] | None = None,
    ) -> None:
        """`url`: what stands before any route in the address the partner calls (`https://host/webhooks/attio/acme`), which
        a scheme that signs the address is judged by. Without secrets, or not enabled, everything is refused. `at_least`: a
        refusal costs as much as with so many secrets, so that its time does not tell how many there are. `account`: whose
        deliveries are its own, where the partner calls one address for several accounts; `others`: by account the
        integration that one of another account is handed to; `unsure`: accounts of which that cannot be told yet: theirs
        are refused. `of_route`: further secrets, each good for deliveries to one route alone (the last part of our URL),
        where each kind of event has a secret of its own."""
        self.partner = partner
        self.integration = integration
        self.url = url.rstrip("/")
        self.per_second = per_second
        self.account = account
        self._others = others or {}
        self._unsure = unsure
        self._driver = driver
        self._path = f"/webhooks/{partner}/{integration}"
        own = of_route or {}
        every = [*secrets, *(secret for several in own.values() for secret in several)]
        held = sum(1 for secret in every if secret.reveal())
        usable = enabled and held > 0
        self._verify = driver.verifier(every, tolerance_seconds=tolerance_seconds) if usable else None
        # What a route's own secret has to fit is asked after all of them: a refusal takes as long whatever the route.
        self._of_route = {
            route: driver.verifier([*secrets, *own.get(route, ())], tolerance_seconds=tolerance_seconds)
            for route in ((*own, "") if own and usable else ())
        }
        nobodys = [
            Secret(f"whsec_{b64encode(os.urandom(24)).decode()}") for _ in range(at_least - held if usable else 0)
        ]
        self._padding = driver.verifier(nobodys, tolerance_seconds=tolerance_seconds) if nobodys else None
        self.cost = max(held, at_least) if usable else 0
        """How many secrets a refusal is as dear as."""
        rules = driver.spec.webhooks
        wanted = rules.answer if rules is not None else None
        self.answer = None if wanted is None else (wanted.status, wanted.content, wanted.content_type)
        """What the partner wants to hear of a delivery that is stored: status, body, content type; None: the usual."""
        self.doubted = False
        """The last one that was let in was signed for another address than ours."""
        asks = usable and rules is not None and rules.verify == "issued_token"
        self._issues = tuple(secret.reveal() for secret in secrets) if asks else None
        # A scheme of a driver's own may look at anything; of ours three look at the address.
        self._signed_by = signature_headers(rules) if rules is not None else ()
        self._signs_url = rules is None or signs_address(rules) or type(driver).verify is not Driver.verify
        self._event_id: Callable[[Delivery], str | None] = driver.event_id
        self._event_type: Callable[[Delivery], str] = driver.event_type
        self._kept = driver.kept_headers()

    def __repr__(self) -> str:
        return f"Receiver({self.partner}/{self.integration})"

    @property
    def judges(self) -> bool:
        """There is a secret to judge by. Without, everything is refused at once, which takes no time."""
        return self._verify is not None

    def bears_signature(self, delivery: Delivery) -> bool:
        """Does it show what only its partner, or who pretends to be it, would: a signature in its place?"""
        return any(delivery.headers.get(header) for header in self._signed_by)

    def issues(self, delivery: Delivery) -> bool:
        """Does this ask for a token of ours, and is no delivery?"""
        return self._issues is not None and delivery.route == issuing.ROUTE

    def token(self, delivery: Delivery, now: datetime) -> bytes | None:
        """What is answered to who asks for a token; None: refused. Never raises."""
        return issuing.answer(delivery, self._issues or (), now.timestamp())

    def judge(self, delivery: Delivery, now: datetime) -> Accepted | Refused:
        """Never raises, whatever the bytes. `delivery.url` may be the path and query as they came; it becomes the public
        address, and the route of one that was known by it is taken away: it is a secret."""
        if self._verify is None:
            return DISABLED
        try:
            if self._signs_url and self.url and delivery.url.startswith("/"):
                delivery.url = self.public(delivery.url)
            verdict = self._verify(delivery, now.timestamp())
            if verdict and self._of_route:
                verdict = self._of_route.get(delivery.route, self._of_route[""])(delivery, now.timestamp())
            if not verdict:
                if self._padding is not None:
                    self._padding(delivery, now.timestamp())
                return _REFUSED[verdict]
        except Exception:
            # Bytes that break a verifier are no partner's; a fault of a driver's own must not become a 500 either.
            return _REFUSED[Verdict.MALFORMED]
        self.doubted = verdict is Verdict.DOUBTED
        accepted = Accepted(self._id(delivery), self._type(delivery), self._headers(delivery.headers))
        if verdict is Verdict.KNOWN:
            accepted.headers[KNOWN_BY] = "url"
            delivery.route = ""  # it was the secret, which is not to be stored
        if not self._others and not self._unsure:
            return accepted
        handed = self._whose(delivery)
        return UNSURE if handed is None else accepted._replace(handed=handed)

    def _whose(self, delivery: Delivery) -> str | None:
        """The integration it is handed to; None: one that it cannot be told of. Who can tell none keeps it: what is accepted
        is stored somewhere."""
        try:
            named = self._driver.accounts(delivery)
        except Exception:
            return ""
        ours = (one for one in named if one == self.account or one in self._others or one in self._unsure)
        first = next(ours, self.account)
        return "" if first == self.account else self._others.get(first)

    def public(self, path: str) -> str:
        """The address the partner called, whatever a proxy made of it: our own, with the route and query that came. Of a path
        that is another's, as where we judge in its place, as long and as costly a one."""
        return self.url + path.removeprefix(self._path)

    def _id(self, delivery: Delivery) -> str:
        try:
            found = self._event_id(delivery)
        except Exception:  # what is signed is stored, even where it cannot be read
            found = None
        if not found:
            return f"~{os.urandom(16).hex()}"
        return found if len(found) <= LONGEST_ID and _storable(found) else f"#{composite_id(found)}"

    def _type(self, delivery: Delivery) -> str:
        try:
            return _text(self._event_type(delivery), LONGEST_TYPE)
        except Exception:
            return ""

    def _headers(self, headers: Headers) -> dict[str, str]:
        found = headers.few(self._kept)
        together = "".join(found.values())
        if len(together) <= LONGEST_HEADER and _storable(together):
            return found
        return {name: _text(value, LONGEST_HEADER) for name, value in found.items()}


def _text(value: str, longest: int) -> str:
    text = value if len(value) <= longest else value[:longest]
    return text if _storable(text) else _UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def _storable(text: str) -> bool:
    return "\0" not in text if text.isascii() else not _UNSTORABLE.search(text)
