"""The admin API: what it asks of the engine, what it answers, and whom it refuses."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from syncd.clock import SystemClock
from syncd.errors import ConfigError, OwnershipError, StoreError
from syncd.explain import Explanation
from syncd.secrets import Secret
from syncd.server.address import url_of
from syncd.server.app import ListenError, Server
from syncd.server.ports import Progress, RunState, TestReport
from tests.server.fakes import FakeStatus, serving, settings


async def call(
    engine: FakeStatus, method: str, path: str, *, headers: dict[str, str] | None = None, **options: Any
) -> tuple[int, Any]:
    changes = options.pop("changes", {})
    async with serving(engine, clock=SystemClock(), **changes) as server, aiohttp.ClientSession() as client:
        url = url_of(server.admin) + path
        async with client.request(method, url, headers=headers, **options) as response:
            body = await (response.json() if response.content_type == "application/json" else response.text())
            return response.status, body


async def test_status_is_the_engines_overview():
    engine = FakeStatus()
    assert await call(engine, "GET", "/api/v1/status") == (200, engine.seen)


async def test_sync_stores_wishes_and_names_who_asked():
    engine = FakeStatus()
    answer = await call(
        engine, "POST", "/api/v1/sync", json={"integration": "acme"}, headers={"X-Syncd-Actor": "ann@ops"}
    )
    assert answer == (202, {"schema": "syncd.wishes/1", "wishes": [1, 2]})
    assert engine.asked == [("sync", "acme", None, None, "ann@ops")]


async def test_a_plan_is_of_everything_or_of_what_is_named():
    engine = FakeStatus()
    assert await call(engine, "GET", "/api/v1/plan") == (200, engine.planned)
    assert (await call(engine, "GET", "/api/v1/plan?integration=acme&resource=listings"))[0] == 200
    assert engine.asked == [("plan", None, None), ("plan", "acme", "listings")]
    status, body = await call(engine, "GET", "/api/v1/plan?integration=acmee")
    assert (status, body["error"]["hint"]) == (404, "did you mean 'acme'?")
    assert (await call(engine, "GET", "/api/v1/plan?resource=listings"))[0] == 400


async def test_a_plan_may_assume_numbers_of_records_of_resources_there_are():
    engine = FakeStatus()
    query = "integration=acme&assume=listings%3D50000&assume=reservations%3D7"
    assert (await call(engine, "GET", f"/api/v1/plan?{query}"))[0] == 200
    assert (await call(engine, "GET", "/api/v1/plan?assume=customers%3D3"))[0] == 200
    assert engine.asked == [
        ("plan", "acme", None, {"listings": 50000, "reservations": 7}),
        ("plan", None, None, {"customers": 3}),
    ]
    status, body = await call(engine, "GET", "/api/v1/plan?integration=acme&assume=listing%3D5")
    assert (status, body["error"]["hint"]) == (404, "did you mean 'listings'?")
    assert (await call(engine, "GET", "/api/v1/plan?integration=acme&assume=customers%3D5"))[0] == 404
    for wrong in ("listings", "listings%3D", "listings%3D-1", "listings%3D1e3", f"listings%3D{'9' * 16}"):
        assert (await call(engine, "GET", f"/api/v1/plan?assume={wrong}"))[0] == 400


async def test_sync_of_one_record_needs_its_resource():
    engine = FakeStatus()
    status, body = await call(engine, "POST", "/api/v1/sync", json={"integration": "acme", "id": "64af"})
    assert (status, body["error"]["code"]) == (400, "usage")
    assert engine.asked == []


@pytest.mark.parametrize(
    ("said", "code", "hint"),
    [
        ({"integration": "acmee"}, "unknown-integration", "did you mean 'acme'?"),
        ({"integration": "zzz"}, "unknown-integration", "known here: acme, shop"),
        ({"integration": "acme", "resource": "listing"}, "unknown-resource", "did you mean 'listings'?"),
    ],
)
async def test_unknown_names_get_a_suggestion(said: dict[str, str], code: str, hint: str):
    status, body = await call(FakeStatus(), "POST", "/api/v1/sync", json=said)
    assert status == 404
    assert body["schema"] == "syncd.error/1"
    assert body["error"]["code"] == code
    assert body["error"]["hint"] == hint


async def test_progress_lists_runs():
    engine = FakeStatus()
    engine.rows = [
        Progress(wish_id=3, integration="acme", resource="listings", run_id=9, state=RunState.WAITING, page=4)
    ]
    status, body = await call(engine, "GET", "/api/v1/progress?wish=3&wish=4")
    assert status == 200
    assert body["runs"][0]["state"] == "waiting"
    assert body["runs"][0]["page"] == 4
    assert engine.asked == [("progress", (3, 4))]


async def test_progress_refuses_what_is_no_number():
    assert (await call(FakeStatus(), "GET", "/api/v1/progress?wish=3%20OR%201"))[0] == 400


async def test_a_credential_test_goes_through_the_daemons_own_gate():
    engine = FakeStatus()
    status, body = await call(engine, "POST", "/api/v1/test", json={"integration": "acme"})
    assert status == 200
    assert body["schema"] == "syncd.test/1"
    assert (body["ok"], body["status"], body["explanation"]) == (True, 200, None)
    why = Explanation("auth-failed", "401 invalid_grant", action="syncd credential set acme client_secret")
    engine.tested = TestReport(integration="acme", ok=False, status=401, refused=True, explanation=why)
    _, body = await call(engine, "POST", "/api/v1/test", json={"integration": "acme"})
    assert body["refused"] is True
    assert body["explanation"]["runbook"] == "syncd runbook auth-failed"
    assert engine.asked == [("test", "acme"), ("test", "acme")]


async def test_reload_reports_what_changed():
    status, body = await call(FakeStatus(), "POST", "/api/v1/reload", json={})
    assert status == 200
    assert body["schema"] == "syncd.reload/1"
    assert body["ok"] is True
    assert body["applied"] == ["guesty"]
    assert body["changes"] == ["guesty.limits 7/s -> 5/s"]


async def test_pause_and_resume_say_when_nothing_changed():
    engine = FakeStatus()
    async with serving(engine, clock=SystemClock()) as server, aiohttp.ClientSession() as client:

        async def post(verb: str, **said: Any) -> Any:
            async with client.post(f"{url_of(server.admin)}/api/v1/{verb}", json=said) as response:
                return await response.json()

        until = "2026-11-01T14:00:00Z"
        first = await post("pause", integration="acme", reason="migration", until=until)
        again = await post("pause", integration="acme", reason="migration", until=until)
        assert (first["already_paused"], again["already_paused"]) == (False, True)
        assert engine.asked[0][-2:] == ("migration", datetime(2026, 11, 1, 14, tzinfo=UTC))
        assert (await post("resume", integration="acme"))["already_running"] is False
        assert (await post("resume", integration="acme"))["already_running"] is True
        assert (await post("pause", integration="acme", until="2026-11-01T14:00:00"))["error"]["code"] == "usage"


async def test_reconcile_passes_the_confirmation_on():
    engine = FakeStatus()
    status, body = await call(
        engine, "POST", "/api/v1/reconcile", json={"integration": "acme", "resource": "listings", "confirm": True}
    )
    assert status == 202
    assert body["held"] == {"listings": 12}
    assert engine.asked[0][:4] == ("reconcile", "acme", "listings", True)
    assert (await call(engine, "POST", "/api/v1/reconcile", json={"integration": "acme", "confirm": "yes"}))[0] == 400


@pytest.mark.parametrize(
    ("error", "status"), [(StoreError("the database is away"), 503), (OwnershipError("moved"), 409)]
)
async def test_errors_of_the_engine_become_answers_with_their_hint(error: StoreError, status: int):
    engine = FakeStatus()
    engine.error = error
    error.hint = "syncd doctor"
    found, body = await call(engine, "GET", "/api/v1/status")
    assert found == status
    assert body["error"]["message"] == str(error)
    assert body["error"]["hint"] == "syncd doctor"


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"\xff"])
async def test_a_body_that_is_no_object_is_refused(body: bytes):
    status, _ = await call(
        FakeStatus(), "POST", "/api/v1/sync", data=body, headers={"Content-Type": "application/json"}
    )
    assert status == 400


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Origin": "https://evil.example"},
        {"Content-Type": "application/json", "Origin": "null"},
        {"Content-Type": "application/json", "Sec-Fetch-Site": "cross-site"},
    ],
)
async def test_a_foreign_page_cannot_post(headers: dict[str, str]):
    engine = FakeStatus()
    status, _ = await call(engine, "POST", "/api/v1/reload", data=b"{}", headers=headers)
    assert status == 403
    assert engine.asked == []


async def test_a_form_post_with_our_header_is_let_through():
    engine = FakeStatus()
    status, _ = await call(engine, "POST", "/api/v1/reload", headers={"X-Syncd": "1"})
    assert status == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8081", "127.0.0.1.evil.example", "", "[::2]:80"])
async def test_a_rebound_name_is_refused_at_loopback(host: str):
    assert (await call(FakeStatus(), "GET", "/api/v1/status", headers={"Host": host}))[0] == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8081", "127.0.0.1:9", "[::1]:8081"])
async def test_loopback_names_are_served(host: str):
    assert (await call(FakeStatus(), "GET", "/api/v1/status", headers={"Host": host}))[0] == 200


async def test_with_a_token_every_call_needs_it():
    changes = {"admin_token": Secret("sesame-open-93")}

    async def status(given: str | None) -> int:
        headers = {} if given is None else {"Authorization": given}
        return (await call(FakeStatus(), "GET", "/api/v1/status", headers=headers, changes=changes))[0]

    assert await status(None) == 401
    assert await status("Bearer sesame-open-94") == 401
    assert await status("Basic sesame-open-93") == 401
    assert await status("Bearer \xff") == 401
    assert await status("Bearer sesame-open-93") == 200


def test_an_admin_site_open_to_the_network_without_a_token_is_refused():
    for address in ("0.0.0.0:8081", "[::]:8081", "192.0.2.1:8081", "127.0.0.1.example.com:8081"):
        config = settings(admin=address, admin_token={"env": "TOKEN"})
        with pytest.raises(ConfigError, match="without a token"):
            Server(config, FakeStatus(), clock=SystemClock())
        Server(config, FakeStatus(), clock=SystemClock(), admin_token=Secret("sesame-open-95"))


async def test_the_unix_socket_is_private_and_goes_with_its_owner(tmp_path: Path):
    path = tmp_path / "admin.sock"
    stale = socket.socket(socket.AF_UNIX)
    stale.bind(str(path))
    stale.close()  # a file nobody answers at, as a killed daemon leaves it
    address = f"unix:{path}"
    client = aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path)))
    async with serving(FakeStatus(), clock=SystemClock(), admin=address), client:
        assert path.stat().st_mode & 0o777 == 0o660
        async with client.get("http://localhost/api/v1/status") as response:
            assert response.status == 200
        with pytest.raises(BaseExceptionGroup) as caught:
            async with serving(FakeStatus(), clock=SystemClock(), admin=address):
                pass
        assert caught.group_contains(ListenError, match="another process answers")
        assert path.exists()
    assert not path.exists()


async def test_a_taken_port_is_said_with_the_command_that_shows_who_has_it():
    async with serving(FakeStatus(), clock=SystemClock()) as server:
        with pytest.raises(BaseExceptionGroup) as caught:
            async with serving(FakeStatus(), clock=SystemClock(), listen=str(server.public)):
                pass
    error = caught.value.exceptions[0]
    assert isinstance(error, ListenError)
    assert "Address already in use" in str(error) or "address already in use" in str(error)
    assert f"sport = :{server.public.port}" in error.hint
