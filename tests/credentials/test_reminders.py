"""What is said of a credential before it is a trouble: tables, no clock."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.credentials.reminders import reminders
from syncd.credentials.rows import RENEWED, Row, sealed
from syncd.explain import Severity, State, severity_of
from syncd.store.credentials import CredentialNote
from syncd.sync.pending import TRIAL
from syncd.sync.replacing import FORMER

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
DAY = 86_400.0


def row(name: str = "token", **more: Any) -> Row:
    days = more.pop("days", None)
    found = {"age_seconds": days * DAY, "set_at": NOW - timedelta(days=days), "age_by": "file time"} if days else {}
    return Row(integration="acme", partner="guesty", name=name, use="credential", source="file", kept="{file: t}",
               **found, **more)  # fmt: skip


def said(*rows: Row, after: float = 90 * DAY) -> list[tuple[str, Severity]]:
    found = reminders(rows, lambda _: after, NOW)
    return [(one.told.code, severity_of(one.told.code, one.state)) for one in found]


@pytest.mark.parametrize(
    ("days", "told"),
    [
        (None, []),
        (89, []),
        (90, [("credential-old", Severity.NOTE)]),
        (119, [("credential-old", Severity.NOTE)]),
        (121, [("credential-old", Severity.TICKET)]),
    ],
)
def test_an_old_credential_is_worth_knowing_and_later_to_be_done(days: int | None, told: list[Any]) -> None:
    assert said(row(days=days)) == told
    assert said(row(days=days), after=math.inf) == []


def test_what_no_person_replaces_is_never_old() -> None:
    sealed = Row(integration="acme", partner="guesty", name="oauth2_refresh", use="token", source="database",
                 kept="database", age_seconds=400 * DAY, renews=True, expires_at=NOW + timedelta(hours=1))  # fmt: skip
    assert said(sealed) == []


def test_the_tokens_of_a_rotation_that_is_not_over_end_without_a_word() -> None:
    """They are an hour's, and nobody has to log in for them."""
    config: Any = SimpleNamespace(integrations={"acme": (SimpleNamespace(name="guesty"), None)})
    notes = [
        CredentialNote("acme", kind + suffix, "k1", 1, NOW + timedelta(hours=1), NOW)
        for kind in RENEWED for suffix in ("", FORMER, TRIAL)
    ]  # fmt: skip
    rows = sealed(config, notes, NOW)
    assert said(*rows) == []
    assert all("not over" in one.state for one in rows if " " in one.name)


@pytest.mark.parametrize(
    ("refreshes", "configured", "renews"),
    [(True, {}, True), (False, {}, False), (False, {"refresh_token": "{file: t}"}, True), (None, {}, True)],
)
def test_a_token_without_a_refresh_token_is_not_renewed(
    refreshes: bool | None, configured: dict[str, str], renews: bool
) -> None:
    settings = SimpleNamespace(credentials=configured)
    config: Any = SimpleNamespace(integrations={"acme": (SimpleNamespace(name="guesty"), settings)})
    note = CredentialNote("acme", "oauth2_refresh", "k1", 1, NOW + timedelta(hours=1), NOW, refreshes)
    [found] = sealed(config, [note], NOW)
    assert (found.renews, "syncd credential login acme" in found.state) == (renews, not renews)
    assert said(found) == ([] if renews else [("credential-expires", Severity.TICKET)])


@pytest.mark.parametrize(
    ("source", "kept", "do"),
    [
        ("file", "{file: t}", "syncd credential rotate acme token < new.txt"),
        ("env", "{env: ACME}", "{env: ACME} comes from, then: systemctl restart syncd"),
        ("credential", "{credential: acme}", "{credential: acme} comes from, then: systemctl restart syncd"),
        ("literal", "literal #1234abcd", "the file of guesty, then: syncd reload --wait"),
    ],
)
def test_what_is_to_be_done_is_what_can_be_done_where_it_is_kept(source: str, kept: str, do: str) -> None:
    one = Row(integration="acme", partner="guesty", name="token", use="credential", source=source, kept=kept,
              expires_at=NOW + timedelta(days=1))  # fmt: skip
    [reminder] = reminders([one], lambda _: math.inf, NOW)
    assert reminder.told.action.endswith(do)


@pytest.mark.parametrize(
    ("left", "told"),
    [
        (timedelta(days=8), []),
        (timedelta(days=6), [("credential-expires", Severity.TICKET)]),
        (timedelta(hours=-1), [("credential-expires", Severity.TICKET)]),
    ],
)
def test_one_that_ends_soon_is_to_be_renewed_by_hand(left: timedelta, told: list[Any]) -> None:
    assert said(row(expires_at=NOW + left)) == told
    assert said(row(expires_at=NOW + left, renews=True)) == []


def test_the_most_pressing_is_named_and_how_many_others_there_are() -> None:
    [one] = reminders([row("id", days=91), row("secret", days=200), row("key", days=100)], lambda _: 90 * DAY, NOW)
    assert one.state is State.DEGRADED
    assert one.told.reason.startswith("its secret dates from 2026-05-07 (file time); 2 more are old too")
    assert one.told.action.endswith("syncd credential rotate acme secret < new.txt")
    assert one.told.since == NOW - timedelta(days=200)
