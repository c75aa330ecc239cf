"""Probes of what an operator sees: /health, /ready, /metrics, the log, alerts."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.doctor.facts import Facts, Subject
from syncd.doctor.model import Answer, Probe, failed, later, manual, passed, together, warned

MINUTE = 60.0
SLOWEST_HEALTH_SECONDS = 3.0


def health(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """/health names the integration, with status and latencyMs."""
    daemon = facts.daemon
    if daemon is None:
        return later(facts.no_daemon, facts.see_daemon)
    if daemon.health_seconds > SLOWEST_HEALTH_SECONDS:
        return failed(f"/health took {daemon.health_seconds:.1f} s", "syncd runbook loop-late")

    def look(one: Subject) -> Answer:
        told = daemon.health.get("services", {}).get(one.name)
        if told is None:
            return failed("/health does not name it", "syncd reload --wait")
        took = "not called yet" if told["latencyMs"] is None else f"latencyMs {told['latencyMs']}"
        return passed(f"/health answered in {daemon.health_seconds * 1000:.0f} ms: {told['status']}, {took}")

    return together([(one.name, look(one)) for one in subjects])


def ready(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    if facts.daemon is None:
        return later(facts.no_daemon, facts.see_daemon)
    if not facts.daemon.ready:
        why = facts.daemon.status.get("ready") or ["it does not say why"]
        return failed(f"/ready says no: {why[0]}", "syncd status")
    return passed("/ready says yes: a webhook sent now would be stored")


def probed_each_minute(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """A partner that nothing calls is asked whether it is there."""

    def look(one: Subject) -> Answer:
        test = one.driver.spec.test
        if test is None:
            return warned("its driver knows no cheap call: only real calls tell", "rest: {test: {path: /me}}")
        path = f"{test.method} {test.path}"
        busy = min((plan.schedule.every_seconds or 3600.0 for plan in one.plans.values()), default=3600.0)
        if test.every <= MINUTE:
            return passed(f"built in: {path} where nothing was called for {test.every:g} s; /health tells the last")
        if busy <= test.every:
            return passed(f"built in: calls every {busy:g} s tell, else {path} after {test.every:g} s")
        return passed(f"built in: {path} where nothing was called for {test.every:g} s, as its driver says")

    return together([(one.name, look(one)) for one in subjects])


def alert(*thresholds: str) -> Probe:
    """A rule of this release has each of these thresholds; whether your Prometheus has loaded it only a person knows."""

    def probe(facts: Facts, subjects: Sequence[Subject]) -> Answer:
        if facts.alerts is None:
            return manual("this release ships no rules", f"alert on {' and '.join(thresholds)} from /metrics")
        names = []
        for threshold in thresholds:
            found = [name for name, source in facts.alerts.items() if threshold in source]
            if not found:
                return manual(f"no rule of this release has {threshold}", "write one over /metrics")
            names.append(found[0])
        return manual(
            f"{', '.join(names)} {'ship' if len(names) > 1 else 'ships'}: loaded, and does somebody get it?",
            "syncd alerts > rules.yml; Prometheus shows it under Status > Rules",
        )

    return probe


def logged(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """One line a call, with method, route, status and duration_ms."""
    level = facts.config.log.level
    if level not in {"debug", "info"}:
        return failed(f"log.level is {level}: lines of calls are not written", "log: {level: info}")
    if facts.daemon is None:
        return later(f"log.level is {level}; {facts.no_daemon}", facts.see_daemon)

    def look(one: Subject) -> Answer:
        calls = facts.daemon.summed("integration_api_calls_total", partner=one.partner.name) if facts.daemon else 0
        return passed(f"built in: one line call_made a call at level {level}; {calls:,.0f} calls since the start")

    return together([(one.name, look(one)) for one in subjects])


def structured(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    form = facts.config.log.format
    if form == "console":
        return failed("log.format is console: lines for people", "log: {format: json}")
    return passed("log.format is json" if form == "json" else "log.format is auto: JSON wherever no terminal is")


def metrics(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    if facts.daemon is None:
        return later(facts.no_daemon, facts.see_daemon)
    if not facts.daemon.metrics:
        return failed("/metrics answers nothing", "curl -s http://ADDRESS/metrics, with server.listen")

    def look(one: Subject) -> Answer:
        daemon = facts.daemon
        assert daemon is not None
        calls = daemon.summed("integration_api_calls_total", partner=one.partner.name)
        good = sum(
            value
            for labels, value in daemon.metrics.get("integration_api_calls_total", ())
            if labels.get("partner") == one.partner.name and labels.get("status_code", "").startswith(("2", "3"))
        )
        if not calls:
            return later("the daemon has not called it yet", f"syncd credential test {one.name}")
        if not daemon.summed("integration_api_call_duration_seconds_count", partner=one.partner.name):
            return failed("/metrics counts its calls and not how long they took", "a fault of syncd: report it")
        return passed(f"/metrics: {calls:,.0f} calls, {(calls - good) / calls:.1%} not good, with their durations")

    return together([(one.name, look(one)) for one in subjects])


def audited(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """What people do is written down."""
    if facts.database is None:
        return later(facts.no_database, facts.see_database)
    if not facts.database.applied:
        return later("syncd's schema cannot be seen there yet", "syncd migrate")
    days = facts.config.retention.audit_log / 86_400
    return passed(f"built in: pauses, reloads, replays, pushes by hand are rows of syncd.audit_log for {days:g} days")
