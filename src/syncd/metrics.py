"""All metrics, declared once. The seeds' names are binding; the rest begins with `syncd_`.

Labels are bounded: partner, integration, resource, scope and tier come from configuration, `endpoint` is the driver's
route template (never a path), `status_code` a number or one of timeout, refused, reset, tls, breaker, cut; the `reason`
of a wait is a tier's name, concurrency, lane or paused.
"""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

REGISTRY = CollectorRegistry(auto_describe=True)

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)

# The seeds' names.
API_CALLS = Counter(
    "integration_api_calls_total", "Calls to partners.", ["partner", "endpoint", "status_code"], registry=REGISTRY
)
API_CALL_SECONDS = Histogram(
    "integration_api_call_duration_seconds",
    "Seconds from send to the complete answer.",
    ["partner", "endpoint"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
QUEUE_LENGTH = Gauge("integration_queue_length", "Waiting items of a queue.", ["queue_name"], registry=REGISTRY)
CHAOS_FAULTS = Counter(
    "syncd_chaos_faults_total", "Calls that met a fault on purpose.", ["integration", "fault"], registry=REGISTRY
)
WEBHOOKS_RECEIVED = Counter(
    "webhooks_received_total", "Deliveries received.", ["partner", "event_type"], registry=REGISTRY
)
WEBHOOK_SECONDS = Histogram(
    "webhook_processing_seconds",
    "Seconds to process one delivery.",
    ["partner"],
    buckets=_SECONDS,
    registry=REGISTRY,
)
WEBHOOK_FAILURES = Counter(
    "webhook_failures_total", "Deliveries refused or failed.", ["partner", "error_type"], registry=REGISTRY
)

# Intake. Not counted as failures: `webhook_failures_total` has them by what refused them (signature, stale, malformed,
# disabled, unknown, flood, not_stored, intake_full).
WEBHOOK_DUPLICATES = Counter(
    "syncd_webhook_duplicates_total", "Deliveries that were known already.", ["partner"], registry=REGISTRY
)
INTAKE_UP = Gauge("syncd_intake_up", "1 while deliveries can be stored.", registry=REGISTRY)
INTAKE_BATCH_ROWS = Histogram(
    "syncd_intake_batch_rows",
    "Deliveries that shared a commit.",
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500),
    registry=REGISTRY,
)
INTAKE_COMMIT_SECONDS = Histogram(
    "syncd_intake_commit_seconds",
    "Seconds to commit one batch of deliveries.",
    buckets=(0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0),
    registry=REGISTRY,
)

# Calls by integration. They stand at 0 from the start, so that the first failure of all is an increase.
CALLS = Counter(
    "syncd_calls_total",
    "Calls by what came of them: ok, 401, 403, 404, 429, 4xx (other ones), 5xx, timeout, connect, other.",
    ["partner", "integration", "result"],
    registry=REGISTRY,
)
AUTH_FAILURES = Counter(
    "syncd_auth_failures_total",
    "Calls that ended in 401 or 403 although the credential was renewed where it can be.",
    ["partner", "integration"],
    registry=REGISTRY,
)
HEALTH_CHECK_SECONDS = Gauge(
    "syncd_health_check_seconds",
    "How long the latest probe of a partner took, or the latest call where others kept it from being probed.",
    ["partner", "integration"],
    registry=REGISTRY,
)
HEALTH_CHECK_FAILURES = Gauge(
    "syncd_health_check_failures",
    "Health checks in a row, one a minute, that found no good answer since the one before.",
    ["partner", "integration"],
    registry=REGISTRY,
)
INTEGRATION_INFO = Gauge(
    "syncd_integration_info",
    "Always 1: whose account an integration is.",
    ["integration", "partner", "company"],
    registry=REGISTRY,
)

# Limits. What a gate counts anyway is read when scraped, see `limits/scraped.py`.
LIMIT_WAIT_SECONDS = Counter(
    "syncd_limit_wait_seconds_total", "Seconds calls waited before being sent.", ["scope", "reason"], registry=REGISTRY
)
RATE_LIMITED = Counter(
    "syncd_rate_limited_total", "Answers that said: too many calls. The goal is 0.", ["scope"], registry=REGISTRY
)
LIMIT_BUSY_SECONDS = Counter(
    "syncd_limit_busy_seconds_total", "Seconds in which work was waiting for the scope.", ["scope"], registry=REGISTRY
)
BREAKER_STATE = Gauge("syncd_breaker_state", "0 closed, 1 half-open, 2 open.", ["scope", "group"], registry=REGISTRY)
RETRIES = Counter("syncd_retries_total", "Calls sent again.", ["partner", "reason"], registry=REGISTRY)
RETRY_BUDGET_EMPTY = Counter(
    "syncd_retry_budget_exhausted_total", "Retries not made for want of budget.", ["partner"], registry=REGISTRY
)

# Data.
RECORDS = Counter(
    "syncd_records_total",
    "Records by what became of them: added, updated, deleted, unchanged, stale, rejected.",
    ["integration", "resource", "result"],
    registry=REGISTRY,
)
PAGES = Counter("syncd_pages_total", "Pages stored.", ["integration", "resource"], registry=REGISTRY)
STORE_SECONDS = Histogram(
    "syncd_store_seconds", "Seconds to store one page.", ["partner"], buckets=_SECONDS, registry=REGISTRY
)
RUNS = Counter("syncd_runs_total", "Runs ended.", ["integration", "resource", "outcome"], registry=REGISTRY)
LAST_SUCCESS = Gauge(
    "syncd_last_success_timestamp_seconds",
    "When the last run of a resource ended well.",
    ["integration", "resource"],
    registry=REGISTRY,
)
SYNC_LAG = Gauge(
    "syncd_sync_lag_seconds", "Age of a resource's last good run.", ["integration", "resource"], registry=REGISTRY
)
SYNC_INTERVAL = Gauge(
    "syncd_sync_interval_seconds",
    "How far apart the runs of a resource are meant to be at this moment.",
    ["integration", "resource"],
    registry=REGISTRY,
)
OLDEST_WORK = Gauge(
    "syncd_oldest_work_seconds", "Age of the oldest waiting item of a queue.", ["queue_name"], registry=REGISTRY
)
QUEUE_RATE = Gauge(
    "syncd_queue_rate",
    "What leaves a queue in a second, lately, while anything waits in it.",
    ["queue_name"],
    registry=REGISTRY,
)
WORKERS_ALIVE = Gauge("syncd_workers_alive", "Coroutines of a partner that live.", ["partner"], registry=REGISTRY)
WEBHOOKS_SILENT = Gauge(
    "syncd_webhooks_silent",
    "1 while no webhook came for much longer than usual, 2 where pulls found what was missed; 0 else.",
    ["integration"],
    registry=REGISTRY,
)
WEBHOOK_SECRETS_UNREAD = Gauge(
    "syncd_webhook_secrets_unread",
    "1 while a secret its deliveries are verified with cannot be read; 0 else.",
    ["integration"],
    registry=REGISTRY,
)
WORKERS = Gauge("syncd_workers", "Coroutines a partner should have.", ["partner"], registry=REGISTRY)
DRIFT = Gauge(
    "syncd_drift_records",
    "Records the last pass or backup had to add, change or delete which fresher ways had missed: added, updated, deleted.",
    ["integration", "resource", "kind"],
    registry=REGISTRY,
)
TASKS = Counter(
    "syncd_tasks_total",
    "Tasks ended: done, buried, or skipped for a reason: expired, stale, unconfigured, unreadable, poison.",
    ["integration", "result"],
    registry=REGISTRY,
)
HELD_DELETIONS = Gauge(
    "syncd_held_deletions", "Deletions waiting for a person.", ["integration", "resource"], registry=REGISTRY
)
SCHEMA_CHANGES = Gauge(
    "syncd_schema_changes",
    "Fields that are not as they were known, and that nobody has accepted: unknown, missing, retyped.",
    ["integration", "resource", "what"],
    registry=REGISTRY,
)
RENORMALIZED = Counter(
    "syncd_renormalized_records_total",
    "Stored records read again by an adapter: changed, unchanged, passed, rejected.",
    ["integration", "resource", "what"],
    registry=REGISTRY,
)
PUSHES = Counter(
    "syncd_pushes_total",
    "Pushes by what became of a try: done, later, unknown, dropped, buried.",
    ["integration", "resource", "outcome"],
    registry=REGISTRY,
)
OUTBOX = Gauge("syncd_outbox", "Pushes that are not over, by state.", ["integration", "state"], registry=REGISTRY)
DEAD_LETTERS = Gauge("syncd_dead_letters", "Things that need a person.", ["integration"], registry=REGISTRY)

# Credentials.
TOKEN_REFRESHES = Counter(
    "syncd_token_refreshes_total",
    "Token requests by result: ok, refused, failed.",
    ["integration", "result"],
    registry=REGISTRY,
)
ROTATIONS = Counter(
    "syncd_credential_rotations_total",
    "Credentials that partners handed us by webhook: accepted, refused.",
    ["integration", "result"],
    registry=REGISTRY,
)
CREDENTIAL_EXPIRY = Gauge(
    "syncd_credential_expiry_timestamp_seconds",
    "When a run-time credential expires.",
    ["integration", "kind"],
    registry=REGISTRY,
)
CREDENTIAL_EXPIRES = Gauge(
    "syncd_credential_expires_timestamp_seconds",
    "When a credential expires that syncd cannot renew by itself.",
    ["integration", "credential"],
    registry=REGISTRY,
)
CREDENTIAL_AGE = Gauge(
    "syncd_credential_age_seconds", "How long ago a credential was put there.", ["integration", "credential"],
    registry=REGISTRY,
)  # fmt: skip
CREDENTIAL_REMINDER = Gauge(
    "syncd_credential_reminder_seconds",
    "The age from which on a credential is old (remind_after); none where no reminder is wanted.",
    ["integration", "credential"],
    registry=REGISTRY,
)
MAINTENANCE = Gauge(
    "syncd_maintenance", "1 while an integration is in a maintenance window: no alert is about it.", ["integration"],
    registry=REGISTRY,
)  # fmt: skip

# The process.
BUILD_INFO = Gauge("syncd_build_info", "Always 1.", ["version", "python"], registry=REGISTRY)
HEALTH = Gauge("syncd_integration_health", "1 for the present state.", ["integration", "state"], registry=REGISTRY)
HEARTBEAT = Gauge("syncd_heartbeat_timestamp_seconds", "When a part last made progress.", ["part"], registry=REGISTRY)
LOOP_LAG = Gauge("syncd_loop_lag_seconds", "How late the event loop runs its timers.", registry=REGISTRY)
LOOP_WAIT_SECONDS = Histogram(
    "syncd_loop_wait_seconds",
    "Seconds until the event loop gets to what was asked of it, tried ten times a second.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
    registry=REGISTRY,
)
SLOW_STEPS = Counter(
    "syncd_loop_slow_steps_total",
    "Times something kept the event loop for more than a quarter second.",
    registry=REGISTRY,
)
RSS = Gauge("syncd_resident_memory_bytes", "Resident memory.", registry=REGISTRY)
SPANS = Counter("syncd_trace_spans_total", "Spans by what became of them: sent, lost.", ["result"], registry=REGISTRY)
MEMORY_CEILING = Gauge(
    "syncd_memory_ceiling_bytes", "Resident memory above which less goes on at once; 0: any.", registry=REGISTRY
)
MEMORY_NARROWING = Gauge(
    "syncd_memory_narrowing", "0: not narrowed for want of memory; 4: one answer in hand at a time.", registry=REGISTRY
)
RELOAD_OK = Gauge("syncd_config_last_reload_successful", "1 if the last reload applied whole.", registry=REGISTRY)
RELOAD_AT = Gauge("syncd_config_last_reload_timestamp_seconds", "When the last reload ended.", registry=REGISTRY)
PRUNED = Counter(
    "syncd_rows_pruned_total", "Rows retention removed, or emptied (inbox_bodies).", ["table"], registry=REGISTRY
)
PRUNE_UNFINISHED = Gauge(
    "syncd_prune_unfinished",
    "1 while the latest prune of a table did not come to its end.",
    ["table"],
    registry=REGISTRY,
)
PAUSED = Gauge(
    "syncd_paused",
    "1 while a person has paused an integration, or a resource of it.",
    ["integration", "resource"],
    registry=REGISTRY,
)
PAUSED_UNTIL = Gauge(
    "syncd_paused_until_timestamp_seconds",
    "When a pause ends by itself; +Inf: it does not.",
    ["integration", "resource"],
    registry=REGISTRY,
)
LEASE_HELD = Gauge("syncd_lease_held", "1 while this instance owns the scope.", ["scope"], registry=REGISTRY)
HTTP_CONNECTIONS = Gauge("syncd_http_connections", "Open connections of a site.", ["site"], registry=REGISTRY)
HTTP_CUT = Counter(
    "syncd_http_connections_cut_total",
    "Connections cut and requests refused: slow_headers, slow_body, slow_reader, too_large, compressed, malformed, made_room,"
    " full, bodies, large_head.",
    ["site", "reason"],
    registry=REGISTRY,
)
ALERT_PUSHES = Counter(
    "syncd_alert_pushes_total", "Messages to the address of `alerts`: delivered, failed.", ["result"], registry=REGISTRY
)
BOUND = Gauge("syncd_bound", "The configured bound of each bounded thing (R12).", ["name"], registry=REGISTRY)


def keep_only(gauge: Gauge, wanted: Iterable[tuple[str, ...]]) -> None:
    """Drop the samples of a gauge that nobody sets any more: what was switched off would trouble an alert for ever."""
    known = set(wanted)
    for labels in list(gauge._metrics):
        if labels not in known:
            gauge.remove(*labels)


# What is not as it should be: read when scraped, so that what has healed leaves no series. See `conditions/gauges.py`.
CONDITION = (
    "syncd_condition",
    "1 while something is not as it should be.",
    ("subject", "integration", "partner", "company", "resource", "code", "severity"),
)
CONDITION_SINCE = (
    "syncd_condition_since_timestamp_seconds",
    "Since when it is not.",
    ("integration", "resource", "code"),
)
CONDITION_INFO = (
    "syncd_condition_info",
    "Always 1: what to tell a person of a condition, in the words of all surfaces.",
    ("integration", "resource", "code", "reason", "cause", "action"),
)
LAST_AUTHENTICATED = (
    "syncd_last_authenticated_timestamp_seconds",
    "When the partner last answered a call with our credential.",
    ("integration",),
)


TIER_GAUGES = {
    "used": ("syncd_limit_used", "Calls (or points) of a tier sent within its window."),
    "budget": ("syncd_limit_budget", "Calls syncd allows itself in a tier's window at this moment."),
    "limit": ("syncd_limit_ceiling", "Calls the partner may count in a tier's window at most, at this moment."),
    "stated": ("syncd_limit_stated", "Calls the partner states for a tier's window."),
    "foreign": ("syncd_limit_foreign", "Calls others spent of a tier, by the partner's last word."),
}
"""By the key of a tier in `Gate.view()`; labels scope and tier."""
LEARNED = ("syncd_limit_learned", "Calls a window that were learned to be allowed; only where less than configured.")
SCOPE_GAUGES = {
    "utilisation": (
        "syncd_limit_utilisation_ratio",
        "Used share of the binding budget while calls waited, since the start.",
    ),
    "next_call": ("syncd_limit_next_call_seconds", "Until the limits let the next scheduled call leave; 0: now."),
    "ramp": ("syncd_limit_ramp_ratio", "Share of the budget in force after an outage; 1: all of it."),
    "paused": ("syncd_limit_paused", "1 while the partner's own word holds all calls."),
    "seats_used": ("syncd_limit_seats_used", "Calls under way."),
    "seats": ("syncd_limit_seats", "Calls that may be under way at once; absent: any number."),
}
LANES = ("syncd_limit_waiting", "Calls waiting for leave, by lane.")


def exposition() -> bytes:
    """Everything, in the Prometheus text format."""
    return generate_latest(REGISTRY)
