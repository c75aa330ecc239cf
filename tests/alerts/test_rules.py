"""Every alert fires when it should and stays silent when it should, by the judgement of promtool itself."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from syncd.alerts import ALERTS
from syncd.alerts.alert import About
from syncd.alerts.rules import rules_file
from tests.alerts.cases import CASES, MAINTAINED, ONE, PAUSED
from tests.alerts.promtool import BY_NAME, ask, needs_promtool, run_tests, scene, texts


def test_every_alert_has_a_case_and_no_case_is_of_nothing():
    assert {"SyncdWatchdog", *CASES} == set(BY_NAME)
    assert len(BY_NAME) == len(ALERTS), "two of one name"


@needs_promtool
def test_promtool_accepts_the_rules(tmp_path: Path):
    (tmp_path / "rules.yml").write_text(rules_file(ALERTS), "utf-8")
    done = ask("check", "rules", str(tmp_path / "rules.yml"))
    assert done.returncode == 0, done.stdout + done.stderr


@needs_promtool
def test_every_alert_fires_stays_silent_and_clears(tmp_path: Path):
    scenes = [scene("the watchdog", ONE, "SyncdWatchdog", {"1m": 1, "5m": 1})]
    for name, case in CASES.items():
        expected = {case.at: case.count} | ({case.clears: 0} if case.clears else {})
        scenes.append(scene(f"{name} fires", case.fires, name, expected))
        scenes.append(scene(f"{name} is silent", case.silent, name, {case.quiet_at or case.at: 0}))
    assert run_tests(tmp_path, scenes) == ""


@needs_promtool
def test_what_is_paused_or_in_maintenance_troubles_nobody_and_the_daemon_cannot_be_muted(tmp_path: Path):
    down = CASES["SyncdDown"]
    scenes = [scene("the daemon", {**down.fires, **PAUSED, **MAINTAINED}, "SyncdDown", {down.at: 1})]
    for name, case in CASES.items():
        if BY_NAME[name].about is About.PROCESS:
            assert "muted" not in BY_NAME[name].rule
            continue
        scenes.append(scene(f"{name} paused", {**case.fires, **PAUSED}, name, {case.at: 0}))
        scenes.append(scene(f"{name} in maintenance", {**case.fires, **MAINTAINED}, name, {case.at: 0}))
    assert run_tests(tmp_path, scenes) == ""


@needs_promtool
def test_of_a_partner_with_one_paused_integration_the_others_are_still_told_of(tmp_path: Path):
    other = {'syncd_integration_info{integration="beta",partner="guesty",company="Beta"}': "1x2000"}
    case = CASES["SyncdCallsSlow"]
    both = {**other, 'syncd_integration_health{integration="beta",state="paused"}': "1x2000"}
    scenes = [
        scene("one paused", {**case.fires, **PAUSED, **other}, "SyncdCallsSlow", {case.at: 1}),
        scene("both paused", {**case.fires, **PAUSED, **both}, "SyncdCallsSlow", {case.at: 0}),
    ]
    assert run_tests(tmp_path, scenes) == ""


@needs_promtool
def test_every_text_is_expanded_and_says_who_what_why_and_what_to_run(tmp_path: Path):
    told = texts(tmp_path, [(name, case.fires, case.at) for name, case in CASES.items()])
    assert set(told) == set(CASES)
    for name, said in told.items():
        alert = BY_NAME[name]
        assert "error expanding" not in str(said), f"{name}: {said}"
        assert "<no value>" not in str(said), name
        assert "" not in said["description"].splitlines(), f"{name}: an empty line"
        code = alert.code or "auth-failed"
        assert said["runbook"] == f"syncd runbook {code}", name
        assert said["runbook_url"].endswith(f"/{code}"), name
        assert "Runbook: syncd runbook " in said["description"], name
        if alert.about is About.INTEGRATION:
            assert "integration acme (company: ACME Inc)" in said["summary"], name


SEED = """\
Last successful auth: 2h 0m 30s ago
Status: 401 invalid_grant
Likely cause: the customer revoked access, or the secret was rotated
Action: syncd credential test acme
Runbook: syncd runbook auth-failed"""


@needs_promtool
def test_an_alert_reads_as_the_founding_article_wants_it(tmp_path: Path):
    fires = {
        'syncd_auth_failures_total{partner="guesty",integration="acme"}': "0x480 1x100",
        'syncd_condition{integration="acme",code="auth-failed",severity="page"}': "1x600",
        'syncd_condition{integration="acme",code="limit-learned",severity="note"}': "1x600",
        'syncd_condition_info{integration="acme",code="limit-learned",reason="no trouble"}': "1x600",
    }
    said = texts(tmp_path, [("SyncdAuthRefused", fires, "121m30s")])["SyncdAuthRefused"]
    assert said["summary"] == "Guesty API 401/403 errors for integration acme (company: ACME Inc)"
    assert said["description"] == SEED


CONDITION = {
    'syncd_condition{subject="integration",integration="acme",partner="guesty",company="ACME Inc",resource="guests",'
    'code="request-rejected",severity="page"}': "1x100",
    'syncd_condition_info{integration="acme",resource="guests",code="request-rejected",reason="403: no right to read guests",'
    'cause="a right is missing",action="syncd check --live"}': "1x100",
    'syncd_condition_since_timestamp_seconds{integration="acme",resource="guests",code="request-rejected"}': "60x100",
}
DAEMON = {
    'syncd_condition{subject="daemon",code="database-slow",severity="page",instance="one:8080"}': "1x100",
    'syncd_condition_info{code="database-slow",reason="PostgreSQL takes 4 s for a commit",action="syncd check --env",'
    'instance="one:8080"}': "1x100",
}


@needs_promtool
def test_a_condition_is_told_in_its_own_words(tmp_path: Path):
    said = texts(tmp_path, [("SyncdConditionPage", CONDITION, "5m")])["SyncdConditionPage"]
    assert said["summary"] == "Guesty API: integration acme (company: ACME Inc): 403: no right to read guests"
    assert said["description"] == (
        "Since: 4m 0s\nLast successful auth: 4m 0s ago\nLikely cause: a right is missing\nAction: syncd check --live\n"
        "Runbook: syncd runbook request-rejected"
    )
    of_daemon = texts(tmp_path, [("SyncdConditionPage", DAEMON, "5m")])["SyncdConditionPage"]
    assert of_daemon["summary"] == "syncd one:8080: PostgreSQL takes 4 s for a commit"
    assert of_daemon["description"] == "Action: syncd check --env\nRunbook: syncd runbook database-slow"


@needs_promtool
@pytest.mark.parametrize("code", ["rate-limited", "not-owner"])
def test_a_mere_wait_for_a_limit_and_what_another_instance_has_are_no_news(tmp_path: Path, code: str):
    waits = {key.replace("auth-failed", code): values for key, values in CASES["SyncdConditionNote"].fires.items()}
    assert run_tests(tmp_path, [scene("a wait", waits, "SyncdConditionNote", {"45s": 0})]) == ""


THRESHOLDS = {
    "SyncdAuthRefused": "> 0", "SyncdServerErrors": "* 60 > 3", "SyncdTooManyCalls": "* 60 > 5",
    "SyncdHealthCheckSlow": "> 3", "SyncdHealthCheckFailing": ">= 3", "SyncdErrorRatio": "> 0.05",
    "SyncdCallsSlow": "> 5", "SyncdSyncLag": "900", "SyncdWebhooksFailing": "> 0.05", "SyncdHeartbeatLost": "> 60",
    "SyncdQueueLong": "> 1000", "SyncdQueueBackedUp": "> 5000", "SyncdAuthFailures": "> 5",
}  # fmt: skip
"""Of the three documents the project began with."""


@pytest.mark.parametrize(("name", "threshold"), THRESHOLDS.items())
def test_the_thresholds_of_the_founding_checklists_are_kept_and_say_where_they_come_from(name: str, threshold: str):
    assert threshold in BY_NAME[name].expr
    assert BY_NAME[name].source


def test_runbooks_elsewhere_and_another_scrape_job_are_written_into_the_file():
    text = rules_file(ALERTS, runbooks="https://wiki.example/syncd/", job="pull")
    assert "runbook_url: https://wiki.example/syncd/auth-failed\n" in text
    assert 'up{job="pull"} == 0' in text
    rules = yaml.safe_load(text)["groups"][0]["rules"]
    assert all(rule["annotations"]["runbook"].startswith("syncd runbook ") for rule in rules if "alert" in rule)
