"""Subscriptions at a partner: asked for, compared with what is wanted (`subscribed.py`), made, changed and removed.

A secret is sealed as soon as it is known: what dies between the partner's answer and the sealing leaves a subscription nobody
has the secret of, which the next repair replaces. Every call goes through the integration's own gate.
"""

from __future__ import annotations

import contextlib
import os
from base64 import urlsafe_b64encode
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from syncd.errors import GoneError, OwnershipError, PayloadError, RejectedError
from syncd.kit import ListedSubscriptions, Request, Response, Secret, Subscription, Subscriptions, UnlistedSubscriptions
from syncd.model import Lane
from syncd.sync.account import Account
from syncd.sync.subscribed import Action, Found, Step, among, compare, compare_each, without_secret

KIND: Final = "webhook"
"""Of the sealed row of an integration: by subscription, its secret."""
MOST_PAGES: Final = 50
"""Of one list of subscriptions."""
SEALING_TRIES: Final = 5
ENOUGH_REFUSED: Final = 3
"""Refusals in a row from the first step on: it is not the kind of event that the partner minds."""
SECRET_BYTES: Final = 24
"""Of a secret that an address ends in."""


class Subscribing:
    """One look at the subscriptions of one integration, and what is done about it."""

    def __init__(self, account: Account, api: Subscriptions, url: str, *, in_file: bool) -> None:
        self._account = account
        self._api = api
        self._url = url
        self._in_file = in_file
        self.wanted = api.wanted(list(account.plans))
        self.found: list[Found] = []
        self.steps: list[Step] = []
        self.done: list[Step] = []
        self._lost: list[str] = []
        """Of a partner without a list: what is sealed for subscriptions that it no longer has."""

    async def look(self) -> None:
        """Ask the partner, and compare. Raises what the call may raise."""
        sealed = await self._sealed()
        if isinstance(self._api, ListedSubscriptions):
            told, ids = await self._listed(self._api), sealed
        else:
            told, ids = await self._read(self._api, sealed), frozenset(key.rpartition("/")[2] for key in sealed)
        readable = bool(told) and self._api.secret(told[0]) is not None
        if self._api.secret_in_address:
            told = [without_secret(one, self._url) for one in told]
        look = partial(compare_each, own_address=self._api.own_address) if self._api.one_an_event else compare
        self.found, self.steps = look(told, self._url, self.wanted, ids, readable=readable, in_file=self._in_file)

    async def _listed(self, api: ListedSubscriptions) -> list[Subscription]:
        told: list[Subscription] = []
        request: Request | None = api.listing()
        for _ in range(MOST_PAGES * api.lists):
            if request is None:
                return told
            response = await self._call(request)
            told += api.found(response)
            request = api.following(request, response)
        raise PayloadError(f"the list of subscriptions has more than {MOST_PAGES} pages")

    async def _read(self, api: UnlistedSubscriptions, sealed: Collection[str]) -> list[Subscription]:
        """Each that we hold a secret of, asked for by its id."""
        told = []
        self._lost = []
        for key in sorted(sealed):
            event, _, known = key.rpartition("/")
            url = f"{self._url}/{event}" if self._api.one_an_event else self._url
            one = Subscription(known, url, frozenset({event} if event else self.wanted))
            try:
                told.append(api.told(one, await self._call(api.read(one))))
            except GoneError:
                self._lost.append(key)
        return told

    async def act(self, actions: Collection[Action]) -> None:
        """Take the steps of these kinds, in order; `done` holds those that were taken, also when one fails.

        Where each kind of event has a subscription of its own, one that the partner refuses keeps no other from being made.
        """
        due, refused = among(self.steps, actions), []
        for step in due:
            try:
                waits = await self._take(step)
            except RejectedError as error:
                refused.append((step, error))
                if not self._api.one_an_event or (len(refused) >= ENOUGH_REFUSED and not self.done):
                    break
                continue
            self.done.append(replace(step, done=f"{step.done}; {waits}") if waits else step)
        for key in self._lost:
            await self._seal(key, None)
        if refused:
            raise self._refused(refused, len(due))

    def _refused(self, refused: Sequence[tuple[Step, RejectedError]], due: int) -> RejectedError:
        """The first refusal; with what was asked for and how many were done, where there were several to do."""
        step, error = refused[0]
        if due > 1:
            error.args = (f"could not {step.would}: {error}; {len(self.done)} of {due} steps were taken",)
        return error

    async def _take(self, step: Step) -> str:
        """Returns what is still to happen before it works, if anything."""
        one = step.subscription
        match step.action:
            case Action.CREATE:
                return await self._create(step.events, step.url)
            case Action.READ if one is not None:
                await self._seal(self._key(one), await self._secret_of(one))
            case Action.CHANGE if one is not None:
                request = self._api.change(one, step.events)
                if request is None:
                    return await self._replace(one, step.events, step.url)
                await self._call(request)
            case Action.REPLACE if one is not None:
                return await self._replace(one, step.events, step.url)
            case Action.REMOVE if one is not None:
                await self._remove(one)
        return ""

    async def _replace(self, one: Subscription, events: frozenset[str], url: str) -> str:
        """The new one before the old one goes, so that nothing is missed between; where the partner allows it."""
        if self._api.one_a_url:
            await self._remove(one)
        waits = await self._create(events, url)
        if not self._api.one_a_url:
            await self._remove(one)
        return waits

    async def _create(self, events: frozenset[str], url: str) -> str:
        longest = self._api.longest_url
        if longest is not None and len(url) > longest:
            raise RejectedError(
                f"{url} has {len(url)} characters, and the partner takes {longest}",
                hint="a shorter public_url under server in syncd.yaml, or webhook: {url: ...} in the integration",
            )
        if self._api.secret_in_address:
            await self._create_secret(events, url)
            return ""
        made, secret = self._api.created(await self._call(self._api.create(url, events)))
        made = replace(made, url=url, events=events)
        await self._seal(self._key(made), secret if secret is not None else await self._secret_of(made))
        return f"the partner has to let it through first ({made.said})" if made.pending else ""

    async def _create_secret(self, events: frozenset[str], url: str) -> None:
        """Where the address ends in the secret: ours, the same for all subscriptions of the integration."""
        stored = await self._account.store.credentials.get(self._account.name, KIND)
        held = sorted(stored.value.values()) if stored is not None else []
        secret = held[0] if held else urlsafe_b64encode(os.urandom(SECRET_BYTES)).decode().rstrip("=")
        known = Secret(secret)  # masked in the log from here on
        made, _ = self._api.created(await self._call(self._api.create(f"{url}/{secret}", events)))
        await self._seal(made.id, known)

    async def _remove(self, one: Subscription) -> None:
        with contextlib.suppress(GoneError):  # somebody was faster
            await self._call(self._api.remove(one))
        await self._seal(self._key(one), None)

    def _key(self, one: Subscription) -> str:
        """Under what its secret is sealed: its id; where nothing but that row knows of it, what it brings before that."""
        if isinstance(self._api, ListedSubscriptions):
            return one.id
        return f"{next(iter(one.events), '') if self._api.one_an_event else ''}/{one.id}"

    async def _secret_of(self, one: Subscription) -> Secret:
        """Ask for it, and again after each wait: some partners have it only a while after the making."""
        request = self._api.secret(one)
        if request is None:
            raise PayloadError(f"the partner gave no secret for {one.id}", hint=self._again)
        for wait in (*self._api.waits, None):
            try:
                secret = self._api.secret_in(await self._call(request))
            except (GoneError, RejectedError) as error:
                if error.status != 404 or wait is None:
                    raise
                secret = None
            if secret is not None:
                return secret
            if wait is not None:
                await self._account.clock.sleep(wait)
        raise PayloadError(f"the partner gave no secret for {one.id}", hint=self._again)

    @property
    def _again(self) -> str:
        return f"syncd webhook repair {self._account.name}"

    async def _call(self, request: Request) -> Response:
        return await self._account.session.call(request, lane=Lane.HIGH)

    async def _sealed(self) -> frozenset[str]:
        stored = await self._account.store.credentials.get(self._account.name, KIND)
        return frozenset(stored.value) if stored is not None else frozenset()

    async def _seal(self, subscription: str, secret: Secret | None) -> None:
        """Keep the secret of a subscription, or (None) forget it. Committed before anything else is done."""
        credentials, name = self._account.store.credentials, self._account.name
        for tries in range(SEALING_TRIES):
            stored = await credentials.get(name, KIND)
            before: Mapping[str, str] = stored.value if stored is not None else {}
            after = {known: value for known, value in before.items() if known != subscription}
            if secret is not None:
                after[subscription] = secret.reveal()
            if after == before:
                return
            try:
                version = stored.version if stored is not None else None
                if after:
                    await credentials.put(name, KIND, after, expires_at=None, replaces=version)
                elif not await credentials.remove(name, KIND, version=version):
                    raise OwnershipError(f"the secrets of {name}'s webhooks were replaced by somebody else")
                return
            except OwnershipError:  # another one sealed meanwhile: what it sealed stays
                if tries == SEALING_TRIES - 1:
                    raise
