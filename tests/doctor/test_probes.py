"""Each probe with what makes it fail: the line that passes in a sound installation says what is wrong, and how to mend it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from syncd import drivers
from syncd.config import Problem
from syncd.doctor import Facts, Result, Verdict, examined, probes_errors
from syncd.doctor import probes_webhooks as webhooks
from syncd.doctor.facts import Certificate, EnvFile, HostFact, LiveFact, SecretFact, UnitFact, Verified
from tests.doctor.made import DATABASE, FILES, HOOK, MACHINE, NOW, UNIT, daemon, integration, secret, sound

FAIL, WARN, LATER, MANUAL, PASS, NONE = (
    Verdict.FAIL, Verdict.WARN, Verdict.LATER, Verdict.MANUAL, Verdict.PASS, Verdict.NONE,
)  # fmt: skip


def judged(facts: Facts, line: str) -> Result:
    return next(one for one in examined(facts, facts.subjects) if one.id == line)


def secrets(**changed: Any) -> Callable[[Path], Facts]:
    """The sound installation with one secret kept otherwise."""

    def made(folder: Path) -> Facts:
        facts = sound(folder)
        place = changed.pop("place")
        kept: list[SecretFact] = [one for one in facts.secrets if one.place != place]
        return replace(facts, secrets=(*kept, secret(place, **changed)))

    return made


def database(**changed: Any) -> Callable[[Path], Facts]:
    return lambda folder: sound(folder, database=replace(DATABASE, **changed))


def machine(**changed: Any) -> Callable[[Path], Facts]:
    return lambda folder: sound(folder, machine=replace(MACHINE, **changed))


def unit(text: str = UNIT, **changed: Any) -> Callable[[Path], Facts]:
    fact = UnitFact(True, True, text, "/etc/systemd/system/syncd.service", UNIT, "syncd", {"Restart": "always"})
    return machine(unit=replace(fact, **changed))


def files(main: dict[str, Any] | None = None, **partners: dict[str, Any]) -> Callable[[Path], Facts]:
    """Other files: a partner's keys are laid over its usual ones."""
    given = {name: {**FILES[name], **more} for name, more in partners.items()}
    return lambda folder: sound(folder, main=main, partners={**FILES, **given})


def running(**changed: Any) -> Callable[[Path], Facts]:
    return lambda folder: sound(folder, daemon=daemon(**changed))


def state(**changed: Any) -> Callable[[Path], Facts]:
    """The daemon says something else of the Attio integration."""
    others = [integration(name) for name in ("plant", "flats")]
    return running(status={"integrations": [integration("crm", **changed), *others], "ready": []})


OLD = {"syncd_credential_age_seconds": [({"integration": "plant", "credential": "api_key"}, 100 * 86_400.0)]}


def scopes(*held: str, missing: tuple[str, ...] = ()) -> Callable[[Path], Facts]:
    """The daemon has asked what the Attio token may do."""
    told = {"told_by": "GET /self", "held": list(held), "needed": ["object:read"], "missing": list(missing)}
    return running(scopes={"crm": told})


def facts(**changed: Any) -> Callable[[Path], Facts]:
    return lambda folder: sound(folder, **changed)


def shared_credential(folder: Path) -> Facts:
    body = {"crm": FILES["attio"]["integrations"]["crm"], "crm2": {"credentials": {"token": {"file": "crm"}}}}
    found = sound(folder, partners={"attio": {"driver": "attio", "integrations": body}})
    return replace(found, secrets=(secret("crm.token", mark="a"), secret("crm2.token", mark="a")))


def host(why: str = "flats", **more: Any) -> Callable[[Path], Facts]:
    fact = HostFact("open-api.guesty.com", 443, (why,), True, ("198.51.100.7",))
    return facts(hosts={"open-api.guesty.com:443": replace(fact, **more)})


def days(left: float | None, *, trusted: bool = True, why: str = "flats") -> Callable[[Path], Facts]:
    return host(why, certificate=Certificate(left, trusted, "" if trusted else "self-signed certificate"))


LOOSE = EnvFile("/srv/app/.env", "/srv/app", ignored=False, names=frozenset({"CRM_TOKEN"}))
PROBLEM = Problem(severity="warning", message="looser than stated", file="x.yaml", line=1, column=1)


def ran(**changed: Any) -> Callable[[Path], Facts]:
    """The last `syncd verify plant` was so; the daemon is of release 0.2."""
    told = replace(Verified(NOW, True), **changed)
    told_by = daemon(status={"version": "0.2", "integrations": [integration("plant")], "ready": []})
    return lambda folder: sound(folder, database=replace(DATABASE, verified={"plant": told}), daemon=told_by)


def lacking(metric: str) -> Callable[[Path], Facts]:
    """The daemon's metrics without one of them."""
    return running(metrics={name: rows for name, rows in daemon().metrics.items() if name != metric})


def seen_in(metric: str, value: float, **labels: str) -> Callable[[Path], Facts]:
    return running(metrics={**daemon().metrics, metric: [(labels, value)]})


LET_IN = "syncd_last_authenticated_timestamp_seconds"
VARIABLES = EnvFile("/etc/syncd/environment", names=frozenset({"DB_URL"}), mode=0o644)


def variables(*held: EnvFile) -> Callable[[Path], Facts]:
    """The database's URL comes in a variable."""
    url = SecretFact("database.url", "", "env", "{env: DB_URL}", mark="m")
    return lambda folder: replace(sound(folder), secrets=(*sound(folder).secrets, url), env_files=held)


SLOW_PASS = {"crm": NOW, "plant": NOW - timedelta(days=3), "flats": NOW}
SLEEPY = {**FILES["maintainx"]["integrations"]["plant"], "resources": {"assets": {"full_every": "7d"}}}
NO_WEBHOOK = {"plant": {"credentials": {"api_key": {"file": "plant"}}}}
BARE_HOOK = {"plant": {**NO_WEBHOOK["plant"], "webhook": {}}}
OLD_STAMP = {"plant": {**NO_WEBHOOK["plant"], "webhook": {**HOOK, "tolerance": "10m"}}}

CASES: list[tuple[str, Verdict, str, Callable[[Path], Facts]]] = [
    # credentials
    ("attio-1.1", MANUAL, "look at Attio", facts()),
    ("attio-1.1", PASS, "all of it needed", scopes("object:read")),
    ("attio-1.1", WARN, "object:write", scopes("object:read", "object:write")),
    ("attio-1.1", FAIL, "lacks object:read", scopes(missing=("object:read",))),
    ("maintainx-1.4", FAIL, "100 days old", running(metrics=OLD)),
    ("maintainx-1.4", MANUAL, "it is not", running(metrics={})),
    ("maintainx-1.4", MANUAL, "no reminder", files(maintainx={"remind_after": "off"})),
    ("attio-1.2", FAIL, "stands in the YAML", secrets(place="crm.token", kind="literal", text="literal #1")),
    ("attio-1.2", FAIL, "0644", secrets(place="crm.token", error="has mode 0644", hint="chmod 600 x")),
    ("attio-1.2", MANUAL, "CRM_TOKEN", secrets(place="crm.token", kind="env", text="{env: CRM_TOKEN}")),
    ("attio-8.7", FAIL, "stands in the YAML", secrets(place="crm.webhook.1", kind="literal")),
    ("attio-1.3", FAIL, "crm, crm2", shared_credential),
    ("attio-1.4", FAIL, "not ignored", facts(env_files=(LOOSE,))),
    ("attio-1.4", FAIL, "committed", facts(env_files=(replace(LOOSE, ignored=True, tracked=True),))),
    ("attio-1.4", PASS, "all ignored", facts(env_files=(replace(LOOSE, ignored=True),))),
    ("attio-1.4", LATER, "another user's", facts(env_files=(replace(LOOSE, ignored=True, unseen="it is another user's"),))),
    ("attio-1.4", LATER, "not installed", facts(work_tree="/srv/app", git_silent="git is not installed here")),
    ("attio-1.5", LATER, "no secret", lambda folder: replace(sound(folder), secrets=(secret("crm.token", mark=""),))),
    ("attio-1.5", FAIL, "too short", secrets(place="crm.token", leaks=True)),
    ("attio-1.6", FAIL, "no page", facts(runbooks=frozenset())),
    ("attio-1.7", FAIL, "refused", state(state="auth_required", explanation={"reason": "401: refused", "action": "x"})),
    ("attio-1.7", LATER, "not called", state(latency_ms=None)),
    ("attio-1.7", LATER, "is away", state(state="down", explanation={"reason": "it is away", "action": ""})),
    ("attio-1.7", LATER, "paused", state(state="paused")),
    ("attio-1.7", LATER, "no call in yet", lacking(LET_IN)),
    ("attio-1.7", LATER, "2d ago", seen_in(LET_IN, NOW.timestamp() - 2 * 86_400, integration="crm")),
    ("attio-1.7", PASS, "one call made", facts(daemon=None, live={"crm": LiveFact(True, "one call made: 200")})),
    ("attio-1.7", FAIL, "401", facts(live={"crm": LiveFact(False, "401", "x", refused=True)})),
    ("attio-1.7", LATER, "refused the connection", facts(live={"crm": LiveFact(False, "refused the connection")})),
    ("maintainx-1.3", FAIL, "no hook", facts(work_tree="/srv/app")),
    ("maintainx-1.3", PASS, "gitleaks", facts(work_tree="/srv/app", hook="gitleaks in .pre-commit-config.yaml")),
    ("maintainx-1.3", WARN, "not installed", facts(work_tree="/srv/app", hook="gitleaks in x", hook_installed=False)),
    ("maintainx-1.3", LATER, "not installed", facts(work_tree="/srv/app", git_silent="git is not installed here")),
    # limits
    ("attio-3.2", FAIL, "20 calls", files(attio={"limits": {"concurrency": 20, "accept_risk": True}})),
    ("maintainx-5.5", WARN, "above the stated", files(maintainx={"limits": {"tiers": ["300/60s"], "accept_risk": True}})),
    ("attio-3.5", FAIL, "limit_near", files({"log": {"level": "error"}})),
    ("attio-3.5", LATER, "no limit", running(metrics={})),
    ("attio-3.3", FAIL, "by a query", files(attio={"resources": {
        name: {"enabled": False} for name in ("people", "companies", "deals", "list_entries")}})),
    ("maintainx-5.2", WARN, "users", files(maintainx={"resources": {"users": {"every": "1m"}}})),
    ("maintainx-5.3", WARN, "10 a page", files(maintainx={"resources": {"assets": {"page_size": 10}}})),
    ("maintainx-5.1", LATER, "not called", running(metrics={})),
    # errors
    ("attio-7.1", FAIL, "900 failures", files(attio={"limits": {"breaker": {"failures": 900}}})),
    ("attio-7.2", FAIL, "stuck", running(health={"services": {}, "stuck": ["workers of attio"]})),
    ("maintainx-2.5", FAIL, "300 s", files(maintainx={"deadline": "5m"})),
    # data
    ("attio-4.6", FAIL, "has lost its key", database(inbox_unique=False)),
    ("attio-4.6", LATER, "schema", database(applied=0)),
    ("maintainx-3.2", NONE, "no deliveries", files(maintainx={"integrations": NO_WEBHOOK})),
    ("maintainx-3.3", LATER, "nothing has been read", database(checkpoints={})),
    ("maintainx-3.4", FAIL, "7 days", files(maintainx={"integrations": {"plant": SLEEPY}})),
    ("maintainx-3.4", FAIL, "last complete pass", database(passes=SLOW_PASS)),
    # health
    ("attio-5.1", FAIL, "does not name it", running(health={"services": {}})),
    ("attio-5.1", FAIL, "4.0 s", running(health_seconds=4.0)),
    ("maintainx-4.4", FAIL, "/ready says no", running(ready=False)),
    ("attio-6.2", MANUAL, "no rule", facts(alerts={})),
    ("attio-6.7", FAIL, "warning", files({"log": {"level": "warning"}})),
    ("maintainx-4.1", FAIL, "console", files({"log": {"format": "console"}})),
    ("maintainx-4.2", FAIL, "answers nothing", running(metrics={})),
    ("maintainx-4.2", FAIL, "how long they took", lacking("integration_api_call_duration_seconds_count")),
    ("maintainx-8.7", LATER, "schema", database(applied=0)),
    # webhooks
    ("attio-8.1", FAIL, "not https", files({"server": {"public_url": "http://sync.example.com"}})),
    ("attio-8.1", FAIL, "nothing says", files({"server": {}})),
    ("attio-8.2", FAIL, "does not exist", secrets(place="crm.webhook.1", error="does not exist", hint="x")),
    ("partner-5.3", PASS, "forged sample was refused", facts()),
    ("partner-5.4", PASS, "was refused (tolerance 300 s)", facts()),
    ("attio-8.5", LATER, "no delivery", running(metrics={})),
    ("attio-8.5", WARN, "5000.0 ms", running(metrics={
        "syncd_intake_commit_seconds_count": [({}, 2.0)], "syncd_intake_commit_seconds_sum": [({}, 10.0)]})),
    ("attio-8.6", FAIL, "/ready", running(ready=False)),
    ("maintainx-5.4", WARN, "polled", files(maintainx={"integrations": NO_WEBHOOK})),
    # release
    ("attio-9.2", WARN, "stop", database(pending=("0021 more: previous release: stop, it reads a column",))),
    ("attio-9.2", PASS, "1 to apply", database(pending=("0021 more: previous release: runs",))),
    ("attio-9.3", FAIL, "does not know crm", running(status={"integrations": []})),
    ("maintainx-6.2", FAIL, "as root", unit("[Service]\n", user="root")),
    ("maintainx-6.2", FAIL, "container runs as root", machine(unit=UnitFact(), container=True, uid=0)),
    ("maintainx-6.2", FAIL, "daemon is root's", machine(daemon_uid=0, daemon_user="root")),
    ("maintainx-6.2", PASS, "daemon runs as syncd", machine(unit=UnitFact(), uid=0, daemon_uid=990, daemon_user="syncd")),
    ("maintainx-6.2", LATER, "nothing says", machine(unit=UnitFact())),
    ("maintainx-6.3", FAIL, "MemoryMax", unit("[Service]\nUser=syncd\n")),
    ("maintainx-6.3", WARN, "processor", unit("[Service]\nMemoryMax=1G\n")),
    ("maintainx-6.3", WARN, "processor", unit("[Service]\nMemoryMax=1G\n", properties={"CPUQuotaPerSecUSec": "infinity"})),
    ("maintainx-6.3", PASS, "CPUQuotaPerSecUSec 2s", unit("[Service]\n", properties={
        "CPUQuotaPerSecUSec": "2s", "CPUWeight": "[not set]", "MemoryMax": "1073741824"})),
    ("maintainx-6.3", WARN, "processor", machine(unit=UnitFact(), memory_max=1024**3)),
    ("maintainx-6.3", PASS, "2 processors", machine(unit=UnitFact(), memory_max=1024**3, processors=2.0)),
    ("maintainx-6.4", FAIL, "Restart is no", unit(properties={"Restart": "no"})),
    ("maintainx-7.1", FAIL, "never run", database(verified={})),
    ("maintainx-7.1", FAIL, "failed on", ran(ok=False)),
    ("maintainx-7.1", WARN, "100 days", ran(at=NOW - timedelta(days=100))),
    ("maintainx-7.1", WARN, "--read-only", ran(mode="read-only")),
    ("maintainx-7.1", WARN, "release 0.1", ran(version="0.1")),
    ("maintainx-7.1", PASS, "all of it", ran(version="0.2")),
    # this installation
    ("host-1.1", WARN, "looser", facts(problems=(PROBLEM,))),
    ("host-1.2", FAIL, "cannot be read", secrets(place="crm.token", error="cannot be read", hint="ls -l x")),
    ("host-1.3", FAIL, "the service runs as syncd", secrets(place="crm.token", owner="root")),
    ("host-1.4", FAIL, "crm.token", secrets(place="crm.token", kind="literal")),
    ("host-1.5", FAIL, "not again on reload", secrets(place="crm.token", kind="credential", text="{credential: crm}")),
    ("host-1.5", FAIL, "not again on reload", secrets(place="crm.token", path="/run/credentials/syncd.service/crm")),
    ("host-1.6", FAIL, "one credential for", shared_credential),
    ("host-1.8", WARN, "other machines", files({"server": {"admin": "0.0.0.0:8081", "admin_token": {"file": "t"}}})),
    ("host-1.9", MANUAL, "passed on", files({"server": {"listen": "0.0.0.0:8080"}})),
    ("host-1.10", FAIL, "not https", files({"server": {"public_url": "http://sync.example.com"}})),
    ("host-1.11", FAIL, "0644", variables(VARIABLES)),
    ("host-1.11", PASS, "nobody else", variables(replace(VARIABLES, mode=0o600))),
    ("host-1.11", PASS, "nobody else", variables(replace(VARIABLES, mode=0o640))),
    ("host-1.11", MANUAL, "DB_URL", variables()),
    ("host-1.11", NONE, "no secret", facts()),
    ("host-2.1", WARN, "5.0 s behind", database(skew_seconds=5.0)),
    ("host-2.1", FAIL, "90.0 s ahead", database(skew_seconds=-90.0)),
    ("host-2.1", WARN, "no time server", machine(synchronized=False)),
    ("host-2.2", FAIL, "420.0 s", state(clock_skew_seconds=-420.0)),
    ("host-2.2", LATER, "crm: no answer had a Date", state(clock_skew_seconds=None)),
    ("host-2.3", MANUAL, "2 instances", database(instances=("a", "b"))),
    ("host-2.4", FAIL, "not found", host(resolve_error="its name is not found")),
    ("host-2.5", PASS, "90 days", days(90)),
    ("host-2.5", WARN, "20 days", days(20)),
    ("host-2.5", FAIL, "2.0 days", days(2)),
    ("host-2.5", FAIL, "expired 4 days ago", days(-4, trusted=False)),
    ("host-2.5", FAIL, "not trusted: self-signed", days(300, trusted=False)),
    ("host-2.5", LATER, "refused", host(connect_error="refused")),
    ("host-2.6", FAIL, "2.0 days", days(2, why="server.public_url")),
    ("host-3.1", FAIL, "12.", database(version=120010)),
    ("host-3.1", FAIL, "no writes", database(read_only=True)),
    ("host-3.2", FAIL, "TEMP", database(temp=False)),
    ("host-3.2", FAIL, "LISTEN, advisory", database(listen=False, advisory=False)),
    ("host-3.2", FAIL, "another role", database(owns_schema=False)),
    ("host-3.2", FAIL, "checkpoints and 1 more", database(barred=("checkpoints", "inbox"))),
    ("host-3.3", LATER, "may not read", database(schema_read=False, applied=0)),
    ("host-3.1", LATER, "not given", facts(database=None, no_database="this command was not given the address")),
    ("host-3.10", FAIL, "0644", machine(key_file="/var/lib/syncd/syncd.key", key_mode=0o644)),
    ("host-3.2", FAIL, "no schema", database(schema_there=False, can_create=False)),
    ("host-3.3", FAIL, "empty", database(schema_there=False)),
    ("host-3.3", WARN, "1 migration", database(pending=("0021 more: previous release: runs",))),
    ("host-3.4", FAIL, "1 of 97", database(used_connections=96)),
    ("host-3.4", FAIL, "16 wanted", database(max_connections=17, used_connections=3)),
    ("host-3.5", FAIL, "serializable", database(isolation="serializable")),
    ("host-3.6", FAIL, "nobody backs up", machine(embedded=True)),
    ("host-3.7", FAIL, "10 MiB", machine(state_free_bytes=10 * 1024**2)),
    ("host-3.7", MANUAL, "cannot be seen", database(local_free_bytes=None)),
    ("host-3.8", FAIL, "did not end", running(status={
        "integrations": [], "retention": {"unfinished": {"changes": "locked"}}})),
    ("host-4.2", FAIL, "no unit", machine(unit=UnitFact(systemd=True))),
    ("host-4.2", WARN, "not this release's", unit(UNIT + "TimeoutStopSec=1\n")),
    ("host-4.2", FAIL, "has not read", unit(properties={"NeedDaemonReload": "yes"})),
    ("host-4.2", NONE, "no systemd", machine(unit=UnitFact())),
    ("host-4.5", FAIL, "1,024", machine(descriptors=1024)),
    ("host-4.5", LATER, "cannot be seen", machine(descriptors_of="this command")),
]  # fmt: skip


@pytest.mark.parametrize(("line", "verdict", "words", "made"), CASES, ids=[f"{case[0]}: {case[2]}" for case in CASES])
def test_a_line_says_what_is_wrong_and_how_to_mend_it(
    line: str, verdict: Verdict, words: str, made: Callable[[Path], Facts], tmp_path: Path
) -> None:
    result = judged(made(tmp_path), line)
    assert result.verdict is verdict, result.answer
    assert words in result.answer.detail
    if verdict in {FAIL, WARN, MANUAL}:
        assert result.answer.do


def test_a_webhook_without_a_secret_passes_only_where_the_partner_has_handed_one_over(tmp_path: Path) -> None:
    facts_found = replace(
        sound(tmp_path, partners={"maintainx": {**FILES["maintainx"], "integrations": BARE_HOOK}}), secrets=()
    )
    [plant] = facts_found.subjects
    never = webhooks.verified(facts_found, [plant])
    assert never.verdict is FAIL and never.do == "syncd webhook register plant"
    assert webhooks.verified(facts_found, [replace(plant, registered=True)]).verdict is PASS
    away = replace(facts_found, database=None, no_database="it is away")
    assert webhooks.verified(away, [plant]).verdict is LATER


def test_several_integrations_are_one_line_that_names_those_in_trouble(tmp_path: Path) -> None:
    accounts = {name: {"credentials": {"token": {"file": name}}} for name in ("a", "b", "c")}
    found = sound(tmp_path, partners={"attio": {"driver": "attio", "integrations": accounts}})
    kept = (secret("a.token"), secret("b.token", kind="literal"), secret("c.token"))
    answer = judged(replace(found, secrets=kept), "attio-1.2").answer
    assert answer.verdict is FAIL
    assert answer.detail.startswith("b: ")


def test_the_go_live_probes_ask_the_driver_in_use(tmp_path: Path) -> None:
    """What a driver gets wrong is seen: one that takes a 429 for a refusal, one whose table allows any step."""
    facts_found = sound(tmp_path)
    plant = next(one for one in facts_found.subjects if one.name == "plant")
    from syncd.errors import RejectedError

    class Wrong(type(plant.driver)):  # type: ignore[misc]
        def classify(self, response: Any, now: Any) -> Any:
            return RejectedError("no")

        def check(self, resource: Any, change: Any, stored: Any) -> None:
            return None

        def verifier(self, secrets: Any, *, tolerance_seconds: Any = None) -> Any:
            return lambda delivery, now: True

    broken = replace(plant, driver=Wrong(plant.driver.spec))
    results = {one.id: one for one in examined(replace(facts_found, subjects=(broken,)), (broken,))}
    for line in ("maintainx-2.1", "maintainx-2.2", "maintainx-3.5", "maintainx-8.2"):
        assert results[line].verdict is FAIL, line


@pytest.mark.parametrize("name", [name for name in drivers.names() if name != "rest"])
def test_no_shipped_driver_is_told_to_be_at_fault(tmp_path: Path, name: str):
    facts = sound(tmp_path)
    usual = facts.subjects[0]
    one = replace(usual, name=name, partner=usual.partner.model_copy(update={"name": name}), driver=drivers.load(name))
    for probe in (
        probes_errors.every_status,
        probes_errors.retryable,
        probes_errors.server_errors_retried,
        probes_errors.backoff_with_jitter,
        probes_errors.retry_after,
    ):
        verdict = probe(facts, [one])
        assert "fault of the driver" not in str(verdict), verdict
