"""For each alert: what makes it fire and what does not, as series that promtool plays at 15 s a step.

`0+1x40` is 0, 1, 2 ... 40; `1x40` is 41 times 1; `_` is a scrape that brought nothing. The first step is at 0 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

Series = Mapping[str, str]

OF = 'partner="guesty",integration="acme"'
BACKGROUND = {
    'syncd_integration_info{integration="acme",partner="guesty",company="ACME Inc"}': "1x600",
    'syncd_last_authenticated_timestamp_seconds{integration="acme"}': "60x600",
    'syncd_condition_info{integration="acme",code="auth-failed",reason="401 invalid_grant",cause="",action=""}': "1x600",
}
"""Beside every case, so that texts have something to read."""
PAUSED = {'syncd_integration_health{integration="acme",state="paused"}': "1x600"}
MAINTAINED = {'syncd_maintenance{integration="acme"}': "1x600"}


@dataclass(frozen=True, slots=True)
class Case:
    """`fires` makes the alert fire at `at`; `silent` is as near as can be and does not; `clears` is when it is over again."""

    fires: Series
    silent: Series
    at: str = "10m"
    quiet_at: str = ""
    """When `silent` is looked at; `at` unless told."""
    clears: str = ""
    count: int = 1
    labels: Mapping[str, str] = field(default_factory=dict)


def counted(name: str, labels: str, values: str) -> Series:
    return {f"{name}{{{labels}}}": values}


def calls(**results: str) -> Series:
    return {f'syncd_calls_total{{{OF},result="{result.strip("_")}"}}': values for result, values in results.items()}


def refused(count: str) -> Series:
    """Calls that ended in a refused credential, whatever was tried."""
    return counted("syncd_auth_failures_total", OF, count)


def lag(age: str, interval: str) -> Series:
    of = 'integration="acme",resource="guests"'
    return {f"syncd_sync_lag_seconds{{{of}}}": age, f"syncd_sync_interval_seconds{{{of}}}": interval}


def condition(severity: str, **more: str) -> Series:
    words = {"subject": "integration", "integration": "acme", "partner": "guesty", "company": "ACME Inc", **more}
    labels = ",".join(
        f'{key}="{value}"' for key, value in {**words, "code": "auth-failed", "severity": severity}.items()
    )
    return {f"syncd_condition{{{labels}}}": "1x8 stale"}


def latency(slow: str) -> Series:
    """60 calls a minute, of which those beyond 5 s are what `slow` lets: buckets are cumulative."""
    of = 'partner="guesty",endpoint="/v1/listings"'
    name = "integration_api_call_duration_seconds_bucket"
    return {
        f'{name}{{{of},le="5.0"}}': slow,
        f'{name}{{{of},le="10.0"}}': "0+100x200",
        f'{name}{{{of},le="+Inf"}}': "0+100x200",
    }


def queue(length: str) -> Series:
    return {'integration_queue_length{queue_name="tasks normal"}': length}


def memory(used: str, ceiling: str = "0x200") -> Series:
    return {"syncd_resident_memory_bytes": used, "syncd_memory_ceiling_bytes": ceiling}


def webhooks(taken: str, refused: str, why: str = "signature") -> Series:
    return {
        'webhooks_received_total{partner="guesty",event_type="a"}': taken,
        f'webhook_failures_total{{partner="guesty",error_type="{why}"}}': refused,
    }


NEVER: Series = {}
ONE = {'up{job="other"}': "0x200", "syncd_build_info": "1x600"}

AGING = counted("syncd_credential_age_seconds", 'integration="acme",credential="key"', "2591990+15x20")
"""30 days: what is old is said beside it, of each credential."""

CASES: Mapping[str, Case] = {
    "SyncdConditionPage": Case(condition("page"), condition("ticket"), at="45s", clears="3m"),
    "SyncdConditionTicket": Case(condition("ticket"), condition("page"), at="45s", clears="3m"),
    "SyncdConditionNote": Case(condition("note"), condition("page"), at="45s", clears="3m"),
    "SyncdAuthRefused": Case(
        counted("syncd_auth_failures_total", OF, "0x4 1x100"),
        counted("syncd_auth_failures_total", OF, "7x100"),
        at="1m30s",
        clears="7m",
    ),
    "SyncdAuthFailures": Case(
        {
            f'syncd_auth_failures_total{{partner="guesty",integration="{name}"}}': "0x10 1+1x2 3x400"
            for name in ("acme", "beta", "gamma")
        },
        counted("syncd_auth_failures_total", OF, "0x10 1+1x2 3x400"),
        at="20m",
    ),
    "SyncdServerErrors": Case(calls(_5xx="0+1x200"), calls(_5xx="0x4 1x4 2x4 3x4 4x4 5x200")),
    "SyncdTooManyCalls": Case(calls(_429="0+2x40 82x400"), calls(_429="0+1x200"), clears="14m"),
    "SyncdHealthCheckSlow": Case(
        counted("syncd_health_check_seconds", OF, "1x4 4x20 1x100"),
        counted("syncd_health_check_seconds", OF, "1x4 4x3 1x100"),  # one slow check
        at="4m",
        clears="8m",
    ),
    "SyncdHealthCheckFailing": Case(
        counted("syncd_health_check_failures", OF, "0x4 1x4 2x4 3x4 0x100"),
        counted("syncd_health_check_failures", OF, "0x4 1x4 2x100"),
        at="4m",
        clears="6m",
    ),
    "SyncdErrorRatio": Case(
        calls(ok="0+100x200", _5xx="0+4x200", _401="0+2x200") | refused("0+2x200"),
        calls(ok="0+100x200", _5xx="0+5x200", _401="0+9x200", _404="0+50x200", _429="0+9x200") | refused("0x200"),
        at="20m",
    ),
    "SyncdCallsSlow": Case(latency("0+90x200"), latency("0+96x200"), at="20m"),
    "SyncdSyncLag": Case(lag("880+15x20 0x100", "300x200"), lag("0+15x200", "1800x200"), at="4m", clears="7m"),
    "SyncdWebhooksFailing": Case(webhooks("0+90x200", "0+10x200"), webhooks("0+96x200", "0+4x200"), at="20m"),
    "SyncdWebhooksSilent": Case(
        counted("syncd_webhooks_silent", 'integration="acme"', "0x2 2x8 0x100"),
        counted("syncd_webhooks_silent", 'integration="acme"', "1x100"),
        at="1m",
        clears="5m",
    ),
    "SyncdWebhookSecretUnread": Case(
        counted("syncd_webhook_secrets_unread", 'integration="acme"', "1x20 0x100"),
        counted("syncd_webhook_secrets_unread", 'integration="acme"', "0x4 1x3 0x100"),
        at="2m",
        clears="6m",
    ),
    "SyncdDeletionsHeld": Case(
        counted("syncd_held_deletions", 'integration="acme",resource="guests"', "0x4 21x8 0x100"),
        counted("syncd_held_deletions", 'integration="acme",resource="guests"', "0x100"),
        at="2m",
        clears="4m",
    ),
    "SyncdDeadLettersGrow": Case(
        counted("syncd_dead_letters", 'integration="acme"', "3x250 5x100"),
        counted("syncd_dead_letters", 'integration="acme"', "3x250 2x100"),
        at="68m",
    ),
    "SyncdCredentialExpires": Case(
        counted("syncd_credential_expires_timestamp_seconds", 'integration="acme",credential="key"', "600000x100"),
        counted("syncd_credential_expires_timestamp_seconds", 'integration="acme",credential="key"', "700000x100"),
    ),
    "SyncdCredentialExpiresSoon": Case(
        counted("syncd_credential_expires_timestamp_seconds", 'integration="acme",credential="key"', "80000x100"),
        counted("syncd_credential_expires_timestamp_seconds", 'integration="acme",credential="key"', "90000x100"),
    ),
    "SyncdCredentialOld": Case(
        {**AGING, 'syncd_credential_reminder_seconds{integration="acme",credential="key"}': "2592000x100"},
        {**AGING, 'syncd_credential_reminder_seconds{integration="acme",credential="key"}': "7776000x100"},
        at="2m",
    ),
    "SyncdDown": Case({'up{job="syncd",instance="one"}': "1x4 0x8 1x100"}, ONE, at="3m", clears="5m"),
    "SyncdAbsent": Case({"syncd_build_info": "1x4 stale _x30 1x100"}, ONE, at="4m", clears="12m"),
    "SyncdHeartbeatLost": Case(
        counted("syncd_heartbeat_timestamp_seconds", 'part="runner guesty"', "0+15x8 120x6 240+15x100"),
        counted("syncd_heartbeat_timestamp_seconds", 'part="runner guesty"', "0+15x8 120x3 180+15x100"),
        at="3m30s",
        quiet_at="2m45s",
        clears="5m",
    ),
    "SyncdWorkersDead": Case(
        {'syncd_workers_alive{partner="guesty"}': "8x4 0x8 8x100", 'syncd_workers{partner="guesty"}': "8x200"},
        {'syncd_workers_alive{partner="guesty"}': "0x200", 'syncd_workers{partner="guesty"}': "0x200"},
        at="3m",
        clears="4m",
    ),
    "SyncdQueueLong": Case(queue("1100+20x40 0x300"), queue("1500-30x50 0x100"), at="10m", quiet_at="8m", clears="35m"),
    "SyncdQueueBackedUp": Case(queue("9000-50x70 0x100"), queue("4900x200"), at="17m", clears="25m"),
    "SyncdMemoryGrows": Case(memory("510000000x50 1000x100"), memory("490000000x200"), at="12m", clears="14m"),
    "SyncdMemoryHigh": Case(memory("1050000000x40 1000x100"), memory("950000000x200"), at="7m", clears="12m"),
    "SyncdLoopLate": Case(
        {"syncd_loop_lag_seconds": "0x4 0.8x20 0x100"},
        {"syncd_loop_lag_seconds": "0x4 3x1 0x100"},
        at="5m",
        clears="9m",
    ),
    "SyncdIntakeDown": Case(
        {"syncd_intake_up": "1x4 0x8 1x100"}, {"syncd_intake_up": "1x4 0x2 1x100"}, at="3m", clears="4m"
    ),
    "SyncdReloadFailed": Case(
        {"syncd_config_last_reload_successful": "1x4 0x20 1x100"},
        {"syncd_config_last_reload_successful": "1x100"},
        at="5m",
        clears="8m",
    ),
    "SyncdScopeUnowned": Case(
        {f'syncd_lease_held{{scope="s",instance="{one}"}}': "0x20 1x100" for one in "ab"},
        {'syncd_lease_held{scope="s",instance="a"}': "0x200", 'syncd_lease_held{scope="s",instance="b"}': "1x200"},
        at="4m",
        clears="6m",
    ),
    "SyncdScopeWanders": Case(
        {'syncd_lease_held{scope="s",instance="a"}': "1 0 1 0 1 0 1x200"},
        {'syncd_lease_held{scope="s",instance="a"}': "1 0 1x200"},
        at="5m",
        clears="40m",
    ),
    "SyncdPruneUnfinished": Case(
        counted("syncd_prune_unfinished", 'table="changes"', "1x260 0x100"),
        counted("syncd_prune_unfinished", 'table="changes"', "0x4 1x230 0x100"),
        at="65m",
        clears="70m",
    ),
    "SyncdAlertPushFailing": Case(
        counted("syncd_alert_pushes_total", 'result="failed"', "0x4 1x400"),
        counted("syncd_alert_pushes_total", 'result="failed"', "0x400"),
        at="5m",
        clears="40m",
    ),
}
"""All but the watchdog, which always fires."""
