"""What the founding checklists ask of any partner, for integrations that have no checklist of their own."""

from __future__ import annotations

from syncd.doctor import probes_data as data
from syncd.doctor import probes_errors as errors
from syncd.doctor import probes_health as health
from syncd.doctor import probes_limits as limits
from syncd.doctor import probes_release as release
from syncd.doctor import probes_secrets as secrets
from syncd.doctor import probes_webhooks as webhooks
from syncd.doctor.attio import ATTIO
from syncd.doctor.maintainx import MAINTAINX
from syncd.doctor.model import Checklist, Group, Line

_OWN = (ATTIO, MAINTAINX)

EVERYONE = Checklist(
    "partner",
    "Every other integration",
    (
        Group(
            "Credentials",
            (
                Line("partner-1.1", "It works", secrets.authenticated, priority="P0"),
                Line("partner-1.2", "Kept where only syncd reads it", secrets.credentials_kept, priority="P0"),
                Line("partner-1.3", "No scope beyond what is needed", secrets.minimal_scopes, priority="P0"),
                Line("partner-1.4", "Another one on staging", secrets.separate_tokens, priority="P0"),
                Line("partner-1.5", "Never in logs or errors", secrets.kept_out_of_logs, priority="P0"),
                Line("partner-1.6", "Rotation documented", secrets.rotation_documented, priority="P0"),
                Line("partner-1.7", "Rotated every 90 days", secrets.rotation_schedule, priority="P0"),
            ),
        ),
        Group(
            "Errors",
            (
                Line("partner-2.1", "Every failure is one of ours", errors.every_status, priority="P0"),
                Line("partner-2.2", "Retryable told from fatal", errors.retryable, priority="P0"),
                Line("partner-2.3", "Backoff with jitter", errors.backoff_with_jitter, priority="P0"),
                Line("partner-2.4", "Retry-After honored", errors.retry_after, priority="P0"),
                Line("partner-2.5", "5xx retried", errors.server_errors_retried, priority="P0"),
                Line("partner-2.6", "Refusals kept with the request", errors.refusals_kept, priority="P0"),
                Line("partner-2.7", "403 actionable", errors.scope_refusals, priority="P0"),
                Line("partner-2.8", "404 handled", errors.gone, priority="P0"),
                Line("partner-2.9", "Circuit breaker", errors.breaker, priority="P0"),
                Line("partner-2.10", "An outage takes nothing else down", errors.degrades, priority="P0"),
                Line("partner-2.11", "Request timeout", errors.timeout, priority="P0"),
            ),
        ),
        Group(
            "Limits",
            (
                Line("partner-3.1", "Within the partner's quota", limits.within_quota, priority="P1"),
                Line("partner-3.2", "Calls at once bounded", limits.limited_concurrency, priority="P1"),
                Line("partner-3.3", "Warned when a limit is near", limits.near_limit, priority="P1"),
                Line("partner-3.4", "Connections pooled, keep-alive", limits.keep_alive, priority="P1"),
                Line("partner-3.5", "Static resources cached", limits.cached, priority="P1"),
                Line("partner-3.6", "Full pages", limits.page_size, priority="P1"),
            ),
        ),
        Group(
            "Data",
            (
                Line("partner-4.1", "All pages", data.paged, priority="P0"),
                Line("partner-4.2", "Sync state persisted", data.state_kept, priority="P0"),
                Line("partner-4.3", "Webhooks deduplicated", data.deduplicated, priority="P0"),
                Line("partner-4.4", "Pushes idempotent", data.upserts, priority="P0"),
                Line("partner-4.5", "Email and domain validated", data.emails_checked, priority="P1"),
                Line("partner-4.6", "Phone numbers in E.164", data.phones_checked, priority="P1"),
                Line("partner-4.7", "Input validation", data.input_checked, priority="P1"),
                Line("partner-4.8", "Status transitions valid only", data.transitions, priority="P0"),
                Line("partner-4.9", "Reconciliation daily", data.reconciled_daily, priority="P2"),
            ),
        ),
        Group(
            "Webhooks",
            (
                Line("partner-5.1", "Webhooks instead of polling", webhooks.told, priority="P1"),
                Line("partner-5.2", "HTTPS", webhooks.https, priority="P0"),
                Line("partner-5.3", "Signature verification", webhooks.verified, priority="P0"),
                Line("partner-5.4", "Replays older than 5 min refused", webhooks.replays, priority="P0"),
                Line("partner-5.5", "Answered quickly, worked on later", webhooks.quick, priority="P0"),
                Line("partner-5.6", "What fails is sent again", webhooks.retried, priority="P0"),
                Line("partner-5.7", "Secret kept where only syncd reads it", secrets.webhook_secrets_kept, priority="P0"),
            ),
        ),
        Group(
            "Health and alerts",
            (
                Line("partner-6.1", "/health: status, latency", health.health, priority="P0"),
                Line("partner-6.2", "Asked when nothing else calls it", health.probed_each_minute, priority="P0"),
                Line("partner-6.3", "Metrics: count, latency, errors", health.metrics, priority="P0"),
                Line("partner-6.4", "All calls logged", health.logged, priority="P0"),
                Line("partner-6.5", "Alert: 401/403 > 0", health.alert("401/403 errors > 0"), priority="P1"),
                Line("partner-6.6", "Alert: 5xx > 3/min", health.alert("5xx errors > 3/min"), priority="P1"),
                Line("partner-6.7", "Alert: 429 > 5/min", health.alert("429 errors > 5/min"), priority="P2"),
                Line("partner-6.8", "Alerts: errors, latency, lag",
                     health.alert("error rate > 5", "latency > 5", "sync lag > 15"), priority="P0"),
            ),
        ),
        Group(
            "Way back",
            (
                Line("partner-7.1", "Switched off without a deploy", release.switch, priority="P2"),
                Line("partner-7.2", "syncd verify went well", release.verified, priority="P0"),
            ),
        ),
    ),
    applies=lambda one: not any(own.applies is not None and own.applies(one) for own in _OWN),
)  # fmt: skip
