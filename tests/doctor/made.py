"""Facts as a test wants them: integrations of real drivers, everything else as a sound installation would show it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from syncd.cli.load import read_config
from syncd.config import Config
from syncd.doctor import Facts
from syncd.doctor.facts import DaemonFact, DatabaseFact, MachineFact, SecretFact, Subject, UnitFact, Verified
from syncd.doctor.subjects import subjects

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
HOOK = {"secrets": [{"file": "hook"}]}
FILES: dict[str, dict[str, Any]] = {
    "attio": {"driver": "attio", "integrations": {"crm": {"credentials": {"token": {"file": "crm"}}, "webhook": HOOK}}},
    "maintainx": {
        "driver": "maintainx",
        "integrations": {"plant": {"credentials": {"api_key": {"file": "plant"}}, "webhook": HOOK}},
    },
    "guesty": {
        "driver": "guesty",
        "integrations": {
            "flats": {"credentials": {"client_id": {"file": "id"}, "client_secret": {"file": "flats"}}, "webhook": HOOK}
        },
    },
}
MAIN: dict[str, Any] = {
    "database": {"url": {"env": "SYNCD_DATABASE_URL"}},
    "server": {"public_url": "https://sync.example.com"},
    "secrets": {"directory": "/etc/syncd/secrets"},
}


def configured(
    main: Mapping[str, Any] | None = None, partners: Mapping[str, Mapping[str, Any]] | None = None
) -> tuple[Config, list[Subject]]:
    """The configuration of these files (by default an Attio, a MaintainX and a Guesty), and its integrations."""
    return _kept(json.dumps([{**MAIN, **(main or {})}, dict(FILES if partners is None else partners)]))


@cache
def _kept(text: str) -> tuple[Config, list[Subject]]:
    """Most tests want the same one, and to load drivers takes longer than to judge by them."""
    main, partners = json.loads(text)
    with tempfile.TemporaryDirectory() as folder:
        return _read(Path(folder) / "config", main, partners)


def _read(directory: Path, main: Mapping[str, Any], partners: Mapping[str, Any]) -> tuple[Config, list[Subject]]:
    (directory / "partners").mkdir(parents=True, exist_ok=True)
    (directory / "syncd.yaml").write_text(yaml.safe_dump(dict(main)))
    for name, body in partners.items():
        (directory / "partners" / f"{name}.yaml").write_text(yaml.safe_dump(dict(body), sort_keys=False))
    config = read_config(directory).require()
    return config, subjects(config)


def secret(place: str, **more: Any) -> SecretFact:
    """One kept as it should be."""
    usual: dict[str, Any] = {
        "kind": "file", "text": "{file: x}", "path": f"/etc/syncd/secrets/{place}", "mode": 0o600, "owner": "syncd",
        "mark": place,
    }  # fmt: skip
    return SecretFact(place=place, integration=place.partition(".")[0], **{**usual, **more})


DATABASE = DatabaseFact(
    name="db.example, database syncd", version=160004, skew_seconds=0.1, can_create=True, owns_schema=True, schema_there=True,
    temp=True, listen=True, advisory=True, read_only=False, isolation="read committed", timezone="Etc/UTC",
    max_connections=97, used_connections=20, needs_connections=16, size_bytes=5 * 1024**3, applied=20, inbox_unique=True,
    local_free_bytes=50 * 1024**3, instances=("host-1",), passes=dict.fromkeys(("crm", "plant", "flats"), NOW - HOUR),
    checkpoints={"crm": 9, "plant": 16, "flats": 3},
    verified=dict.fromkeys(("crm", "plant", "flats"), Verified(NOW - HOUR, True)),
)  # fmt: skip


def integration(name: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "state": "healthy",
        "latency_ms": 120.0,
        "explanation": None,
        "clock_skew_seconds": 0.3,
        **more,
    }


def daemon(**more: Any) -> DaemonFact:
    """One that runs well and has called everybody."""
    series: dict[str, list[tuple[Mapping[str, str], float]]] = {}
    for partner, name in (("attio", "crm"), ("maintainx", "plant"), ("guesty", "flats")):
        scope = {"scope": f"{partner}/{name}"}
        for metric, labels, value in (
            ("integration_api_calls_total", {"partner": partner, "status_code": "200"}, 200.0),
            ("integration_api_call_duration_seconds_count", {"partner": partner}, 200.0),
            ("integration_api_call_duration_seconds_sum", {"partner": partner}, 30.0),
            ("syncd_limit_used", {**scope, "tier": "100/60s"}, 40.0),
            ("syncd_limit_budget", {**scope, "tier": "100/60s"}, 70.0),
            ("syncd_credential_age_seconds", {"integration": name, "credential": "token"}, 10 * 86_400.0),
            ("syncd_breaker_state", {**scope, "group": "all"}, 0.0),
            ("syncd_last_authenticated_timestamp_seconds", {"integration": name}, NOW.timestamp() - 60),
        ):
            series.setdefault(metric, []).append((labels, value))
    series["syncd_intake_commit_seconds_count"] = [({}, 40.0)]
    series["syncd_intake_commit_seconds_sum"] = [({}, 0.2)]
    names = ("crm", "plant", "flats")
    usual: dict[str, Any] = {
        "status": {"integrations": [integration(name) for name in names], "ready": [], "retention": {"unfinished": {}}},
        "health": {"status": "healthy", "services": {name: {"status": "healthy", "latencyMs": 120} for name in names}},
        "health_seconds": 0.01, "ready": True, "metrics": series,
    }  # fmt: skip
    return DaemonFact(**{**usual, **more})


UNIT = "[Service]\nUser=syncd\nRestart=always\nMemoryMax=1G\nCPUQuota=200%\n"
MACHINE = MachineFact(
    user="syncd", uid=990, descriptors=8192, descriptors_of="the daemon", state_directory="/var/lib/syncd",
    state_free_bytes=50 * 1024**3, key_kept="the key is /var/lib/syncd/syncd.key", synchronized=True,
    unit=UnitFact(True, True, UNIT, "/etc/systemd/system/syncd.service", UNIT, "syncd", {"Restart": "always"}),
)  # fmt: skip


def sound(folder: Path, **more: Any) -> Facts:
    """An installation of which nothing is to be said. `main` and `partners` are files; the rest are facts."""
    config, found = configured(more.pop("main", None), more.pop("partners", None))
    places = [f"{one.name}.{key}" for one in found for key in one.config.credentials]
    places += [f"{one.name}.webhook.1" for one in found if one.config.webhook is not None]
    facts = Facts(
        now=NOW, config=config, directory=str(folder / "config"), subjects=tuple(found),
        secrets=tuple(secret(place) for place in places), hosts={}, daemon=daemon(), database=DATABASE, machine=MACHINE,
        alerts={"Everything": "5xx errors > 3/min; 429 errors > 5/min; 401/403 errors > 0; Health check latency > 3000ms; "
                "Health check failure 3 consecutive times; error rate > 5%, latency > 5s, sync lag > 15min"},
        runbooks=frozenset({"auth-failed", "credential-old"}),
    )  # fmt: skip
    return replace(facts, **more)
