"""What is asked of the installation as a whole: clock, names, certificates, database, secrets, the service, backups."""

from __future__ import annotations

from syncd.doctor import probes_database as database
from syncd.doctor import probes_files as files
from syncd.doctor import probes_health as health
from syncd.doctor import probes_machine as machine
from syncd.doctor import probes_release as release
from syncd.doctor import probes_secrets as secrets
from syncd.doctor.model import Checklist, Group, Line

MACHINE = Checklist(
    "host",
    "This installation",
    (
        Group(
            "Configuration and secrets",
            (
                Line("host-1.1", "Configuration without warnings", machine.configuration),
                Line("host-1.2", "Every secret can be read", secrets.resolved),
                Line("host-1.3", "By the service's user", secrets.readable_by_service),
                Line("host-1.4", "No secret in YAML", secrets.literals),
                Line("host-1.5", "Rotating secrets not by systemd", secrets.rotating_credentials),
                Line("host-1.6", "One token for each integration", secrets.one_token_each),
                Line("host-1.7", "No .env or key in a repository", files.env_ignored),
                Line("host-1.8", "Admin address closed", machine.admin_exposed),
                Line("host-1.9", "Public address behind a proxy", machine.public_exposed),
                Line("host-1.10", "public_url is https", machine.public_url),
                Line("host-1.11", "Files of variables closed to others", files.variables_closed),
            ),
        ),
        Group(
            "Clock and network",
            (
                Line("host-2.1", "Clock against the database", machine.clock_of_database),
                Line("host-2.2", "Clock against partners", machine.clock_of_partners),
                Line("host-2.3", "Clocks of several instances", machine.instances),
                Line("host-2.4", "Names of hosts (DNS)", machine.names),
                Line("host-2.5", "Partners' certificates", machine.certificates),
                Line("host-2.6", "Our public certificate", machine.public_certificate),
            ),
        ),
        Group(
            "Database",
            (
                Line("host-3.1", "Version", database.version),
                Line("host-3.2", "Privileges", database.privileges),
                Line("host-3.3", "Schema", database.schema),
                Line("host-3.4", "Connections", database.connections),
                Line("host-3.5", "Isolation and time zone", database.settings),
                Line("host-3.6", "A PostgreSQL of its own", machine.own_database),
                Line("host-3.7", "Disk", machine.disk),
                Line("host-3.8", "Retention", machine.retention),
                Line("host-3.9", "Backup of the database", machine.backup),
                Line("host-3.10", "Backup of the sealing key", machine.sealing_key),
            ),
        ),
        Group(
            "Service",
            (
                Line("host-4.1", "Ready for webhooks", health.ready),
                Line("host-4.2", "systemd unit", machine.unit),
                Line("host-4.3", "Not root", release.unprivileged),
                Line("host-4.4", "Memory and processor limits", release.resource_limits),
                Line("host-4.5", "Open files", machine.descriptors),
                Line("host-4.6", "Structured logs", health.structured),
                Line("host-4.7", "Previous release at hand", release.previous_artifact),
                Line("host-4.8", "Way back tried", release.rollback_tested),
            ),
        ),
    ),
)  # fmt: skip

NETWORK = frozenset({"host-2.4", "host-2.5", "host-2.6"})
"""Left out with --offline."""
