"""A dry run shows what a pull would do and does none of it; what it saves plays at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from syncd.dryrun import DryRuns
from syncd.errors import AskedWrongError, GoneError, RejectedError, TransientError
from syncd.explain import Explanation
from syncd.model import Lane
from syncd.store import Store
from syncd.testing.sample_plays import plays_pages, plays_record
from syncd.testing.samples import sample_of
from tests.sync.ranged import Desk, rest

KEPT_BY_CALLS = {"leases", "limit_state", "credentials"}
"""What any call writes: who owns the scope, what its limits remember, tokens."""


async def everything(store: Store) -> dict[str, list[Any]]:
    """Every row of every table of ours, but what any call writes."""
    async with store._database.connection() as connection:
        names = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'syncd' ORDER BY 1")
        return {
            name: sorted(str(dict(row)) for row in await connection.fetch(f"SELECT * FROM syncd.{name}"))
            for (name,) in names
            if name not in KEPT_BY_CALLS
        }


def dry_runs(desk: Desk) -> DryRuns:
    return DryRuns(accounts=lambda: [desk.account], clock=desk.clock, names=lambda: {"acme": list(desk.plans)})


async def opened(store: Store, described: dict[str, Any] | None = None, *, records: int = 12) -> Desk:
    desk = await Desk.open(store, described)
    for number in range(records):
        desk.partner.put(number)
    return desk


def played(desk: Desk, samples: dict[str, Any], **shared: Any) -> None:
    for name, content in samples.items():
        sample = sample_of("plain", name, json.loads(json.dumps(content)), shared)
        (plays_pages if sample.kind == "pages" else plays_record)(desk.driver, sample)


async def test_each_record_is_judged_field_by_field_and_the_whole_database_stays_as_it_was(store: Store):
    desk = await opened(store)
    await desk.pull()
    await desk.forget(0)
    await desk.change_here(1)
    desk.partner.truth["t0002"]["name"] = "renamed"
    desk.partner.truth["t0002"]["at"] = "2026-03-01T00:00:00.000000000Z"
    desk.partner.truth["t0003"] = {"name": "without an id"}
    desk.partner.truth["t0004"]["at"] = "2020-01-01T00:00:00.000000000Z"
    desk.partner.listed = lambda found: [desk.partner.truth[one] for one in sorted(desk.partner.truth)]
    desk.partner._answer = lambda request: {  # type: ignore[method-assign]
        "items": list(desk.partner.truth.values())[int(dict(request.params).get("offset", 0)) :][:10], "total": 12
    }  # fmt: skip
    before = await everything(store)
    found = await dry_runs(desk).dry_run("acme", "things", 100, values=True)
    assert await everything(store) == before
    assert found["counts"] == {"added": 1, "changed": 2, "rejected": 1, "stale": 1, "unchanged": 7}
    by_id = {one["id"]: one for one in found["records"]}
    assert by_id["t0000"]["outcome"] == "added"
    assert by_id["t0001"]["fields"] == [{"field": "name", "here": "wrong", "there": "n"}]
    assert by_id["t0002"]["fields"] == [{"field": "name", "here": "n", "there": "renamed"}]
    assert by_id["t0004"]["reason"] == "what is stored is newer"
    assert by_id["t0005"]["outcome"] == "unchanged"
    assert {"field": "name", "here": "n", "there": "n"} in by_id["t0005"]["fields"]
    assert all(each["here"] == each["there"] for each in by_id["t0005"]["fields"])
    assert "id" in by_id[""]["reason"]
    assert found["ended"]
    assert desk.partner.lanes >= {Lane.LOW}


async def test_a_record_is_compared_in_the_words_of_the_adapter_that_a_pull_reads_it_by(store: Store):
    desk = await opened(store, rest(adapters={"v2": {"fields": {"name": "name", "big": "size"}}}), records=1)
    await desk.pull()
    assert (await dry_runs(desk).dry_run("acme", "things", 9))["counts"] == {"unchanged": 1}
    desk.plans["things"] = replace(desk.plans["things"], adapter="v2")
    found = await dry_runs(desk).dry_run("acme", "things", 9, values=True)
    assert found["counts"] == {"changed": 1}
    told = {one["field"]: (one["here"], one["there"]) for one in found["records"][0]["fields"]}
    assert told == {"size": ("0", "null"), "big": ("null", "0")}


async def test_no_more_is_asked_for_than_is_wanted_and_values_are_not_shown_unless_they_are(store: Store):
    desk = await opened(store, records=40)
    found = await dry_runs(desk).dry_run("acme", "things", 3)
    assert (found["calls"], len(found["records"]), found["ended"]) == (1, 3, False)
    assert found["records"][0]["fields"][0] == {"field": "name", "here": "nothing", "there": "text, 1 long"}
    found = await dry_runs(desk).dry_run("acme", "things", 25)
    assert (found["calls"], len(found["records"])) == (3, 25)


async def test_what_changed_since_a_moment_is_asked_for_as_an_incremental_run_asks(store: Store):
    from datetime import UTC, datetime

    desk = await opened(store)
    found = await dry_runs(desk).dry_run(
        "acme", "things", 100, since=datetime(2026, 1, 1, 0, 10, tzinfo=UTC), save=True
    )
    assert [one["id"] for one in found["records"]] == ["t0010", "t0011"]
    played(desk, found["samples"])
    assert found["samples"]["things.live.pages.json"]["since"] == "2026-01-01T00:10:00Z"


async def test_a_child_is_listed_below_stored_parents_else_below_those_the_partner_shows(store: Store):
    desk = await opened(store, records=3)
    desk.partner.notes = {"t0001": [{"id": "n1", "text": "call Ada at ada@lovelace.org"}, {"id": "n2", "text": "b"}]}
    found = await dry_runs(desk).dry_run("acme", "notes", 5, save=True)
    assert [one["id"] for one in found["records"]] == ["n1", "n2"]
    assert "listed below the first 3 of them" in found["notes"][0]
    played(desk, found["samples"])
    assert "ada" not in json.dumps(found["samples"]).lower()
    await desk.pull()
    found = await dry_runs(desk).dry_run("acme", "notes", 5)
    assert (found["notes"], len(found["records"])) == ([], 2)
    desk.partner.truth.clear()
    await desk.forget(0, 1, 2)
    assert "neither stored nor at the partner" in (await dry_runs(desk).dry_run("acme", "notes", 5))["notes"][-1]


async def test_a_parent_that_is_gone_is_passed_over(store: Store):
    desk = await opened(store, records=2)
    await desk.pull()

    async def gone(request: Any) -> None:
        if "t0000" in request.path:
            raise GoneError("no such thing", status=404)

    desk.partner.before = gone
    desk.partner.notes = {"t0001": [{"id": "n1", "text": "a"}]}
    assert [one["id"] for one in (await dry_runs(desk).dry_run("acme", "notes", 5))["records"]] == ["n1"]


async def test_what_is_saved_plays_at_once_and_holds_nobodys_name(store: Store):
    fields = {"name": "name", "mail": "owner.email", "size": "size"}
    desk = await opened(store, rest(fields=fields), records=25)
    for number, raw in enumerate(desk.partner.truth.values()):
        raw |= {
            "name": f"Nora Lind {number}",
            "owner": {"id": "usr_8Kd02mZq1", "email": "nora.lind@fjord.no", "phone": "+47 912 34 567"},
            "status": "confirmed",
            "token": "tok_live_a8f3b2c19d",
        }
    found = await dry_runs(desk).dry_run("acme", "things", 12, save=True)
    samples = found["samples"]
    played(desk, samples)
    text = json.dumps(samples)
    for told in ("Nora", "Lind", "nora", "fjord", "8Kd02mZq1", "912 34 567", "a8f3b2c19d"):
        assert told not in text
    pages = samples["things.live.pages.json"]
    assert (len(pages["pages"]), len(pages["ids"]), pages["goes_on"]) == (2, 12, True)
    assert samples["things.live.json"]["data"]["mail"].endswith(".example")
    assert samples["things.live.json"]["raw"]["status"] == "confirmed"
    assert samples == (await dry_runs(desk).dry_run("acme", "things", 12, save=True))["samples"]


async def test_a_queue_that_forgets_what_it_has_shown_is_not_read(store: Store):
    described = rest(since=None)
    things = described["resources"]["things"]
    things |= {"strategy": "queue", "queue": {"within": "20m"}}
    del things["since"]
    desk = await opened(store, described)
    with pytest.raises(AskedWrongError, match="removes what is read"):
        await dry_runs(desk).dry_run("acme", "things", 3)
    assert desk.partner.calls == []


async def test_nothing_is_asked_of_what_is_paused_and_no_third_runs_beside_two(store: Store):
    desk = await opened(store)
    runs = dry_runs(desk)
    runs._running = 2
    with pytest.raises(RejectedError, match="under way already"):
        await runs.dry_run("acme", "things", 1)
    desk.account.health.paused = Explanation("paused", "by ann")
    with pytest.raises(RejectedError, match="is paused"):
        await runs.dry_run("acme", "things", 1)


async def test_a_partner_that_does_not_answer_in_time_is_said_and_what_came_is_shown(store: Store):
    desk = await opened(store, records=40)

    async def hang(request: Any) -> None:
        if len(desk.partner.calls) > stop:
            await desk.clock.sleep(0)
            import asyncio

            await asyncio.Event().wait()

    desk.partner.before = hang
    stop = 0
    with pytest.raises(TransientError, match=r"nothing came within 0\.05 s"):
        await dry_runs(desk).dry_run("acme", "things", 20, seconds=0.05)
    desk.partner.calls.clear()
    stop = 1
    found = await dry_runs(desk).dry_run("acme", "things", 20, seconds=0.1)
    assert (len(found["records"]), found["notes"]) == (10, ["0.1 s were over before the rest came"])


def test_the_samples_folder_of_this_repository_knows_no_live_case() -> None:
    """A saved sample is looked at and named before it is kept."""
    import syncd.drivers

    assert list(Path(syncd.drivers.__file__).parent.glob("*/samples/*.live.*")) == []


async def test_an_option_that_has_to_be_one_of_the_drivers_own_words_stays_and_others_are_scrubbed(store: Store):
    options = {
        "family": {"about": "which", "default": "plain_queue", "choices": ["plain_queue", "other_queue"]},
        "hotel_name": {"about": "whose"},
    }
    desk = await opened(store, {**rest(), "options": options})
    desk.account.options = {"family": "other_queue", "hotel_name": "Sea View"}
    found = await dry_runs(desk).dry_run("acme", "things", 5, save=True)
    assert found["notes"] == []
    saved = found["samples"]
    assert len(saved) == 2
    for content in saved.values():
        assert content["options"]["family"] == "other_queue"
        assert "Sea View" not in json.dumps(content)
    played(desk, saved)


async def test_a_sample_holds_whatever_options_the_others_beside_it_are_played_under(store: Store):
    offered = {
        "about": "how",
        "default": "swept",
        "choices": ["swept", "plain"],
        "when": {"plain": {"things": {"path": "/"}}},
    }
    desk = await opened(store, {**rest(), "options": {"how": offered, "whose": {"about": "whose"}}})
    desk.partner.truth["t0000"]["note"] = "swept"
    saved = (await dry_runs(desk).dry_run("acme", "things", 3, save=True))["samples"]
    assert len(saved) == 2
    assert {str(content["options"]) for content in saved.values()} == {"{'how': 'swept', 'whose': None}"}
    played(desk, saved, how="plain", whose="somebody")


async def test_a_page_without_a_record_is_not_worth_keeping(store: Store):
    desk = await opened(store, records=0)
    found = await dry_runs(desk).dry_run("acme", "things", 3, save=True)
    assert (found["records"], found["samples"]) == ([], {})
