"""The Attio production checklist, phases 1 to 9, in its order and words."""

from __future__ import annotations

from syncd.doctor import probes_data as data
from syncd.doctor import probes_errors as errors
from syncd.doctor import probes_files as files
from syncd.doctor import probes_health as health
from syncd.doctor import probes_limits as limits
from syncd.doctor import probes_release as release
from syncd.doctor import probes_secrets as secrets
from syncd.doctor import probes_webhooks as webhooks
from syncd.doctor.model import Checklist, Group, Line

ATTIO = Checklist(
    "attio",
    "Attio production checklist",
    (
        Group(
            "Phase 1: Authentication and secrets",
            (
                Line("attio-1.1", "Production token with minimal scopes", secrets.minimal_scopes,
                     "Production token created with minimal scopes (see attio-security-basics)"),
                Line("attio-1.2", "Token in a secrets manager, not an env file", secrets.credentials_kept,
                     "Token stored in platform secrets manager (not env file on disk)"),
                Line("attio-1.3", "Separate tokens for dev, staging, prod", secrets.separate_tokens,
                     "Separate tokens for dev/staging/prod environments"),
                Line("attio-1.4", ".env files in .gitignore", files.env_ignored, ".env files in .gitignore"),
                Line("attio-1.5", "No tokens in logs or error messages", secrets.kept_out_of_logs,
                     "No tokens in logs, error messages, or client-side bundles"),
                Line("attio-1.6", "Token rotation documented", secrets.rotation_documented,
                     "Token rotation procedure documented"),
                Line("attio-1.7", "Production token works: 200", secrets.authenticated, "Must return 200"),
            ),
        ),
        Group(
            "Phase 2: Error handling",
            (
                Line("attio-2.1", "All API calls wrapped", errors.every_status, "All API calls wrapped in try/catch"),
                Line("attio-2.2", "Retryable told from fatal errors", errors.retryable,
                     "AttioApiError class distinguishes retryable (429, 5xx) from fatal errors"),
                Line("attio-2.3", "Exponential backoff with jitter on 429", errors.backoff_with_jitter,
                     "Exponential backoff with jitter on 429 responses"),
                Line("attio-2.4", "Retry-After honored, a date too", errors.retry_after,
                     "Retry-After header honored (Attio sends a date, not seconds)"),
                Line("attio-2.5", "5xx errors retried", errors.server_errors_retried,
                     "5xx errors retried (Attio may have transient issues)"),
                Line("attio-2.6", "400/422 logged with the request", errors.refusals_kept,
                     "400/422 validation errors logged with request body for debugging"),
                Line("attio-2.7", "403 scope errors actionable", errors.scope_refusals,
                     "403 scope errors produce actionable log messages"),
                Line("attio-2.8", "404 handled (deleted, merged)", errors.gone,
                     "404 errors handled gracefully (records can be deleted/merged)"),
            ),
        ),
        Group(
            "Phase 3: Rate limiting",
            (
                Line("attio-3.1", "Queue-based throttling", limits.throttled,
                     "Queue-based throttling implemented (p-queue or similar)"),
                Line("attio-3.2", "Concurrency of 5 to 10", limits.concurrency,
                     "Concurrency limited to 5-10 parallel requests"),
                Line("attio-3.3", "Bulk by query: 1 POST, not N GETs", limits.bulk_queries,
                     "Bulk operations use query endpoint (1 POST) instead of N GETs"),
                Line("attio-3.4", "Batch imports page by offset", limits.offset_pages,
                     "Batch imports use offset-based pagination, not individual fetches"),
                Line("attio-3.5", "Warned when a limit is near", limits.near_limit,
                     "Rate limit monitor logs approaching-limit warnings"),
                Line("attio-3.6", "10 s sliding window, one a workspace", limits.sliding_points,
                     "Attio uses a 10-second sliding window."),
            ),
        ),
        Group(
            "Phase 4: Data integrity",
            (
                Line("attio-4.1", "Records made by PUT (assert)", data.upserts,
                     "Record creation uses PUT (assert) for idempotent upserts where possible"),
                Line("attio-4.2", "Email and domain validated", data.emails_checked,
                     "Email/domain values validated before sending to API"),
                Line("attio-4.3", "Phone numbers in E.164", data.phones_checked,
                     'Phone numbers formatted in E.164 ("+14155551234")'),
                Line("attio-4.4", "References use verified record ids", data.references_checked,
                     "Record-reference attributes use verified target_record_ids"),
                Line("attio-4.5", "Pagination handles all pages", data.paged,
                     "Pagination handles all pages (check data.length === limit to know if more)"),
                Line("attio-4.6", "Webhooks deduplicated by event id", data.deduplicated,
                     "Webhook events processed idempotently (deduplicate by event ID)"),
            ),
        ),
        Group(
            "Phase 5: Health check endpoint",
            (Line("attio-5.1", "/health tells of Attio: status, latency", health.health,
                 "include Attio in your health check"),),
        ),
        Group(
            "Phase 6: Monitoring and alerting",
            (
                Line("attio-6.1", "Health check hits Attio every 60 s", health.probed_each_minute,
                     "Health check endpoint hits Attio every 60s"),
                Line("attio-6.2", "Alert: 5xx > 3/min", health.alert("5xx errors > 3/min"),
                     "Alert on: 5xx errors > 3/min (P1)", "P1"),
                Line("attio-6.3", "Alert: 429 > 5/min", health.alert("429 errors > 5/min"),
                     "Alert on: 429 errors > 5/min (P2)", "P2"),
                Line("attio-6.4", "Alert: 401/403 > 0", health.alert("401/403 errors > 0"),
                     "Alert on: 401/403 errors > 0 (P1 -- token may be revoked)", "P1"),
                Line("attio-6.5", "Alert: health latency > 3 s", health.alert("ealth check latency > 3"),
                     "Alert on: Health check latency > 3000ms (P2)", "P2"),
                Line("attio-6.6", "Alert: 3 failed health checks", health.alert("ealth check failure 3"),
                     "Alert on: Health check failure 3 consecutive times (P1)", "P1"),
                Line("attio-6.7", "All calls logged", health.logged,
                     "Log all Attio API calls with: method, path, status, duration_ms"),
            ),
        ),
        Group(
            "Phase 7: Graceful degradation",
            (
                Line("attio-7.1", "Circuit breaker: 5 failures, 30 s", errors.breaker,
                     "Circuit breaker: stop calling Attio if consistently failing"),
                Line("attio-7.2", "An outage takes nothing else down", errors.degrades,
                     "Attio outage takes down your entire app"),
            ),
        ),
        Group(
            "Phase 8: Webhook production config",
            (
                Line("attio-8.1", "Webhook endpoint uses HTTPS", webhooks.https, "Webhook endpoint uses HTTPS (required)"),
                Line("attio-8.2", "Signature verification", webhooks.verified,
                     "Signature verification implemented (see attio-security-basics)"),
                Line("attio-8.3", "Replays older than 5 min refused", webhooks.replays,
                     "Replay attack protection: reject timestamps > 5 minutes old"),
                Line("attio-8.4", "Events deduplicated by id", data.deduplicated,
                     "Idempotency: deduplicate events by event ID"),
                Line("attio-8.5", "Answered quickly, worked on later", webhooks.quick,
                     "Webhook handler returns 200 quickly, processes async"),
                Line("attio-8.6", "What fails is sent again (5xx)", webhooks.retried,
                     "Failed processing triggers retry (return 5xx to Attio)"),
                Line("attio-8.7", "Webhook secret in a secrets manager", secrets.webhook_secrets_kept,
                     "Webhook secret stored in secrets manager"),
            ),
        ),
        Group(
            "Phase 9: Rollback plan",
            (
                Line("attio-9.1", "Previous artifact available", release.previous_artifact,
                     "Previous deployment artifact available"),
                Line("attio-9.2", "Migrations backwards-compatible", release.migrations,
                     "Database migrations are backwards-compatible"),
                Line("attio-9.3", "Switched off without a deploy", release.switch,
                     "Feature flag to disable Attio integration without deploy"),
                Line("attio-9.4", "Documented: back, whom, what to watch", release.documented,
                     "Documented: how to roll back, who to notify, what to monitor"),
            ),
        ),
    ),
    applies=lambda one: one.kind == "attio",
)  # fmt: skip
