"""All that the checks look at, gathered once. Plain values: a test writes them down as it likes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from syncd.config import Config, IntegrationConfig, PartnerConfig, Problem
from syncd.kit import Driver, Resource
from syncd.sync.plan import ResourcePlan


@dataclass(frozen=True, slots=True)
class Subject:
    """One integration in use, with the driver that speaks for its partner."""

    name: str
    partner: PartnerConfig
    config: IntegrationConfig
    driver: Driver
    plans: Mapping[str, ResourcePlan]
    """The resources in use, with the files' settings laid over the driver's."""
    base_url: str
    webhook_url: str
    """Where its deliveries come; empty: nothing says where."""
    registered: bool = False
    """Was it subscribed by `syncd webhook register`, which needs no line in its file?"""

    @property
    def kind(self) -> str:
        """Its driver's name."""
        return self.partner.driver

    @property
    def resources(self) -> dict[str, Resource]:
        return {name: plan.resource for name, plan in self.plans.items()}

    @property
    def hooked(self) -> bool:
        """Do deliveries come to it?"""
        return self.config.webhook is not None or self.registered


@dataclass(frozen=True, slots=True)
class SecretFact:
    """One secret the configuration names: where, how it is kept, and whether it can be had. Never its value."""

    place: str
    """`acme.client_secret`, `acme.webhook.1`, `database.url`."""
    integration: str
    """Empty for the installation's own."""
    kind: str
    """file, env, credential or literal."""
    text: str
    """As written in YAML."""
    error: str = ""
    hint: str = ""
    path: str = ""
    mode: int | None = None
    owner: str = ""
    mark: str = ""
    """The same for equal secrets."""
    leaks: bool = False
    """It came through the log's redaction unmasked."""


@dataclass(frozen=True, slots=True)
class EnvFile:
    """A file with settings of an environment, or a secret's own, that may end in a repository."""

    path: str
    work_tree: str = ""
    """The git work tree it lies in; empty: none."""
    ignored: bool = True
    tracked: bool = False
    names: frozenset[str] = frozenset()
    """Variables it sets."""
    mode: int | None = None
    unseen: str = ""
    """Why git did not say whether a commit would take it along."""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a TLS server showed."""

    days_left: float | None
    trusted: bool
    error: str = ""
    subject: str = ""


@dataclass(frozen=True, slots=True)
class HostFact:
    """One host the configuration names, looked at over the network."""

    host: str
    port: int
    why: tuple[str, ...]
    """Who named it: `acme`, `server.public_url`."""
    tls: bool
    addresses: tuple[str, ...] = ()
    resolve_error: str = ""
    connect_error: str = ""
    certificate: Certificate | None = None


@dataclass(frozen=True, slots=True)
class Verified:
    """One `syncd verify`."""

    at: datetime
    ok: bool
    mode: str = "canary"
    """`canary`: a test record was made and ended; `read-only`: none was."""
    version: str = ""
    """The release that was running; empty: not written down."""


@dataclass(frozen=True, slots=True)
class DatabaseFact:
    """The database, asked by a connection of our own."""

    name: str
    version: int
    """As `server_version_num`."""
    skew_seconds: float
    can_create: bool
    """May it make the schema, or is it ours?"""
    owns_schema: bool
    schema_there: bool
    temp: bool
    listen: bool
    advisory: bool
    read_only: bool
    isolation: str
    timezone: str
    max_connections: int
    used_connections: int
    needs_connections: int
    size_bytes: int
    barred: tuple[str, ...] = ()
    """Tables and sequences of the schema that the role may not read and write, or does not own."""
    schema_read: bool = True
    """Could it be seen which migrations are applied?"""
    pending: tuple[str, ...] = ()
    """Migrations that the next start applies, each with what it says of the previous release."""
    applied: int = 0
    inbox_unique: bool = False
    """Does the table of deliveries refuse a second one of the same id?"""
    local_free_bytes: int | None = None
    """Of the disk its data lie on; None where that cannot be known from here."""
    instances: tuple[str, ...] = ()
    """Owners of leases that are alive."""
    passes: Mapping[str, datetime] = field(default_factory=dict)
    """By integration: when the latest complete pass ended."""
    checkpoints: Mapping[str, int] = field(default_factory=dict)
    """By integration: resources with a stored place."""
    subscribed: frozenset[str] = frozenset()
    """Integrations with a secret of a subscription of ours."""
    verified: Mapping[str, Verified] = field(default_factory=dict)
    """By integration: the last `syncd verify`."""


@dataclass(frozen=True, slots=True)
class DaemonFact:
    """What the running daemon says of itself."""

    status: Mapping[str, Any]
    """`syncd.status/1`"""
    health: Mapping[str, Any]
    health_seconds: float
    ready: bool
    metrics: Mapping[str, Sequence[tuple[Mapping[str, str], float]]]
    """By name: labels and value."""
    scopes: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """By integration: what its credential may do and needs, as it was last asked."""

    def integration(self, name: str) -> Mapping[str, Any] | None:
        found = (one for one in self.status.get("integrations", ()) if one["name"] == name)
        return next(found, None)

    def summed(self, metric: str, **labels: str) -> float:
        """Of all series of a metric that have these labels."""
        rows = self.metrics.get(metric, ())
        return sum(value for said, value in rows if all(said.get(key) == text for key, text in labels.items()))


@dataclass(frozen=True, slots=True)
class UnitFact:
    """The service, as systemd knows it."""

    systemd: bool = False
    """Is this a machine with a running systemd?"""
    present: bool = False
    text: str = ""
    """The unit file as installed."""
    path: str = ""
    shipped: str = ""
    """The unit file of this release; empty where it is not at hand."""
    user: str = ""
    properties: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class MachineFact:
    """The machine and the account this command runs under."""

    user: str = ""
    uid: int = 0
    container: bool = False
    descriptors: int = 0
    """Limit of open files of the daemon where it can be seen, else of this command."""
    descriptors_of: str = "this command"
    daemon_user: str = ""
    """Of the running daemon, as it says itself; empty: none runs, or it does not tell."""
    daemon_uid: int | None = None
    memory_max: int | None = None
    processors: float | None = None
    """How many the control group allows; None: all there are."""
    state_directory: str = ""
    state_free_bytes: int | None = None
    key_kept: str = ""
    """Where the sealing key comes from."""
    key_file: str = ""
    """Its own file, where it has one that is there."""
    key_mode: int | None = None
    embedded: bool = False
    synchronized: bool | None = None
    """Does systemd say that the clock is kept by a time server? None: not known."""
    unit: UnitFact = UnitFact()
    previous: tuple[str, ...] = ()
    """Earlier releases that lie beside the present one."""


@dataclass(frozen=True, slots=True)
class LiveFact:
    """The answer to one cheap authenticated call."""

    ok: bool
    detail: str
    do: str = ""
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """Somebody looked at a manual line and says that it is so."""

    who: str
    at: str
    reason: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything. None where it could not be had; then `no_...` says why."""

    now: datetime
    config: Config
    directory: str
    subjects: tuple[Subject, ...]
    problems: tuple[Problem, ...] = ()
    secrets: tuple[SecretFact, ...] = ()
    env_files: tuple[EnvFile, ...] = ()
    environment: frozenset[str] = frozenset()
    """Names of variables that secrets may come from and that a file on disk sets."""
    work_tree: str = ""
    """The git work tree the configuration lies in; empty: none."""
    git_silent: str = ""
    """Why git says nothing of it; empty: it does."""
    hook: str = ""
    """The pre-commit configuration or hook that was found there."""
    hook_installed: bool = True
    """Does git run it in this clone?"""
    hosts: Mapping[str, HostFact] | None = None
    daemon: DaemonFact | None = None
    no_daemon: str = ""
    see_daemon: str = "start it, then again: syncd doctor"
    """What to do so that it can be asked."""
    seen_by: str = "by this command"
    """Who resolved the secrets."""
    database: DatabaseFact | None = None
    no_database: str = ""
    see_database: str = "syncd check --env"
    machine: MachineFact = MachineFact()
    live: Mapping[str, LiveFact] = field(default_factory=dict)
    alerts: Mapping[str, str] | None = None
    """Alert rules of this release: name and expression. None: none are shipped."""
    runbooks: frozenset[str] = frozenset()

    def secrets_of(self, names: Sequence[str], *, webhook: bool | None = None) -> list[SecretFact]:
        """Those of these integrations; with `webhook` only those that verify deliveries, or only the others."""
        return [
            one
            for one in self.secrets
            if one.integration in names
            and (webhook is None or webhook == one.place.startswith(f"{one.integration}.webhook."))
        ]
