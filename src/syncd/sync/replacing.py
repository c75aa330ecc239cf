"""A person replaces a credential in its file: tried before, and its tokens put in force, put back, or let go.

The files are the command's business (`syncd credential rotate`), which may run as another user. Here is what concerns calls
and sealed rows. Each step is one transaction and may be asked again: whoever was killed goes on where it was.
"""

from __future__ import annotations

from syncd.client.tokens import turn_of
from syncd.errors import AuthError, RejectedError
from syncd.model import Lane
from syncd.ports import StoredCredential
from syncd.secrets import Secret
from syncd.store import Store
from syncd.store.credentials import Put
from syncd.sync.account import Account
from syncd.sync.pending import TRIAL, TrialKeeper, forget_chained, same_chain, version_of
from syncd.sync.rights import TOKENS, Rights, rights_of
from syncd.sync.rotation_steps import PENDING

FORMER = " before"
"""What is added to the kind of the tokens that were in force before a rotation, until it is over."""
REST_SECONDS = 60.0
"""So long the old credential asks for no new token while the new one is put in force: it would take its place."""


async def tried(account: Account, name: str, secret: Secret) -> tuple[float, int, Rights]:
    """One cheap call with this in place of the credential of that name: milliseconds, status, what it may do.

    In a session of its own, through the account's gate. Its tokens are kept aside. Raises what a call may raise.
    """
    assert account.keys is not None
    assert account.attempt is not None
    keys = account.keys
    if name not in keys.configured:
        raise RejectedError(f"{account.name} has no credential {name!r}")
    await keys.ensure()

    def read(wanted: str) -> Secret:
        return secret if wanted == name else keys(wanted)

    async with turn_of(account.store, account.name, PENDING):
        await _cleared(account.store, account.name)
        session = account.attempt(read, TrialKeeper(account.store))
        session.shut = None  # a person asks, who may have to replace it now: in a maintenance window too
        try:
            answer = await session.call(account.driver.test(account.options), lane=Lane.HIGH)
            rights = await rights_of(account, session, token_suffix=TRIAL)
        except (AuthError, RejectedError):
            await _forget(account.store, account.name, TRIAL)
            raise
        finally:
            await session.aclose()
            account.session.auth.forget()  # the next of its chain is in force, where the trial was given one
    return answer.elapsed_seconds * 1000, answer.status_code, rights


async def adopt(account: Account) -> None:
    """The tokens that the trial was given are in force; what they replace is kept until `done` or `undo`. Raises StoreError.

    The session in use asks for none meanwhile: it still has the credential that is being replaced.
    """
    credentials, name = account.store.credentials, account.name
    account.session.auth.rest(REST_SECONDS)
    kind = account.driver.auth(account.options).kind
    async with turn_of(credentials, name, kind):
        held = await _held(account.store, name)
        trial, now, former = held.get(kind + TRIAL), held.get(kind), held.get(kind + FORMER)
        if trial is None:
            return
        puts = [Put(kind + TRIAL, None, None, trial.version)]
        if now is None or not same_chain(trial.value, now.value):  # else the chain's newest is in force already
            puts.append(Put(kind, trial.value, trial.expires_at, version_of(now)))
            if now is not None and former is None:
                puts.append(Put(kind + FORMER, now.value, now.expires_at, None))
        await credentials.put_all(name, puts)


async def undo(account: Account) -> None:
    """The tokens of before are in force again, unless the newer ones descend from them. Raises StoreError."""
    await undone(account.store, account.name)
    account.session.auth.rest(0.0)
    account.session.auth.forget()


async def undone(store: Store, name: str) -> None:
    """The same in the rows alone."""
    for kind in TOKENS:
        async with turn_of(store.credentials, name, kind):
            held = await _held(store, name)
            now, former, trial = held.get(kind), held.get(kind + FORMER), held.get(kind + TRIAL)
            puts = [Put(one + suffix, None, None, each.version)
                    for one, suffix, each in ((kind, FORMER, former), (kind, TRIAL, trial)) if each is not None]  # fmt: skip
            if former is not None and not (now is not None and same_chain(now.value, former.value)):
                puts.append(Put(kind, former.value, former.expires_at, version_of(now)))
            if puts:
                await store.credentials.put_all(name, puts)


async def done(store: Store, name: str) -> None:
    """What was in force before is let go of. Raises StoreError."""
    await _forget(store, name, FORMER)
    await _forget(store, name, TRIAL)


async def _cleared(store: Store, name: str) -> None:
    """What an earlier rotation could not clear away, whose end could not be written down or which was killed. What another
    secret was given on trial stays: it may be all that lives of a refresh token that was spent, and serves that one alone."""
    await _forget(store, name, FORMER)
    await forget_chained(store, name, TOKENS)


async def _forget(store: Store, name: str, suffix: str) -> None:
    for kind in TOKENS:
        await store.credentials.remove(name, kind + suffix)


async def _held(store: Store, name: str) -> dict[str, StoredCredential]:
    kinds = {kind + suffix for kind in TOKENS for suffix in ("", TRIAL, FORMER)}
    found = {}
    for note in await store.credentials.list(name):
        stored = await store.credentials.get(name, note.kind) if note.kind in kinds else None
        if stored is not None:
            found[note.kind] = stored
    return found
