"""An example of how Alertmanager routes syncd's alerts, and keeps one cause to one message."""

from __future__ import annotations

EXAMPLE = """\
# Routing of syncd's alerts, printed by `syncd alerts --alertmanager`: parts of an alertmanager.yml to take over.
#
# One cause is one message: alerts are grouped by their code (the name of the runbook) and by whom they are about. While a
# condition says in syncd's own words what is wrong, thresholds of the same code are held back. What is a ticket is held back
# while the same is a page, and everything else while the daemon is down.
route:
  receiver: tickets
  group_by: [code, integration, partner]
  group_wait: 10s
  group_interval: 2m
  repeat_interval: 12h
  routes:
  - matchers: ['alertname = SyncdWatchdog']
    receiver: watchdog
    group_wait: 0s
    repeat_interval: 1m
  - matchers: ['severity =~ "page|critical"']
    receiver: pager
    repeat_interval: 4h
  - matchers: ['severity = note']
    receiver: notes
    repeat_interval: 7d

inhibit_rules:
# A condition speaks for the thresholds of its code: of the same integration, or of its partner as a whole.
- source_matchers: ['alertname =~ "SyncdCondition.*"']
  target_matchers: ['alertname !~ "SyncdCondition.*"']
  equal: [code, integration]
- source_matchers: ['alertname =~ "SyncdCondition.*"']
  target_matchers: ['alertname !~ "SyncdCondition.*"', 'integration = ""']
  equal: [code, partner]
# A refused credential fails the health checks and makes the copy old.
- source_matchers: ['code =~ "auth-failed|partner-down|breaker-open"', 'integration != ""']
  target_matchers: ['alertname =~ "SyncdHealthCheckFailing|SyncdErrorRatio|SyncdSyncLag|SyncdServerErrors"']
  equal: [integration]
- source_matchers: ['severity =~ "page|critical"']
  target_matchers: ['severity =~ "ticket|note"', 'alertname != SyncdWatchdog']
  equal: [code, integration]
# Without its database nobody owns a scope and no queue moves.
- source_matchers: ['code = database-down']
  target_matchers: ['code =~ "scope-unowned|queue-stuck|old-rows-stay|database-slow"']
- source_matchers: ['code = daemon-down']
  target_matchers: ['alertname =~ "Syncd.*"', 'code != daemon-down', 'alertname != SyncdWatchdog']
  equal: [instance]

receivers:
- name: pager     # webhook_configs, pagerduty_configs, ...
- name: tickets
- name: notes
- name: watchdog  # somebody outside who raises the alarm when this one stops coming
"""
