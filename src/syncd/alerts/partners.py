"""Alerts about partners and integrations, with the thresholds of the checklists syncd was founded on.

Counts are taken from `syncd_calls_total` and `syncd_auth_failures_total`, which stand at 0 from the start: so the first
failure of all is seen, and the integration is named. A series of `integration_api_calls_total` begins with the first call of
its kind, in which Prometheus sees no increase.
"""

from __future__ import annotations

from syncd.alerts.alert import LAST_AUTH, SAYS, WHOSE, About, Alert, Severity

ATTIO = "Attio checklist, phase 6"
MAINTAINX = "MaintainX checklist, step 4"
LESSONS = "40 integrations"

_PARTNER = "{{ $labels.partner | title }}"
_EACH = "sum by (partner, integration)"
_A_MINUTE = '{{ $value | printf "%.1f" }} a minute'
_PERCENT = "{{ $value | humanizePercentage }}"
_WRONG = '{result!~"ok|401|403|404|429"}'
"""A record that is gone is no error, and what is refused for its number has an alert of its own. A refused credential counts
once a call has ended so: a 401 that a renewed token mended is none."""
_REFUSED = 'sum by (partner) (rate(webhook_failures_total{error_type!~"address|unknown|flood"}[10m]))'
"""Not: what is taken all the same, what nobody here has, what shall come later for its number."""
_TAKEN = "sum by (partner) (rate(webhooks_received_total[10m]))"


PARTNERS = (
    Alert(
        name="SyncdAuthRefused",
        about=About.INTEGRATION,
        severity=Severity.PAGE,
        code="auth-failed",
        expr=f"{_EACH} (increase(syncd_auth_failures_total[5m])) > 0",
        summary=f"{_PARTNER} API 401/403 errors for {WHOSE}",
        cause="the customer revoked access, or the secret was rotated",
        action="syncd credential test {{ $labels.integration }}",
        source=f"{ATTIO}: 401/403 errors > 0 (P1); {LESSONS}: AuthenticationFailures > 0",
        facts=LAST_AUTH + SAYS,
    ),
    Alert(
        name="SyncdAuthFailures",
        about=About.PARTNER,
        severity=Severity.PAGE,
        code="auth-failed",
        expr="sum by (partner) (increase(syncd_auth_failures_total[1h])) > 5",
        summary=f'{_PARTNER} API: {{{{ $value | printf "%.0f" }}}} calls refused for their credential within an hour',
        cause="a credential of this partner was revoked, or lacks a right that something asks for again and again",
        action="syncd status",
        source=f"{LESSONS}, lesson 3: auth failures of the last hour > 5",
    ),
    Alert(
        name="SyncdServerErrors",
        about=About.INTEGRATION,
        severity=Severity.PAGE,
        code="partner-down",
        expr=f'{_EACH} (rate(syncd_calls_total{{result="5xx"}}[2m])) * 60 > 3',
        hold="1m",
        summary=f"{_PARTNER} API 5xx errors for {WHOSE}: {_A_MINUTE}",
        cause="an outage at the partner",
        action="syncd breaker {{ $labels.integration }}",
        source=f"{ATTIO}: 5xx errors > 3/min (P1)",
        facts=LAST_AUTH + SAYS,
    ),
    Alert(
        name="SyncdTooManyCalls",
        about=About.INTEGRATION,
        severity=Severity.TICKET,
        code="too-many-calls",
        expr=f'{_EACH} (rate(syncd_calls_total{{result="429"}}[2m])) * 60 > 5',
        hold="1m",
        summary=f"{_PARTNER} API 429 answers for {WHOSE}: {_A_MINUTE}",
        cause="somebody else spends from the same limit, or the partner has lowered it",
        action="syncd plan {{ $labels.integration }}",
        source=f"{ATTIO}: 429 errors > 5/min (P2)",
        facts=SAYS,
    ),
    Alert(
        name="SyncdHealthCheckSlow",
        about=About.INTEGRATION,
        severity=Severity.TICKET,
        code="partner-slow",
        expr="syncd_health_check_seconds > 3",
        hold="2m",
        summary=f"{_PARTNER} API: health check of {WHOSE} takes {{{{ $value | humanizeDuration }}}}",
        cause="the partner, or the way to it, is slow",
        action="syncd status",
        source=f"{ATTIO}: health check latency > 3000 ms (P2)",
        facts=SAYS,
    ),
    Alert(
        name="SyncdHealthCheckFailing",
        about=About.INTEGRATION,
        severity=Severity.PAGE,
        code="partner-down",
        expr="syncd_health_check_failures >= 3",
        summary=f"{_PARTNER} API: {{{{ $value }}}} health checks in a row failed for {WHOSE}",
        cause="an outage at the partner, or its credential is refused",
        action="syncd credential test {{ $labels.integration }}",
        source=f"{ATTIO}: health check failure 3 consecutive times (P1)",
        facts=LAST_AUTH + SAYS,
    ),
    Alert(
        name="SyncdErrorRatio",
        about=About.INTEGRATION,
        severity=Severity.TICKET,
        code="error-ratio",
        expr=f"({_EACH} (rate(syncd_calls_total{_WRONG}[5m])) + {_EACH} (rate(syncd_auth_failures_total[5m])))"
        f" / {_EACH} (rate(syncd_calls_total[5m])) > 0.05",
        hold="10m",
        summary=f"{_PARTNER} API: {_PERCENT} of the calls of {WHOSE} fail",
        cause="an outage of a part of the partner's API, a missing right, or a changed API",
        action="syncd status",
        source=f"{MAINTAINX}: error rate > 5 %; {LESSONS}: HighAPIErrorRate, a rate where a ratio is meant",
        facts=SAYS,
    ),
    Alert(
        name="SyncdCallsSlow",
        about=About.PARTNER,
        severity=Severity.TICKET,
        code="partner-slow",
        expr="histogram_quantile(0.95, sum by (partner, le) (rate(integration_api_call_duration_seconds_bucket[5m]))) > 5",
        hold="10m",
        summary=f"{_PARTNER} API: one call in twenty takes longer than {{{{ $value | humanizeDuration }}}}",
        cause="the partner is slow, or pages are larger than it copes with",
        action="syncd status",
        source=f"{MAINTAINX}: latency > 5 s; {LESSONS}: SlowAPIResponses, p95 > 5 s for 10 m",
    ),
    Alert(
        name="SyncdSyncLag",
        about=About.INTEGRATION,
        severity=Severity.TICKET,
        code="sync-lag",
        expr="syncd_sync_lag_seconds > clamp_min(2 * syncd_sync_interval_seconds, 900)",
        hold="1m",
        summary=f"{{{{ $labels.resource }}}} of {WHOSE} is {{{{ $value | humanizeDuration }}}} old",
        cause="runs fail, wait for a limit, or take longer than their interval",
        action="syncd plan {{ $labels.integration }}",
        source=f"{MAINTAINX}: sync lag > 15 min; two intervals where that is longer",
        facts=SAYS,
    ),
    Alert(
        name="SyncdWebhooksFailing",
        about=About.PARTNER,
        severity=Severity.TICKET,
        code="webhooks-failing",
        expr=f"{_REFUSED} / ({_REFUSED} + on (partner) ({_TAKEN} or on (partner) 0 * {_REFUSED})) > 0.05",
        hold="5m",
        summary=f"{_PARTNER}: {_PERCENT} of its webhooks are refused or cannot be worked on",
        cause="the signature's secret was replaced at the partner, or strangers knock",
        action="syncd status",
        source=f"{LESSONS}, webhooks 4: failure rate > 5 %",
    ),
    Alert(
        name="SyncdWebhooksSilent",
        about=About.INTEGRATION,
        severity=Severity.TICKET,
        code="webhooks-silent",
        expr="syncd_webhooks_silent == 2",
        summary=f"No webhook comes for {WHOSE}, and pulls find what they should have told",
        cause="the subscription is gone, or leads elsewhere",
        action="syncd webhook repair {{ $labels.integration }}",
        facts=SAYS,
    ),
    Alert(
        name="SyncdWebhookSecretUnread",
        about=About.INTEGRATION,
        severity=Severity.PAGE,
        code="webhook-secret",
        expr="syncd_webhook_secrets_unread == 1",
        hold="1m",
        summary=f"Webhooks of {WHOSE} are sent back: a secret they are verified with cannot be read",
        cause="the secret's file is gone, or its rights changed",
        action="syncd check --env",
        facts=SAYS,
    ),
    Alert(
        name="SyncdDeletionsHeld",
        about=About.INTEGRATION,
        severity=Severity.TICKET,
        code="deletions-held",
        expr="syncd_held_deletions > 0",
        summary=f"{{{{ $value }}}} deletions of {{{{ $labels.resource }}}} wait for a person: {WHOSE}",
        cause="a right was taken away, or so many records really are gone",
        action="syncd reconcile {{ $labels.integration }}/{{ $labels.resource }}",
        facts=SAYS,
    ),
    Alert(
        name="SyncdDeadLettersGrow",
        about=About.INTEGRATION,
        severity=Severity.TICKET,
        code="dead-letters-grow",
        expr="delta(syncd_dead_letters[1h]) >= 1",
        hold="5m",
        summary=f'{{{{ $value | printf "%.0f" }}}} more dead letters within an hour for {WHOSE}',
        cause="the partner refuses requests, or sends what the driver cannot read",
        action="syncd dlq list {{ $labels.integration }}",
        source=f"{LESSONS}: a webhook or task that failed for good is told of",
        facts=SAYS,
    ),
    Alert(
        name="SyncdCredentialExpires",
        about=About.INTEGRATION,
        severity=Severity.TICKET,
        code="credential-expires",
        expr="syncd_credential_expires_timestamp_seconds - time() < 7 * 86400",
        summary=f"A credential of {WHOSE} expires in {{{{ $value | humanizeDuration }}}}",
        cause="nobody has renewed it yet, and syncd cannot do so by itself",
        action="syncd credential list {{ $labels.integration }}",
        facts=LAST_AUTH,
    ),
    Alert(
        name="SyncdCredentialExpiresSoon",
        about=About.INTEGRATION,
        severity=Severity.PAGE,
        code="credential-expires",
        expr="syncd_credential_expires_timestamp_seconds - time() < 86400",
        summary=f"A credential of {WHOSE} expires in {{{{ $value | humanizeDuration }}}}",
        cause="nobody has renewed it yet, and syncd cannot do so by itself",
        action="syncd credential list {{ $labels.integration }}",
        facts=LAST_AUTH,
    ),
    Alert(
        name="SyncdCredentialOld",
        about=About.INTEGRATION,
        severity=Severity.NOTE,
        code="credential-old",
        expr="syncd_credential_age_seconds > syncd_credential_reminder_seconds",
        summary=f"A credential of {WHOSE} is {{{{ $value | humanizeDuration }}}} old",
        cause="it was never rotated, or long ago",
        action="syncd credential list {{ $labels.integration }}",
    ),
)
