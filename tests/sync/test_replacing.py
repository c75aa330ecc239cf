"""A person's rotation, its calls and sealed rows: no secret passes untried, and no chain of refresh tokens is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from syncd.client.tokens import turn_of
from syncd.errors import AuthError
from syncd.secrets import Secret
from syncd.store import KeyRing, Store
from syncd.store.credentials import Put
from syncd.sync import replacing
from syncd.sync.pending import TRIAL, TrialKeeper
from syncd.sync.replacing import FORMER
from syncd.testing.clock import FakeClock
from tests.sync.test_rotating_oauth import Stage

KINDS = ["oauth2_client", "oauth2_refresh"]
RIGHT, WRONG = Secret("client-secret-1111"), Secret("a-wrong-secret-2222")


@pytest.fixture
async def stores(database: str, key_ring: KeyRing) -> AsyncIterator[Store]:
    async with await Store.open(database, clock=FakeClock(), key_ring=key_ring, migrate=False) as store:
        yield store


async def begun(store: Store, kind: str) -> Stage:
    clock = store.credentials._database.clock
    assert isinstance(clock, FakeClock)
    stage = Stage(store, clock, kind)
    assert await stage.call() == 200
    return stage


async def later(stage: Stage) -> int:
    """A call when the token in force has ended: it is renewed."""
    await stage.clock.advance(timedelta(hours=2).total_seconds())
    return await stage.call()


@pytest.mark.parametrize("kind", KINDS)
async def test_a_secret_is_tried_also_where_the_trial_of_another_was_given_a_token(stores: Store, kind: str) -> None:
    """The command was killed after it, or the scopes did not do: that token must not pass for the next."""
    stage = await begun(stores, kind)
    stage.issuer.secret = RIGHT.reveal()
    await replacing.tried(stage.account, "client_secret", RIGHT)
    with pytest.raises(AuthError):
        await replacing.tried(stage.account, "client_secret", WRONG)
    assert await stage.kinds() == {kind}


async def test_a_trial_that_nobody_went_on_with_leaves_a_chain_that_lives(stores: Store) -> None:
    stage = await begun(stores, "oauth2_refresh")
    await replacing.tried(stage.account, "client_secret", Secret(stage.issuer.secret))
    assert await later(stage) == 200, "its refresh token was spent by the trial, and the next one is in force"
    await replacing.adopt(stage.account)
    stage.account.session.auth.rest(0)
    assert await later(stage) == 200, "and is not put back by whoever goes on with it after all"
    await replacing.tried(stage.account, "client_secret", Secret(stage.issuer.secret))
    assert await later(stage) == 200
    await replacing.undo(stage.account)
    assert await later(stage) == 200


async def test_a_trial_spends_no_refresh_token_that_is_being_spent(stores: Store) -> None:
    own = turn_of(TrialKeeper(stores), "acme", "oauth2_refresh")
    assert own is turn_of(stores.credentials, "acme", "oauth2_refresh")
    assert own is not turn_of(stores.credentials, "other", "oauth2_refresh")


async def test_a_new_refresh_token_that_was_spent_on_a_trial_cut_short_is_tried_again(stores: Store) -> None:
    stage = await begun(stores, "oauth2_refresh")
    stage.issuer.refresh = "refresh-by-hand-1"
    stage.issuer.silent = True
    trial = asyncio.create_task(replacing.tried(stage.account, "refresh_token", Secret("refresh-by-hand-1")))
    while stage.issuer.issued < 2 or not any(kind.endswith(TRIAL) for kind in await stage.kinds()):
        await asyncio.sleep(0.01)
    trial.cancel()
    await asyncio.wait((trial,))
    stage.issuer.silent = False
    await replacing.tried(stage.account, "refresh_token", Secret("refresh-by-hand-1"))
    assert stage.issuer.issued == 2, "the first one's token serves"


async def test_what_an_earlier_rotation_left_behind_is_not_what_another_goes_back_to(stores: Store) -> None:
    """Its end could not be written down: the database was away at that moment."""
    stage = await begun(stores, "oauth2_refresh")
    ancient = {"access_token": "ancient-token", "refresh_token": "ancient-refresh", "made_from": "ancient"}
    await stores.credentials.put_all("acme", [Put("oauth2_refresh" + FORMER, ancient, None, None)])
    before = await stores.credentials.get("acme", "oauth2_refresh")
    stage.issuer.refresh = "refresh-by-hand-1"
    await replacing.tried(stage.account, "refresh_token", Secret("refresh-by-hand-1"))
    await replacing.adopt(stage.account)
    await replacing.undo(stage.account)
    after = await stores.credentials.get("acme", "oauth2_refresh")
    assert before is not None
    assert after is not None
    assert after.value == before.value
    assert await stage.kinds() == {"oauth2_refresh"}
