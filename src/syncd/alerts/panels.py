"""What the dashboards show, as data: rows of panels with their queries. `$partner` and the like are Grafana's variables."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. `queries` are PromQL by legend."""

    title: str
    queries: tuple[tuple[str, str], ...]
    kind: str = "timeseries"
    """timeseries, stat, table or gauge."""
    unit: str = "short"
    width: int = 8
    height: int = 8
    limit: float | None = None
    """Drawn as a line, and what lies above it in red: where an alert begins."""
    about: str = ""


Rows = tuple[tuple[str, tuple[Panel, ...]], ...]

_OF = 'partner="$partner",integration=~"$integration"'
_INTEGRATION = 'integration=~"$integration"'

OVERVIEW: Rows = (
    (
        "Now",
        (
            Panel(
                "Pages",
                (("", 'count(syncd_condition{severity="page"}) or vector(0)'),),
                "stat",
                width=4,
                height=4,
                limit=1,
            ),
            Panel(
                "Tickets", (("", 'count(syncd_condition{severity="ticket"}) or vector(0)'),), "stat", width=4, height=4
            ),
            Panel(
                "Integrations", (("{{state}}", "sum by (state) (syncd_integration_health)"),), "stat", width=8, height=4
            ),
            Panel("Workers", (("{{partner}}", "syncd_workers_alive / syncd_workers"),), "stat", "percentunit", 8, 4),
            Panel(
                "Not as it should be",
                (("", "max by (severity, code, integration, resource, company) (syncd_condition)"),),
                "table",
                width=12,
                about="What `syncd status` shows. `syncd runbook CODE` says what to do.",
            ),
            Panel(
                "In syncd's words",
                (("", "max by (integration, resource, code, reason, action) (syncd_condition_info)"),),
                "table",
                width=12,
            ),
        ),
    ),
    (
        "Partners",
        (
            Panel("Calls a second", (("{{partner}}", "sum by (partner) (rate(syncd_calls_total[5m]))"),), unit="reqps"),
            Panel(
                "Calls that fail",
                (
                    (
                        "{{integration}}",
                        'sum by (integration) (rate(syncd_calls_total{result!~"ok|404|429"}[5m]))'
                        " / sum by (integration) (rate(syncd_calls_total[5m]))",
                    ),
                ),
                unit="percentunit",
                limit=0.05,
            ),
            Panel(
                "95 of 100 calls are faster than",
                (
                    (
                        "{{partner}}",
                        "histogram_quantile(0.95, sum by (partner, le)"
                        " (rate(integration_api_call_duration_seconds_bucket[5m])))",
                    ),
                ),
                unit="s",
                limit=5,
            ),
            Panel(
                "Limits used",
                (("{{scope}} {{tier}}", "syncd_limit_used / syncd_limit_ceiling"),),
                unit="percentunit",
                limit=1,
            ),
            Panel("429 answers", (("{{scope}}", "increase(syncd_rate_limited_total[5m])"),), about="The goal is 0."),
            Panel(
                "Age of the copy, in intervals",
                (("{{integration}} {{resource}}", "syncd_sync_lag_seconds / syncd_sync_interval_seconds"),),
                limit=2,
            ),
        ),
    ),
    (
        "Queues and webhooks",
        (
            Panel("Waiting", (("{{queue_name}}", "integration_queue_length"),), limit=1000),
            Panel("Oldest", (("{{queue_name}}", "syncd_oldest_work_seconds"),), unit="s"),
            Panel("Dead letters", (("{{integration}}", "syncd_dead_letters"),)),
            Panel(
                "Webhooks",
                (
                    ("{{partner}} taken", "sum by (partner) (rate(webhooks_received_total[5m]))"),
                    (
                        "{{partner}} {{error_type}}",
                        "sum by (partner, error_type) (rate(webhook_failures_total[5m]))",
                    ),
                ),
                unit="reqps",
            ),
            Panel(
                "Seconds to work on a webhook, 95 of 100",
                (
                    (
                        "{{partner}}",
                        "histogram_quantile(0.95, sum by (partner, le) (rate(webhook_processing_seconds_bucket[5m])))",
                    ),
                ),
                unit="s",
            ),
            Panel("Intake stores", (("{{instance}}", "syncd_intake_up"),), "stat", height=8),
        ),
    ),
    (
        "The process",
        (
            Panel(
                "Memory",
                (
                    ("{{instance}}", "syncd_resident_memory_bytes"),
                    ("ceiling {{instance}}", "syncd_memory_ceiling_bytes"),
                ),
                unit="bytes",
            ),
            Panel("Event loop late by", (("{{instance}}", "syncd_loop_lag_seconds"),), unit="s", limit=0.5),
            Panel("Heartbeats, age", (("{{part}}", "time() - syncd_heartbeat_timestamp_seconds"),), unit="s", limit=60),
        ),
    ),
)

PARTNER: Rows = (
    (
        "Now",
        (
            Panel(
                "State",
                ((("{{integration}} {{state}}"), f"syncd_integration_health{{{_INTEGRATION}}} == 1"),),
                "stat",
                width=8,
                height=5,
            ),
            Panel(
                "Success of the last hour",
                (
                    (
                        "{{integration}}",
                        f'sum by (integration) (increase(syncd_calls_total{{{_OF},result="ok"}}[1h]))'
                        f" / sum by (integration) (increase(syncd_calls_total{{{_OF}}}[1h]))",
                    ),
                ),
                "stat",
                "percentunit",
                8,
                5,
            ),
            Panel(
                "Partner last took our credential",
                (("{{integration}}", f"time() - syncd_last_authenticated_timestamp_seconds{{{_INTEGRATION}}}"),),
                "stat",
                "s",
                8,
                5,
            ),
            Panel(
                "Not as it should be",
                (
                    (
                        "",
                        f"max by (integration, resource, code, reason, action) (syncd_condition_info{{{_INTEGRATION}}})",
                    ),
                ),
                "table",
                width=24,
                height=6,
            ),
        ),
    ),
    (
        "Calls",
        (
            Panel(
                "What came of calls",
                (("{{result}}", f"sum by (result) (rate(syncd_calls_total{{{_OF}}}[5m]))"),),
                unit="reqps",
                width=12,
            ),
            Panel(
                "How long they take",
                tuple(
                    (
                        f"{share} of 100",
                        f"histogram_quantile({share / 100:g}, sum by (le)"
                        ' (rate(integration_api_call_duration_seconds_bucket{partner="$partner"}[5m])))',
                    )
                    for share in (50, 95, 99)
                ),
                unit="s",
                width=12,
                limit=5,
            ),
            Panel(
                "By endpoint",
                (
                    (
                        "{{endpoint}} {{status_code}}",
                        'sum by (endpoint, status_code) (rate(integration_api_calls_total{partner="$partner"}[5m]))',
                    ),
                ),
                unit="reqps",
                width=12,
            ),
            Panel(
                "Health checks that failed in a row",
                (("{{integration}}", f"syncd_health_check_failures{{{_OF}}}"),),
                width=12,
                limit=3,
            ),
        ),
    ),
    (
        "Limits (all scopes: a scope may serve several integrations)",
        (
            Panel(
                "Used", (("{{scope}} {{tier}}", "syncd_limit_used / syncd_limit_ceiling"),), unit="percentunit", limit=1
            ),
            Panel("Waited for", (("{{scope}} {{reason}}", "rate(syncd_limit_wait_seconds_total[5m])"),), unit="s"),
            Panel("Breakers (2: open)", (("{{scope}} {{group}}", "syncd_breaker_state"),)),
        ),
    ),
    (
        "The copy",
        (
            Panel(
                "Records",
                (
                    (
                        "{{resource}} {{result}}",
                        f"sum by (resource, result) (rate(syncd_records_total{{{_INTEGRATION}}}[5m]))",
                    ),
                ),
            ),
            Panel("Age", (("{{resource}}", f"syncd_sync_lag_seconds{{{_INTEGRATION}}}"),), unit="s"),
            Panel("Drift found by passes", (("{{resource}} {{kind}}", f"syncd_drift_records{{{_INTEGRATION}}}"),)),
            Panel("Deletions held", (("{{resource}}", f"syncd_held_deletions{{{_INTEGRATION}}}"),), limit=1),
            Panel("Dead letters", (("{{integration}}", f"syncd_dead_letters{{{_INTEGRATION}}}"),)),
            Panel(
                "Pushes",
                (
                    (
                        "{{resource}} {{outcome}}",
                        f"sum by (resource, outcome) (rate(syncd_pushes_total{{{_INTEGRATION}}}[5m]))",
                    ),
                ),
            ),
        ),
    ),
)
