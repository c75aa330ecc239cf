"""`syncd webhook list|register|repair` in the daemon: who may call, what is told, what is written down.

The comparing and the calls: `sync/subscribing.py`. Only the instance that holds the integration's scope calls its partner.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import anyio
import structlog

from syncd import drivers
from syncd.config import Config, did_you_mean
from syncd.errors import ConfigError, OwnershipError, RejectedError, SyncdError
from syncd.kit.deliveries import SecretFrom
from syncd.kit.issuing import ROUTE
from syncd.store import Store
from syncd.sync.account import Account
from syncd.sync.subscribed import REGISTERING, Action, Found, Step, among
from syncd.sync.subscribing import KIND, Subscribing

say = structlog.get_logger()


class Subscribers:
    """Implements `server.desk_subscriptions.SubscriptionsDesk`."""

    def __init__(
        self,
        accounts: Callable[[], Sequence[Account]],
        config: Callable[[], Config],
        store: Callable[[], Store],
    ) -> None:
        self._accounts = accounts
        self._config = config
        self._store = store
        self._busy: defaultdict[str, anyio.Lock] = defaultdict(anyio.Lock)
        """One at a time for an integration: two would make two subscriptions."""

    def names(self) -> Mapping[str, Sequence[str]]:
        return {account.name: list(account.plans) for account in self._accounts()}

    async def list(self, integration: str) -> dict[str, Any]:
        with self._asking(integration):
            by_hand = self._by_hand(self._account(integration))
        if by_hand:
            return {**_document(integration, self._url(integration)), "by_hand": by_hand}
        subscribing = await self._looked(integration)
        return self._told(integration, subscribing)

    async def register(self, integration: str, *, dry_run: bool, who: str) -> dict[str, Any]:
        return await self._change(integration, REGISTERING, dry_run=dry_run, who=who)

    async def repair(self, integration: str, *, dry_run: bool, who: str) -> dict[str, Any]:
        return await self._change(integration, frozenset(Action), dry_run=dry_run, who=who)

    async def keep_up(self) -> None:
        """Make anew what a partner dropped, where it may do so without a word and they had been registered."""
        for account in self._accounts():
            api = account.driver.subscriptions(account.options)
            if api is None or not api.vanish or not account.ownership.held or account.health.paused is not None:
                continue
            if await self._store().credentials.get(account.name, KIND) is None:
                continue
            try:
                await self.repair(account.name, dry_run=False, who="syncd")
            except SyncdError as error:
                say.warning("webhooks_not_looked_at", integration=account.name, reason=str(error))

    def _by_hand(self, account: Account) -> str:
        """What somebody does where the partner has no API for it; else empty."""
        if account.driver.subscriptions(account.options) is not None:
            return ""
        if not account.driver.takes_webhooks:
            raise RejectedError(f"{account.partner} sends no webhooks that its driver takes", hint="it is polled")
        rules = account.driver.spec.webhooks
        return _entered(account.partner, rules.secret_from if rules is not None else "partner", self._url(account.name))

    async def _change(
        self, integration: str, actions: Collection[Action], *, dry_run: bool, who: str
    ) -> dict[str, Any]:
        async with self._busy[integration]:
            subscribing = await self._looked(integration)
            if dry_run:
                steps = among(subscribing.steps, actions)
                left = [step for step in subscribing.steps if step not in steps]
                return self._told(integration, subscribing, steps=steps, left=left, dry_run=True)
            try:
                with self._asking(integration):
                    await subscribing.act(actions)
            except SyncdError as error:
                await self._written(integration, subscribing.done, who, failed=str(error))
                raise
            await self._written(integration, subscribing.done, who)
            done = subscribing.done
            if done:
                subscribing = await self._looked(integration)
            return self._told(integration, subscribing, steps=(), left=subscribing.steps, done=done, dry_run=False)

    async def _written(self, integration: str, done: Sequence[Step], who: str, *, failed: str = "") -> None:
        what = [{"action": step.action.value, "what": step.done} for step in done]
        if failed:
            say.warning("webhooks_not_registered", integration=integration, done=len(done), reason=failed)
        if what or failed:
            after = {"done": what, **({"failed": failed} if failed else {})}
            await self._store().audit.add(who, "webhooks_registered", integration=integration, after=after)
        for step in done:
            say.info("webhook_registered", integration=integration, action=step.action.value, what=step.done, who=who)

    async def _looked(self, integration: str) -> Subscribing:
        with self._asking(integration):
            subscribing = self._subscribing(integration)
            await subscribing.look()
        return subscribing

    def _asking(self, integration: str) -> AbstractContextManager[None]:
        configured = self._config().integrations.get(integration)
        name = configured[0].driver if configured is not None else ""
        return drivers.asking(name, "asked about its partner's subscriptions")

    def _subscribing(self, integration: str) -> Subscribing:
        account = self._account(integration)
        api = account.driver.subscriptions(account.options)
        if api is None:
            raise RejectedError(self._by_hand(account), hint=f"syncd webhook list {integration}")
        if not account.ownership.held:
            raise OwnershipError(
                f"another instance calls for {account.scope}: its partner is asked from there",
                hint="the same command on that machine; or in a minute, if this one was just started after a crash",
            )
        _, settings = self._config().integrations[integration]
        in_file = settings.webhook is not None and bool(settings.webhook.secrets)
        return Subscribing(account, api, self._url(integration), in_file=in_file)

    def _account(self, integration: str) -> Account:
        running = {account.name: account for account in self._accounts()}
        if integration not in running:
            raise ConfigError(f"{integration} does not run here", hint=did_you_mean(integration, running))
        return running[integration]

    def _url(self, integration: str) -> str:
        url = self._config().webhook_url(integration)
        if not url:
            raise ConfigError(
                "nothing says where partners reach this daemon",
                hint="public_url under server in syncd.yaml, then a restart; or webhook: {url: ...} in the integration",
            )
        return url

    def _told(
        self,
        integration: str,
        subscribing: Subscribing,
        *,
        steps: Sequence[Step] | None = None,
        left: Sequence[Step] = (),
        done: Sequence[Step] = (),
        dry_run: bool | None = None,
    ) -> dict[str, Any]:
        due = subscribing.steps if steps is None else steps
        repair = any(step.action not in REGISTERING for step in due)
        found = _document(
            integration,
            self._config().webhook_url(integration),
            wanted=sorted(subscribing.wanted),
            subscriptions=[_shown(each) for each in subscribing.found],
            steps=[{"action": step.action.value, "would": step.would} for step in due],
            command="repair" if repair else "register",
        )
        if dry_run is not None:
            found["dry_run"] = dry_run
            found["done"] = [{"action": step.action.value, "what": step.done} for step in done]
            found["left"] = [{"action": step.action.value, "what": step.would} for step in left]
        return found


def _document(
    integration: str,
    url: str,
    *,
    wanted: Sequence[str] = (),
    subscriptions: Sequence[Mapping[str, Any]] = (),
    steps: Sequence[Mapping[str, Any]] = (),
    command: str = "",
) -> dict[str, Any]:
    """How an integration stands; without an API at the partner there is nothing but the address."""
    return {
        "integration": integration,
        "url": url,
        "wanted": list(wanted),
        "subscriptions": list(subscriptions),
        "steps": list(steps),
        "command": command,
    }


def _entered(partner: str, secret_from: SecretFrom, url: str) -> str:
    """What is entered in a partner's own pages, by where the secret comes from that its deliveries are verified by."""
    begin, below = (
        f"{partner} has no API for subscriptions",
        "under `webhook: {secrets: [{file: ...}]}` in the integration",
    )
    made_up = f"put a long random text of letters and digits {below}"
    with_it = f"{url}/TEXT, with it in the place of TEXT"
    match secret_from:
        case "tokens":
            return (
                f"{begin}: {made_up}, and in its own pages enter {url} for notifications and {url}/{ROUTE} as the token "
                "address, with the text as the client secret (the client id is yours to choose)"
            )
        case "url":
            return f"{begin} and signs nothing: {made_up}, and in its own pages enter {with_it}"
        case "key or url":
            return (
                f"{begin}: enter {url} in its own pages, and put the public key they show (PEM) {below}; where they show "
                f"none, {made_up}, and enter {with_it}"
            )
        case "partner":
            where = "the driver's README says where"
            return f"{begin}: enter {url} in its own pages, and put the secret it shows {below}; {where}"


def _shown(found: Found) -> dict[str, Any]:
    one = found.subscription
    return {
        "id": one.id,
        "url": one.url,
        "state": found.state,
        "status": one.said,
        "events": sorted(one.events),
        "secret": found.held.value if found.ours else "",
        "troubles": list(found.troubles),
    }
