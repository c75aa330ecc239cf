"""OAuth tokens: asked for once however many calls need one, committed before they are used, shared by all (R10).

One flight at a time gets a token. It first reads the store, since another instance or a person may have put a newer
one there; then it asks the token endpoint, through the same gate as every call; then it commits; only then is the token
held and used. Callers wait for the flight, never in it: cancelling one leaves the flight to the others. A flight that
fails fails for all who waited, and no new one asks before its not-before time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from weakref import WeakValueDictionary

from syncd import metrics
from syncd.client.grants import Consent, Granted, OAuthSpec, TokenRequest, code_request, read_grant, token_request
from syncd.clock import Clock
from syncd.errors import AuthError, OwnershipError, RateLimitError, StoreError, SyncdError, TransientError
from syncd.model import Response
from syncd.ports import CredentialKeeper, StoredCredential
from syncd.secrets import Secret, fingerprint

TokenCall = Callable[[TokenRequest], Awaitable[Response]]
"""Sends one request to a token endpoint, through the gate and unstamped; raises our errors for no answer."""

_HOLD_REFUSED_SECONDS = 900.0
"""After a refusal that only a person can mend; a changed secret ends the hold at once."""
_LOOK_SECONDS = 5.0
"""While held back, the store is asked for somebody else's newer token at most so often."""
_FIRST_BACKOFF_SECONDS = 1.0
_LONGEST_BACKOFF_SECONDS = 120.0
_SAVE_TRIES = 4
_LANDING_SECONDS = 5.0
"""How long the end of a session waits for a flight."""

_turns: WeakValueDictionary[tuple[int, str, str], asyncio.Lock] = WeakValueDictionary()
"""One lock for each stored credential: a reload builds a new session while the old one still refreshes (R13)."""


def turn_of(keeper: object, integration: str, kind: str) -> asyncio.Lock:
    """The lock of one stored credential: whoever replaces it, by whatever way, does so alone in this process.

    A keeper that lends what another one keeps (`lends`) takes turns with all who use that one.
    """
    return _turns.setdefault((id(getattr(keeper, "lends", keeper)), integration, kind), asyncio.Lock())


@dataclass(frozen=True, slots=True)
class Token:
    """A committed token. Times are our clock's."""

    access: Secret
    version: int
    expires_at: datetime | None
    renew_at: datetime | None


class TokenSource:
    """The tokens of one integration."""

    def __init__(
        self,
        spec: OAuthSpec,
        secrets: Callable[[str], Secret],
        *,
        integration: str,
        keeper: CredentialKeeper,
        clock: Clock,
    ) -> None:
        self.spec = spec
        self.held: Token | None = None
        self.send: TokenCall | None = None
        self._secrets = secrets
        self._integration = integration
        self._keeper = keeper
        self._clock = clock
        self._turn = turn_of(keeper, integration, spec.kind)
        self._closed = False
        self._rests_until = float("-inf")
        self._flight: asyncio.Task[SyncdError | None] | None = None
        self._refused: object = None
        self._failure: SyncdError | None = None
        self._failures = 0
        self._not_before = float("-inf")
        self._look_after = float("-inf")
        self._failed_with: tuple[Secret, ...] = ()
        self._unsaved: tuple[Granted, StoredCredential | None] | None = None

    @property
    def lacking(self) -> bool:
        """Must a token be got before the next call?"""
        held = self.held
        return held is None or (held.expires_at is not None and self._clock.now() >= held.expires_at)

    async def ready(self) -> Token:
        """A token fit for use; waits only when none is held. Raises AuthError, TransientError, RateLimitError."""
        held = self.held
        if held is not None:
            now = self._clock.now()
            if held.expires_at is None or now < held.expires_at:
                due = held.renew_at is not None and now >= held.renew_at and not self._rests
                if due and self._flight is None and self._clock.monotonic() >= self._not_before:
                    self._start(early=True)  # in the background: this token still serves
                return held
            self.held = None
        return await self._joined()

    async def renew(self, refused: object) -> Token:
        """The token of that version was refused: another one, the same for all who say so."""
        held = self.held
        if refused is not None and held is not None:
            if held.version != refused:
                return held
            self.held, self._refused = None, refused
        return await self.ready()

    async def consented(self, consent: Consent) -> StoredCredential:
        """A person has allowed it: what the code is good for, committed and from here on in force.

        Raises AuthError, TransientError, RateLimitError, OverBudgetError, StoreError. A code is good once: whatever is
        raised after it was sent, another one is needed.
        """
        assert self.send is not None, "bind() comes first"
        async with self._turn:
            before = await self._keeper.get(self._integration, self.spec.kind)
            request = code_request(self.spec, self._secrets, consent)
            granted = read_grant(await self.send(request), self._clock.now(), request)
            saved = await self._keeper.put(
                self._integration,
                self.spec.kind,
                granted.value({}, self._made_from()),
                expires_at=granted.expires_at,
                replaces=before.version if before is not None else None,
            )
            self.held, self._refused, self._unsaved = None, None, None
            self._succeeded()
            self._adopt(saved, early=False)
        return saved

    async def aclose(self) -> None:
        """Begin no other flight; let one under way land if it does so soon, since what it was given would be lost."""
        self._closed = True
        flight = self._flight
        if flight is None:
            return
        try:
            async with self._clock.timeout(_LANDING_SECONDS):
                await asyncio.wait((flight,))
        except TimeoutError:
            flight.cancel()
            await asyncio.wait((flight,))

    # -- the flight

    def rest(self, seconds: float) -> None:
        """Begin no flight so long; one under way goes on."""
        self._rests_until = self._clock.monotonic() + seconds

    @property
    def _rests(self) -> bool:
        return self._clock.monotonic() < self._rests_until

    async def _joined(self) -> Token:
        if self._closed or (self._rests and self._flight is None):
            raise self._stopped()
        if self._flight is None:
            self._raise_if_held_back()
            self._start(early=False)
        flight = self._flight
        assert flight is not None
        await asyncio.wait((flight,))  # unlike awaiting the task, being cancelled here does not cancel it
        failure = self._stopped() if flight.cancelled() else flight.result()
        if self.held is not None:
            return self.held
        raise _again(failure or TransientError("the new token was refused before it was used", breaks=False))

    def _stopped(self) -> TransientError:
        later = self._clock.now() + timedelta(seconds=30)
        why = "this session is closed" if self._closed else "its credential is just being replaced"
        return TransientError(f"no token: {why}", breaks=False, retry_at=later)

    def _start(self, *, early: bool) -> None:
        # Owned by this source: `aclose` ends it. A task of its own, because it must outlive whichever caller began it.
        self._flight = asyncio.create_task(self._fly(early), name=f"token {self._integration}")
        self._flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[SyncdError | None]) -> None:
        self._flight = None

    async def _fly(self, early: bool) -> SyncdError | None:
        """Never raises for trouble with the partner or the store: the outcome is shared as a value."""
        async with self._turn:
            return await self._fly_alone(early)

    async def _fly_alone(self, early: bool) -> SyncdError | None:
        failure: SyncdError | None = None
        asked = False
        try:
            stored = await self._keeper.get(self._integration, self.spec.kind)
            if self._unsaved is None and self._adopt(stored, early):
                self._succeeded()
                return None
            if self._clock.monotonic() < self._not_before and self._failure is not None:
                return self._failure
            asked = self._unsaved is None
            granted, made_from = self._unsaved or (await self._ask(stored), stored)
            saved = await self._save(granted, made_from)
            if not self._adopt(saved, early=False):
                raise TransientError("the token endpoint gave a token that has expired already", breaks=False)
        except SyncdError as error:
            failure = _again(error)
        except Exception as error:  # a defect of ours must reach the callers, not die with the task
            failure = TransientError(f"the token request failed ({type(error).__name__})", breaks=False)
        if isinstance(failure, TransientError):
            failure.blameless = True  # whatever work asked for a token, none was to be had
        if failure is None:
            metrics.TOKEN_REFRESHES.labels(self._integration, "ok").inc()
            self._succeeded()
            return None
        if asked:
            result = "refused" if isinstance(failure, AuthError) else "failed"
            metrics.TOKEN_REFRESHES.labels(self._integration, result).inc()
        self._failed(failure)
        return failure

    def _adopt(self, stored: StoredCredential | None, early: bool) -> bool:
        """Hold a committed token, if it is sound, not the one refused, and made from the credential now configured."""
        if stored is None or stored.version == self._refused:
            return False
        access = stored.value.get("access_token")
        if not access or not self._ours(stored):
            return False
        now = self._clock.now()
        token = Token(Secret(access), stored.version, stored.expires_at, self._renew_at(stored))
        if token.expires_at is not None and token.expires_at <= now:
            return False
        if early and (token.renew_at is None or token.renew_at <= now):
            return False
        self.held = token
        if token.expires_at is not None:
            metrics.CREDENTIAL_EXPIRY.labels(self._integration, self.spec.kind).set(token.expires_at.timestamp())
        return True

    def _renew_at(self, stored: StoredCredential) -> datetime | None:
        if stored.expires_at is None:
            return None
        margin = self.spec.margin_seconds
        life = stored.value.get("life_seconds", "")
        if life.isdigit():
            margin = min(margin, int(life) / 5)
        return stored.expires_at - timedelta(seconds=margin)

    async def _ask(self, stored: StoredCredential | None) -> Granted:
        assert self.send is not None, "bind() comes first"
        request = token_request(self.spec, self._secrets, self._refresh_token(stored))
        response = await self.send(request)
        return read_grant(response, self._clock.now(), request)

    def _refresh_token(self, stored: StoredCredential | None) -> Secret | None:
        """The newest one: the stored one while it descends from the configured one, else the configured one."""
        if self.spec.kind != "oauth2_refresh":
            return None
        kept = stored.value.get("refresh_token") if stored is not None else None
        if stored is not None and kept and self._ours(stored):
            return Secret(kept)
        if not self.spec.login:
            return self._secrets(self.spec.refresh_token)
        try:
            return self._secrets(self.spec.refresh_token)
        except AuthError:
            told = "nothing renews the token" if stored is not None else "nobody has allowed it yet"
            hint = f"syncd credential login {self._integration}"
        raise AuthError(f"{told}, and no refresh token is configured", permanent=True, hint=hint)

    def _made_from(self) -> str:
        """Which configured credential a token descends from, as a short hash; empty where none is configured.

        A person who gives the integration another client or refresh token thereby ends what came of the old one.
        """
        names = [self.spec.client_id, self.spec.client_secret or ""]
        if self.spec.kind == "oauth2_refresh":
            names = [self.spec.refresh_token]
        try:
            return "-".join([fingerprint(self._secrets(name)) for name in names if name])
        except AuthError:
            return ""

    def _ours(self, stored: StoredCredential) -> bool:
        """Does it descend from the credential now configured? A client's token that does not say was put by hand."""
        made_from = stored.value.get("made_from", "")
        return made_from == self._made_from() or (not made_from and self.spec.kind == "oauth2_client")

    async def _save(self, granted: Granted, made_from: StoredCredential | None) -> StoredCredential:
        """Commit. A granted token is kept until it is: a rotated refresh token that got lost would lock us out."""
        self._unsaved = granted, made_from
        value = granted.value(made_from.value if made_from is not None else {}, self._made_from())
        for attempt in range(_SAVE_TRIES):
            if attempt:
                await self._clock.sleep(0.5 * 2**attempt)
            try:
                saved = await self._keeper.put(
                    self._integration,
                    self.spec.kind,
                    value,
                    expires_at=granted.expires_at,
                    replaces=made_from.version if made_from is not None else None,
                )
                self._unsaved = None
                return saved
            except OwnershipError:
                self._unsaved = None  # somebody stored a newer one meanwhile: theirs counts
                break
            except StoreError:
                if attempt + 1 == _SAVE_TRIES:
                    raise
        theirs = await self._keeper.get(self._integration, self.spec.kind)
        if theirs is None:
            raise TransientError("the stored token vanished while a new one was being stored", breaks=False)
        return theirs

    # -- after it

    def _succeeded(self) -> None:
        self._failure, self._failures = None, 0
        self._not_before = float("-inf")

    def _failed(self, failure: SyncdError) -> None:
        self._failure = failure
        self._failures += 1
        self._failed_with = self._configured()
        span = min(_FIRST_BACKOFF_SECONDS * 2.0 ** min(self._failures - 1, 20), _LONGEST_BACKOFF_SECONDS)
        wait = span * (0.5 + self._clock.random() / 2)
        told = getattr(failure, "retry_at", None)
        if told is not None:
            wait = max(wait, (told - self._clock.now()).total_seconds())
        if isinstance(failure, AuthError) and failure.permanent:
            wait = _HOLD_REFUSED_SECONDS
        if isinstance(failure, StoreError):
            wait = 0.0  # the partner was not asked in vain; the store says when it is back
        now = self._clock.monotonic()
        self._not_before = now + wait
        self._look_after = now + _LOOK_SECONDS

    def _raise_if_held_back(self) -> None:
        """Fail at once with the last failure while it is too soon; look into the store now and then all the same."""
        now = self._clock.monotonic()
        if self._failure is None or now >= self._not_before:
            return
        if self._configured() != self._failed_with:
            self._succeeded()
            return
        if now >= self._look_after:
            self._look_after = now + _LOOK_SECONDS
            return
        failure = _again(self._failure)
        if isinstance(failure, RateLimitError | TransientError):
            failure.retry_at = self._clock.now() + timedelta(seconds=self._not_before - now)
        raise failure

    def _configured(self) -> tuple[Secret, ...]:
        names = [self.spec.client_id, self.spec.client_secret]
        if self.spec.kind == "oauth2_refresh":
            names.append(self.spec.refresh_token)
        found = []
        for name in names:
            if name is None:
                continue
            try:
                found.append(self._secrets(name))
            except AuthError:
                continue
        return tuple(found)


def _again(error: SyncdError) -> SyncdError:
    """A fresh copy without traceback: one exception object must not be raised in two tasks."""
    twin = type(error).__new__(type(error), *error.args)
    twin.__dict__.update(error.__dict__)
    return twin
