"""The alerts that pass on what syncd itself found: one rule a severity over `syncd_condition`.

A condition is one thing that is not as it should be now, as `syncd status` shows it. Whatever syncd learns to name becomes an
alert here without a new rule; the thresholds of the other tables stand beside it as a second opinion.
"""

from __future__ import annotations

from syncd.alerts.alert import LAST_AUTH, About, Alert, Severity

_THIS = (
    'printf "syncd_condition_info{instance=%q,integration=%q,resource=%q,code=%q}"'
    " $labels.instance $labels.integration $labels.resource $labels.code | query"
)


def _told(label: str) -> str:
    return f'{{{{ . | first | label "{label}" }}}}'


_REASON = f"{{{{ with {_THIS} }}}}{_told('reason')}{{{{ else }}}}{{{{ $labels.code }}}}{{{{ end }}}}"
_SUMMARY = (
    '{{ if eq $labels.subject "daemon" }}syncd {{ $labels.instance }}'
    "{{ else }}{{ $labels.partner | title }} API: integration {{ $labels.integration }} (company: {{ $labels.company }})"
    f"{{{{ end }}}}: {_REASON}"
)
_SINCE = (
    '{{ with printf "time() - syncd_condition_since_timestamp_seconds{instance=%q,integration=%q,resource=%q,code=%q}"'
    " $labels.instance $labels.integration $labels.resource $labels.code | query }}"
    "Since: {{ . | first | value | humanizeDuration }}\n{{ end }}"
)
_DESCRIPTION = (
    f'{_SINCE}{{{{ if eq $labels.subject "integration" }}}}{LAST_AUTH}{{{{ end }}}}'
    f'{{{{ with {_THIS} }}}}{{{{ with . | first | label "cause" }}}}Likely cause: {{{{ . }}}}\n{{{{ end }}}}'
    f'{{{{ with $action := . | first | label "action" }}}}Action: {{{{ $action }}}}\n{{{{ end }}}}{{{{ end }}}}'
    "Runbook: syncd runbook {{ $labels.code }}"
)


def _alert(severity: Severity, name: str, but: str = "") -> Alert:
    return Alert(
        name=name,
        about=About.INTEGRATION,
        severity=severity,
        code="",
        expr=f'syncd_condition{{severity="{severity}"{but}}}',
        summary=_SUMMARY,
        cause="as syncd found it",
        action="syncd status",
        description=_DESCRIPTION,
    )


TOLD = (
    _alert(Severity.PAGE, "SyncdConditionPage"),
    _alert(Severity.TICKET, "SyncdConditionTicket"),
    _alert(Severity.NOTE, "SyncdConditionNote", ',code!~"rate-limited|ramping|not-owner"'),
)
"""Conditions of the daemon have no integration, so nothing mutes them. A wait for a limit comes and goes, and what
another instance works on is as it should be: that is no news."""
