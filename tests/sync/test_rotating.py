"""Rotation by webhook, step by step: who is believed, which word counts, and what deaths and outages change."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs

from syncd.errors import AuthError, RejectedError, StoreError, TransientError
from syncd.explain import Explanation
from syncd.kit import Event
from syncd.secrets import Secret
from syncd.store import KeyRing, SealError, Store
from syncd.store.inbox import Taken
from syncd.sync import rotation_steps
from syncd.sync.health import Health
from syncd.sync.keys import ROTATED, Keys
from syncd.sync.rotating import Rotation, refusal_over
from syncd.sync.rotation_steps import PENDING
from syncd.testing.clock import FakeClock

OLD, NEW, NEWER = "old-secret-0000", "new-secret-1111", "newer-secret-2222"


class Partner:
    """Takes the keys it is told to; `down` raises instead."""

    def __init__(self) -> None:
        self.takes = {OLD: True}
        self.down: Exception | None = None
        self.asked: list[str] = []

    def call(self, key: str) -> None:
        if self.down is not None:
            raise self.down
        self.asked.append(key)
        if not self.takes.get(key):
            raise AuthError("401: bad key", permanent=True)


class Session:
    def __init__(self, partner: Partner, read: Any) -> None:
        self._partner, self._read = partner, read
        self.auth = SimpleNamespace(forget=lambda: None)

    async def call(self, request: Any, **_: Any) -> Any:
        self._partner.call(self._read("api_key").reveal())
        return SimpleNamespace(status_code=200, elapsed_seconds=0.1)

    async def aclose(self) -> None: ...


class Stage:
    def __init__(self, store: Store, clock: FakeClock) -> None:
        self.store, self.clock, self.partner = store, clock, Partner()
        self.number = 0
        self.begin()

    def begin(self, file: str = OLD) -> None:
        """A process that has just started; `file` stands in the integration's file."""
        ownership: Any = SimpleNamespace(held=True, fence=self.number + 1)
        self.keys = Keys("acme", {"api_key": Secret(file)}, ownership, self.store, self.clock)
        account: Any = SimpleNamespace(
            name="acme", partner="plain", keys=self.keys, ownership=ownership, health=Health("acme"), options={},
            tasks_added=lambda: None,
            driver=SimpleNamespace(test=lambda options: None, auth=lambda options: SimpleNamespace(kind="api_key")),
            session=Session(self.partner, self.keys), attempt=lambda read, keeper: Session(self.partner, read),
        )  # fmt: skip
        self.account = account
        self.rotation = Rotation("plain", {"acme": account}, self.store, self.clock)

    async def told(self, secret: str, *, at: datetime | None = None, **more: Any) -> None:
        """A delivery says so, and is done."""
        self.number += 1
        number = await self.store._database.fetchval(
            "INSERT INTO syncd.inbox (integration, event_id, body, state, received_at, finished_at) "
            "VALUES ('acme', $1, $2, 'done', $3, $3) RETURNING id",
            str(self.number),
            secret.encode(),
            self.clock.now(),
        )
        headers: Mapping[str, str] = more.pop("headers", {})
        one = Taken(number, str(self.number), "", "rotated", dict(headers), b"", self.clock.now(), 0, 0)
        named = more.pop("named", {"api_key": Secret(secret)})
        await self.rotation.take(more.pop("to", self.account), Event("", "", "rotated", at, credentials=named), one)

    async def look(self) -> float:
        return await self.rotation._look()

    async def in_force(self) -> str:
        await self.keys.look()
        return self.keys("api_key").reveal()

    async def kinds(self) -> set[str]:
        return {note.kind for note in await self.store.credentials.list("acme")}

    async def audited(self) -> list[str]:
        return [entry.action for entry in reversed(await self.store.audit.list("acme"))]


@pytest.fixture
async def stage(database: str, key_ring: KeyRing) -> AsyncIterator[Stage]:
    clock = FakeClock()
    async with await Store.open(database, clock=clock, key_ring=key_ring, migrate=False) as store:
        yield Stage(store, clock)


async def test_new_credentials_are_tried_put_in_force_verified_and_forgotten_by_the_inbox(stage: Stage):
    stage.partner.takes[NEW] = True
    await stage.told(NEW)
    assert await stage.in_force() == OLD, "nothing is called while deliveries are worked on"
    await stage.look()
    assert stage.partner.asked == [NEW, NEW], "tried, then verified by the session everybody uses"
    assert await stage.in_force() == NEW
    assert await stage.kinds() == {ROTATED}
    [entry] = await stage.store.audit.list("acme")
    assert (entry.action, set(entry.after)) == ("credential_rotated", {"api_key"})
    assert NEW not in str(entry)
    assert await stage.store._database.fetchval("SELECT count(*) FROM syncd.inbox WHERE body IS NOT NULL") == 0


async def test_who_has_the_same_credential_in_its_file_is_told_of_the_new_one_too(stage: Stage):
    """As the hosts of one application have its secret, whose address is one integration's."""
    others = {}
    for name, file in (("second", OLD), ("third", "its-own-secret-9999")):
        keys = Keys(name, {"api_key": Secret(file)}, stage.account.ownership, stage.store, stage.clock)
        session = Session(stage.partner, keys)
        others[name] = SimpleNamespace(**{**vars(stage.account), "name": name, "keys": keys, "health": Health(name),
                                          "session": session})  # fmt: skip
    stage.rotation = Rotation("plain", {"acme": stage.account, **others}, stage.store, stage.clock)
    stage.partner.takes[NEW] = True
    await stage.told(NEW)
    await stage.look()
    assert await stage.in_force() == NEW
    for other in others.values():
        await other.keys.look()
    assert [other.keys("api_key").reveal() for other in others.values()] == [NEW, "its-own-secret-9999"]
    assert await stage.store._database.fetchval("SELECT count(*) FROM syncd.inbox WHERE body IS NOT NULL") == 0


async def test_who_was_added_with_what_is_in_force_is_told_of_the_next_one_too(stage: Stage):
    """The first secret is dead by then: the file of a host that comes later can only name the second."""
    stage.partner.takes = {NEW: True}
    await stage.told(NEW)
    await stage.look()
    stage.begin()
    keys = Keys("second", {"api_key": Secret(NEW)}, stage.account.ownership, stage.store, stage.clock)
    session = Session(stage.partner, keys)
    second: Any = SimpleNamespace(**{**vars(stage.account), "name": "second", "keys": keys, "health": Health("second"),
                                     "session": session})  # fmt: skip
    await stage.clock.advance(60)
    for told, teller in ((NEWER, stage.account), ("newest-secret-3333", second)):
        # A process that has just started: nobody has read yet what is in force.
        stage.rotation = Rotation("plain", {"acme": stage.account, "second": second}, stage.store, stage.clock)
        stage.partner.takes = {told: True}
        await stage.clock.advance(60)
        await stage.told(told, to=teller)
        await stage.look()
        await keys.look()
        assert (await stage.in_force(), keys("api_key").reveal()) == (told, told)


async def test_one_whose_stored_credentials_do_not_open_keeps_nobody_else_from_being_told(stage: Stage):
    accounts = {"acme": stage.account}
    for name in ("broken", "sound"):
        keys = Keys(name, {"api_key": Secret(OLD)}, stage.account.ownership, stage.store, stage.clock)
        known: Any = SimpleNamespace(**{**vars(stage.account), "name": name, "keys": keys, "health": Health(name)})
        accounts[name] = known
    stage.rotation = Rotation("plain", accounts, stage.store, stage.clock)
    await stage.store.credentials.put("broken", PENDING, {"x": "y"}, expires_at=None, replaces=None)
    await stage.store._database.execute("UPDATE syncd.credentials SET ciphertext = 'damaged'")
    with capture_logs() as logs:
        await stage.told(NEW)
    assert PENDING in {note.kind for note in await stage.store.credentials.list("sound")}
    [said] = [one for one in logs if one["log_level"] == "warning"]
    assert (said["event"], said["integration"]) == ("rotation_not_told", "broken")
    assert NEW not in str(said)
    await stage.store._database.execute(
        "UPDATE syncd.credentials SET ciphertext = 'damaged' WHERE integration = 'acme'"
    )
    with pytest.raises(SealError):
        await stage.told(NEWER)


async def test_a_refused_rotation_is_over_once_a_person_has_seen_that_what_is_in_force_works(stage: Stage):
    await stage.told(NEW)
    await stage.look()
    stage.account.store = stage.store
    assert stage.account.health.rotation is not None
    await refusal_over(stage.account)
    assert (stage.account.health.rotation, await stage.kinds()) == (None, set())
    stage.begin()
    await stage.look()
    assert stage.account.health.rotation is None, "after a restart too"


async def test_a_test_ends_no_rotation_that_is_still_being_tried(stage: Stage):
    stage.partner.takes[NEW] = True
    await stage.told(NEW)
    stage.account.store = stage.store
    stage.account.health.rotation = Explanation("rotation-refused", "an older one")
    await refusal_over(stage.account)
    assert await stage.kinds() == {PENDING}
    await stage.look()
    assert await stage.in_force() == NEW


async def test_who_is_not_believed(stage: Stage):
    stage.partner.takes[NEW] = True
    with pytest.raises(RejectedError, match="nobody signed"):
        await stage.told(NEW, headers={"syncd-known-by": "url"})
    with pytest.raises(RejectedError, match="does not have"):
        await stage.told(NEW, named={"api_key": Secret(NEW), "root_password": Secret("x")})
    for nothing in ({}, {"api_key": Secret("  ")}):
        with pytest.raises(RejectedError, match="holds none"):
            await stage.told(NEW, named=nothing)
    await stage.look()
    assert (await stage.kinds(), stage.partner.asked) == (set(), [])


async def test_without_a_key_to_seal_with_nothing_is_lost_in_silence(stage: Stage):
    stage.store.credentials._ring = None
    with pytest.raises(StoreError, match="no key to seal"):
        await stage.told(NEW)


async def test_what_the_partner_refuses_changes_nothing_and_is_said_until_something_mends_it(stage: Stage):
    await stage.told(NEW)
    await stage.look()
    assert await stage.in_force() == OLD
    assert stage.account.health.rotation.code == "rotation-refused"
    assert await stage.audited() == ["credential_rotation_refused"]
    stage.begin()
    await stage.look()
    assert stage.account.health.rotation is not None, "also after a restart"
    assert stage.partner.asked == [NEW], "and it is not tried again"
    stage.partner.takes[NEWER] = True
    await stage.clock.advance(1)
    await stage.told(NEWER)
    await stage.look()
    assert (await stage.in_force(), stage.account.health.rotation) == (NEWER, None)


async def test_a_person_who_puts_another_secret_into_the_file_ends_the_complaint_and_has_the_last_word(stage: Stage):
    stage.partner.takes[NEW] = True
    await stage.told(NEW)
    await stage.look()
    stage.begin()
    assert await stage.in_force() == NEW, "the file still names the secret it replaced"
    stage.begin(file="by hand")
    assert await stage.in_force() == "by hand"
    stage.begin()
    assert await stage.in_force() == NEW
    await stage.clock.advance(1)
    await stage.told(NEWER)
    await stage.look()
    stage.begin(file="by hand")
    await stage.look()
    assert stage.account.health.rotation is None
    assert PENDING not in await stage.kinds()


async def test_verification_that_fails_rolls_back_to_what_was_in_force_before(stage: Stage):
    stage.partner.takes[NEW] = True
    await stage.told(NEW)
    await stage.look()
    await stage.clock.advance(1)
    await stage.told(NEWER)
    stage.partner.takes[NEWER] = True
    verified = stage.rotation._steps._verified

    async def refused(account: Any) -> str:
        assert await stage.in_force() == NEWER
        del stage.partner.takes[NEWER]
        return await verified(account)

    stage.rotation._steps._verified = refused  # type: ignore[method-assign]
    await stage.look()
    assert await stage.in_force() == NEW, "not the file's: what the partner had handed us before"
    assert await stage.audited() == ["credential_rotated", "credential_rotation_rolled_back"]


@pytest.mark.parametrize("dies_before", ["_tried", "_put_in_force", "_verified", "_accept", "_note"])
async def test_a_death_between_two_steps_goes_on_where_it_was(stage: Stage, dies_before: str):
    stage.partner.takes[NEW] = True
    await stage.told(NEW)

    async def dies(*_: Any) -> Any:
        raise KeyboardInterrupt

    setattr(stage.rotation._steps, dies_before, dies)
    with pytest.raises(KeyboardInterrupt):
        await stage.look()
    stage.begin()
    assert await stage.in_force() in (OLD, NEW)
    await stage.look()
    assert await stage.in_force() == NEW
    assert await stage.kinds() == {ROTATED}
    assert (await stage.audited())[-1] == "credential_rotated"


@pytest.mark.parametrize(("state", "kept"), [("done", False), ("buried", False), ("taken", True)])
async def test_a_delivery_forgets_the_secret_it_brought_or_it_is_said(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, state: str, kept: bool
):
    monkeypatch.setattr(rotation_steps, "FORGET_SECONDS", 0.0)
    stage.partner.takes[NEW] = True
    await stage.told(NEW)
    await stage.store._database.execute("UPDATE syncd.inbox SET state = $1", state)
    with capture_logs() as log:
        await stage.look()
    assert await stage.in_force() == NEW
    assert await stage.store._database.fetchval("SELECT count(*) FROM syncd.inbox WHERE body IS NOT NULL") == kept
    assert ("announced_secret_not_forgotten" in [entry["event"] for entry in log]) == kept


async def test_a_partner_that_is_down_is_no_answer_and_is_asked_again_later(stage: Stage):
    stage.partner.takes[NEW] = True
    stage.partner.down = TransientError("503")
    await stage.told(NEW)
    waits = [await stage.look()]
    for _ in range(9):
        await stage.clock.advance(waits[-1] + 0.01)
        waits.append(await stage.look())
    assert waits[0] == 5.0
    assert max(waits) == 15.0, "it looks that often"
    assert stage.rotation._again_at["acme"][1] > 60.0, "and asks ever less often"
    assert await stage.in_force() == OLD
    stage.partner.down = None
    stage.begin()
    await stage.look()
    assert await stage.in_force() == NEW


@pytest.mark.parametrize("trouble", [RejectedError("400"), RuntimeError("a defect")])
async def test_a_verification_that_is_no_answer_about_the_credential_bars_no_other_integration(
    stage: Stage, trouble: Exception, monkeypatch: pytest.MonkeyPatch
):
    await stage.told(NEW)
    asked = []

    async def goes_on(account: Any) -> None:
        asked.append(account.name)
        if account.name == "acme":
            raise trouble

    monkeypatch.setattr(stage.rotation._steps, "go_on", goes_on)
    notes = [SimpleNamespace(integration=name, kind=PENDING) for name in ("acme", "other")]

    async def listed() -> list[Any]:
        return notes

    monkeypatch.setattr(stage.store.credentials, "list", listed)
    stage.rotation._accounts = {
        name: SimpleNamespace(name=name, ownership=stage.account.ownership, health=Health(name))  # type: ignore[misc]
        for name in ("acme", "other")
    }
    assert await stage.look() == 5.0
    await stage.look()
    assert asked == ["acme", "other", "other"], "what failed waits before it is tried again"


async def test_only_the_newest_word_counts(stage: Stage):
    stage.partner.takes |= {NEW: True, NEWER: True}
    now = stage.clock.now()
    await stage.told(NEWER, at=now)
    await stage.told(NEW, at=now - timedelta(seconds=1))
    await stage.look()
    assert await stage.in_force() == NEWER
    await stage.told(NEW, at=now)
    await stage.told(NEW, at=now - timedelta(days=1))
    await stage.look()
    assert (await stage.in_force(), await stage.kinds()) == (NEWER, {ROTATED})


async def test_a_clock_that_was_ahead_bars_no_later_word(stage: Stage):
    stage.partner.takes |= {NEW: True, NEWER: True}
    await stage.told(NEW)
    await stage.look()
    stage.clock.set_now(stage.clock.now() - timedelta(days=1))
    await stage.told(NEWER)
    await stage.look()
    assert await stage.in_force() == NEWER


async def test_one_that_comes_while_another_waits_takes_its_place(stage: Stage):
    stage.partner.takes |= {NEW: True, NEWER: True}
    stage.partner.down = TransientError("503")
    await stage.told(NEW)
    await stage.look()
    await stage.clock.advance(1)
    await stage.told(NEWER)
    stage.partner.down = None
    await stage.look()
    assert await stage.in_force() == NEWER
    assert stage.partner.asked == [NEWER, NEWER]
    assert await stage.store._database.fetchval("SELECT count(*) FROM syncd.inbox WHERE body IS NOT NULL") == 0


async def test_a_paused_integration_and_one_of_another_instance_are_left_alone(stage: Stage):
    stage.partner.takes[NEW] = True
    await stage.told(NEW)
    stage.account.ownership.held = False
    await stage.look()
    stage.account.ownership.held = True
    stage.account.health.paused = object()
    await stage.look()
    assert stage.partner.asked == []
    stage.account.health.paused = None
    await stage.look()
    assert await stage.in_force() == NEW


async def test_keys_are_read_anew_with_each_fence_and_otherwise_cost_nothing(stage: Stage):
    stage.partner.takes[NEW] = True
    other = Keys("acme", {"api_key": Secret(OLD)}, stage.account.ownership, stage.store, stage.clock)
    await other.ensure()
    await stage.told(NEW)
    await stage.look()
    await other.ensure()
    assert other("api_key") == Secret(OLD), "the same fence: nobody else can have been handed any"
    stage.account.ownership.fence += 1
    await other.ensure()
    assert other("api_key") == Secret(NEW)
    with pytest.raises(KeyError):
        other("nothing")
