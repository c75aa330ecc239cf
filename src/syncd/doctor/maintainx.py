"""The MaintainX production checklist: steps 1 to 6, the run after deployment, the go-live table, in their order and words."""

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

MAINTAINX = Checklist(
    "maintainx",
    "MaintainX production checklist",
    (
        Group(
            "Step 1: Authentication and security",
            (
                Line("maintainx-1.1", "API key in a secret manager", secrets.credentials_kept,
                     "API key stored in secret manager (not env file or code)", "P0"),
                Line("maintainx-1.2", ".env and *.key files in .gitignore", files.env_ignored,
                     ".env and *.key files in .gitignore", "P0"),
                Line("maintainx-1.3", "Pre-commit hook against secrets", files.secret_hook,
                     "Pre-commit hook blocking secret commits", "P0"),
                Line("maintainx-1.4", "Key rotated every 90 days", secrets.rotation_schedule,
                     "API key rotation schedule set (every 90 days)", "P0"),
                Line("maintainx-1.5", "Input validation", data.input_checked,
                     "Input validation on all user-provided data (Zod or similar)", "P1"),
                Line("maintainx-1.6", "Production API key works", secrets.authenticated,
                     "Verify production API key works", "P0"),
            ),
        ),
        Group(
            "Step 2: Error handling and resilience",
            (
                Line("maintainx-2.1", "Retry with backoff for 429 and 5xx", errors.backoff_with_jitter,
                     "Retry logic with exponential backoff for 429 and 5xx errors", "P0"),
                Line("maintainx-2.2", "Retry-After honored on 429", errors.retry_after,
                     "Retry-After header honored on 429 responses", "P0"),
                Line("maintainx-2.3", "Circuit breaker", errors.breaker,
                     "Circuit breaker for cascading failure prevention", "P0"),
                Line("maintainx-2.4", "Degrades while MaintainX is down", errors.degrades,
                     "Graceful degradation when MaintainX API is down", "P0"),
                Line("maintainx-2.5", "Request timeout (30 s)", errors.timeout,
                     "Request timeout set (30 seconds recommended)", "P0"),
            ),
        ),
        Group(
            "Step 3: Data integrity",
            (
                Line("maintainx-3.1", "Cursor pagination of all lists", data.paged,
                     "Cursor-based pagination handles all list endpoints", "P0"),
                Line("maintainx-3.2", "Webhooks idempotent", data.deduplicated,
                     "Idempotency keys on webhook handlers (prevent duplicate processing)", "P0"),
                Line("maintainx-3.3", "Sync state persisted", data.state_kept,
                     "Data sync state persisted (survives restarts)", "P0"),
                Line("maintainx-3.4", "Reconciliation daily", data.reconciled_daily,
                     "Reconciliation job runs daily to detect drift", "P2"),
                Line("maintainx-3.5", "Status transitions valid only", data.transitions,
                     "Work order status transitions follow valid paths only", "P0"),
            ),
        ),
        Group(
            "Step 4: Observability",
            (
                Line("maintainx-4.1", "Structured JSON logging", health.structured,
                     "Structured JSON logging (not console.log in production)", "P0"),
                Line("maintainx-4.2", "Metrics: count, latency, errors", health.metrics,
                     "API request metrics (count, latency, error rate)", "P0"),
                Line("maintainx-4.3", "/health tells of connectivity", health.health,
                     "Health check endpoint (/health) returning API connectivity status", "P0"),
                Line("maintainx-4.4", "/ready for orchestration", health.ready,
                     "Readiness probe (/ready) for container orchestration", "P0"),
                Line("maintainx-4.5", "Alerts: errors, latency, lag",
                     health.alert("error rate > 5", "latency > 5", "sync lag > 15"),
                     "Alerting configured for error rate > 5%, latency > 5s, sync lag > 15min", "P0"),
            ),
        ),
        Group(
            "Step 5: Performance",
            (
                Line("maintainx-5.1", "Connections pooled, keep-alive", limits.keep_alive,
                     "Connection pooling with keep-alive enabled", "P1"),
                Line("maintainx-5.2", "Static resources cached", limits.cached,
                     "Response caching for static resources (users, locations, teams)", "P1"),
                Line("maintainx-5.3", "Page size 100", limits.page_size, "Max page size (100) used for pagination", "P1"),
                Line("maintainx-5.4", "Webhooks instead of polling", webhooks.told,
                     "Webhook-driven updates instead of polling where possible", "P1"),
                Line("maintainx-5.5", "Within API quotas", limits.within_quota,
                     "Rate limiting to stay within API quotas", "P1"),
            ),
        ),
        Group(
            "Step 6: Deployment",
            (
                Line("maintainx-6.1", "Multi-stage image", release.image,
                     "Multi-stage Docker build (small production image)", "P1"),
                Line("maintainx-6.2", "Non-root user", release.unprivileged, "Non-root user in container", "P1"),
                Line("maintainx-6.3", "Resource limits", release.resource_limits, "Resource limits set (CPU, memory)", "P1"),
                Line("maintainx-6.4", "Always one for webhooks", release.always_one,
                     "Auto-scaling configured (min 1 instance for webhooks)", "P1"),
                Line("maintainx-6.5", "Rollback documented and tested", release.rollback_tested,
                     "Rollback procedure documented and tested", "P2"),
            ),
        ),
        Group(
            "After deployment",
            (Line("maintainx-7.1", "Verification run, work order and all", release.verified,
                  "Post-deployment verification script run successfully", "P0"),),
        ),
        Group(
            "Go-live readiness",
            (
                Line("maintainx-8.1", "Auth: secret manager, no hardcoded keys", None,
                     "| Auth | Secret manager, no hardcoded keys | P0 |", "P0", sums=("maintainx-1.1", "maintainx-1.2")),
                Line("maintainx-8.2", "Errors: retry, backoff for 429/5xx", None,
                     "| Errors | Retry + backoff for 429/5xx | P0 |", "P0", sums=("maintainx-2.1", "maintainx-2.2")),
                Line("maintainx-8.3", "Data: pagination, idempotency, state", None,
                     "| Data | Pagination, idempotency, sync state | P0 |", "P0",
                     sums=("maintainx-3.1", "maintainx-3.2", "maintainx-3.3")),
                Line("maintainx-8.4", "Observability: logs, metrics, health", None,
                     "| Observability | Logging, metrics, health check | P0 |", "P0",
                     sums=("maintainx-4.1", "maintainx-4.2", "maintainx-4.3")),
                Line("maintainx-8.5", "Performance: pooling, caching", None,
                     "| Performance | Connection pooling, caching | P1 |", "P1", sums=("maintainx-5.1", "maintainx-5.2")),
                Line("maintainx-8.6", "Security: input validation", None,
                     "| Security | Input validation, audit logging | P1 |", "P1", sums=("maintainx-1.5",)),
                Line("maintainx-8.7", "Security: audit logging", health.audited,
                     "| Security | Input validation, audit logging | P1 |", "P1"),
                Line("maintainx-8.8", "Deployment: image, user, limits", None,
                     "| Deployment | Docker, non-root, resource limits | P1 |", "P1",
                     sums=("maintainx-6.1", "maintainx-6.2", "maintainx-6.3")),
                Line("maintainx-8.9", "Recovery: rollback, reconciliation", None,
                     "| Recovery | Rollback procedure, reconciliation | P2 |", "P2",
                     sums=("maintainx-6.5", "maintainx-3.4")),
            ),
        ),
    ),
    applies=lambda one: one.kind == "maintainx",
)  # fmt: skip
