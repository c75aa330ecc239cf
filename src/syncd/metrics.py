"""All metrics, declared once. The seeds' names are binding; the rest begins with `syncd_`.

Labels are bounded: partner, integration, resource, scope and tier come from configuration, `endpoint` is the driver's
route template (never a path), `status_code` a number or one of timeout, refused, reset, tls, breaker, cut.
"""

from __future__ import annotations

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

# Limits.
LIMIT_USED = Gauge("syncd_limit_used", "Slots in use of a tier.", ["scope", "tier"], registry=REGISTRY)
LIMIT_BUDGET = Gauge("syncd_limit_budget", "Slots syncd allows itself of a tier.", ["scope", "tier"], registry=REGISTRY)
LIMIT_STATED = Gauge("syncd_limit_stated", "Slots the partner states for a tier.", ["scope", "tier"], registry=REGISTRY)
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
OLDEST_WORK = Gauge(
    "syncd_oldest_work_seconds", "Age of the oldest waiting item of a queue.", ["queue_name"], registry=REGISTRY
)
HELD_DELETIONS = Gauge(
    "syncd_held_deletions", "Deletions waiting for a person.", ["integration", "resource"], registry=REGISTRY
)
DEAD_LETTERS = Gauge("syncd_dead_letters", "Things that need a person.", ["integration"], registry=REGISTRY)

# Credentials.
TOKEN_REFRESHES = Counter(
    "syncd_token_refreshes_total",
    "Token requests by result: ok, refused, failed.",
    ["integration", "result"],
    registry=REGISTRY,
)
CREDENTIAL_EXPIRY = Gauge(
    "syncd_credential_expiry_timestamp_seconds",
    "When a run-time credential expires.",
    ["integration", "kind"],
    registry=REGISTRY,
)

# The process.
BUILD_INFO = Gauge("syncd_build_info", "Always 1.", ["version", "python"], registry=REGISTRY)
HEALTH = Gauge("syncd_integration_health", "1 for the present state.", ["integration", "state"], registry=REGISTRY)
HEARTBEAT = Gauge("syncd_heartbeat_timestamp_seconds", "When a part last made progress.", ["part"], registry=REGISTRY)
LOOP_LAG = Gauge("syncd_loop_lag_seconds", "How late the event loop runs its timers.", registry=REGISTRY)
RSS = Gauge("syncd_resident_memory_bytes", "Resident memory.", registry=REGISTRY)
RELOAD_OK = Gauge("syncd_config_last_reload_successful", "1 if the last reload applied whole.", registry=REGISTRY)
RELOAD_AT = Gauge("syncd_config_last_reload_timestamp_seconds", "When the last reload ended.", registry=REGISTRY)
LEASE_HELD = Gauge("syncd_lease_held", "1 while this instance owns the scope.", ["scope"], registry=REGISTRY)
HTTP_CONNECTIONS = Gauge("syncd_http_connections", "Open connections of a site.", ["site"], registry=REGISTRY)
HTTP_CUT = Counter(
    "syncd_http_connections_cut_total",
    "Connections cut or refused: slow_headers, slow_reader, made_room, full.",
    ["site", "reason"],
    registry=REGISTRY,
)
BOUND = Gauge("syncd_bound", "The configured bound of each bounded thing (R12).", ["name"], registry=REGISTRY)


def counted(counter: Counter, label: str) -> dict[str, float]:
    """What a counter with that one label has come to in this process, by the label's value."""
    return {
        sample.labels[label]: sample.value
        for family in counter.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    }


def exposition() -> bytes:
    """Everything, in the Prometheus text format."""
    return generate_latest(REGISTRY)
