"""The main configuration: what `config/syncd.yaml` may say. Partner files are in partner.py.

Frozen pydantic models; each field's description is also the text of docs/configuration.md and of the JSON Schema.
Attributes that end in `_seconds` or `_bytes` are numbers; their YAML key has no such ending and takes `30s`, `1MiB`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from syncd.config.integration import IntegrationConfig
from syncd.config.partner import PartnerConfig
from syncd.config.settings import DAY, PathText, Settings, mistake
from syncd.config.units import Address, BaseUrl, Ceiling, Duration, Listen, Silence, Size
from syncd.secrets import Ref


class DatabaseConfig(Settings):
    """The PostgreSQL that holds everything."""

    url: Ref | None = Field(
        None,
        description="A PostgreSQL URL. Without it, `syncd run` says how to get one.",
        examples=[{"env": "SYNCD_DATABASE_URL"}],
    )
    pool_size: int = Field(10, ge=2, le=200, description="Connections for the work; webhook intake has its own.")


class ServerConfig(Settings):
    """The two listeners: the public one, and the admin one for the command line and the page."""

    listen: Listen = Field(Address("127.0.0.1:8080"), description="Webhooks, /health, /ready, /metrics.")
    admin: Listen = Field(
        Address("127.0.0.1:8081"),
        description="The admin API and page: loopback or a Unix socket; elsewhere only with `admin_token`.",
    )
    public_url: BaseUrl | None = Field(
        None,
        description="Where partners reach the public listener from outside, through whatever proxy stands before it: needed "
        "to register webhooks, and where a partner signs the address it calls (Twilio).",
        examples=["https://sync.example.com"],
    )
    admin_token: Ref | None = Field(None, description="What admin clients must present as a bearer token.")
    max_connections: int = Field(
        1_000, ge=1, le=100_000, description="Open connections a listener; more are closed at once."
    )
    header_seconds: Duration = Field(
        10.0, alias="header_timeout", description="Time a client has to send a request's headers."
    )
    body_seconds: Duration = Field(
        20.0, alias="body_timeout", description="Time a client has to send a request's body."
    )
    body_bytes: Size = Field(1024 * 1024, alias="body_size", description="Largest request body; a larger one gets 413.")

    @model_validator(mode="after")
    def _check(self) -> ServerConfig:
        if self.listen == self.admin:
            raise mistake(f"listen and admin are both {self.listen}", "give each its own port", at="admin")
        if not self.admin.private and self.admin_token is None:
            raise mistake(
                f"admin listens on {self.admin}, which other machines may reach, without a token",
                "set admin_token, or listen on 127.0.0.1 or unix:/path",
                at="admin",
            )
        return self


class SecretsConfig(Settings):
    """Where secrets are kept."""

    directory: PathText | None = Field(
        None,
        description="Where `{file: name}` references start; relative to this file. Re-read on SIGHUP.",
        examples=["/etc/syncd/secrets"],
    )
    key: Ref | None = Field(
        None,
        description="The keys that seal tokens obtained at run time, lines of `id:base64 of 32 bytes`. Default: the "
        "credential syncd.key if systemd hands one over, else a file of that name in the state directory, made there.",
        examples=[{"credential": "syncd.key"}],
    )


class CredentialsConfig(Settings):
    """When it is time for another credential."""

    remind_after: Silence = Field(
        90 * DAY,
        description="A credential that is older is told of, as worth knowing; a third later as something to be done. `off`: "
        "never. A partner's file, and an integration, may say otherwise.",
        examples=["90d", "off"],
    )


class AlertsConfig(Settings):
    """Telling an address of yours what begins and ends. Off unless `url` is set; Prometheus has alerts without it."""

    url: Ref | None = Field(
        None,
        description="Where messages are posted to. By reference: such addresses are secrets mostly.",
        examples=[{"file": "alerts/url"}],
    )
    secret: Ref | None = Field(
        None,
        description="What messages are signed with, as Standard Webhooks has it (`whsec_` and base64, or plain text). "
        "Default: not signed.",
    )
    format: Literal["generic", "slack"] = Field(
        "generic", description="`generic` is the document `syncd.alert/1`; `slack` a text, as chats take it."
    )
    severities: list[Literal["page", "ticket", "note"]] = Field(
        ["page"], min_length=1, description="Which conditions are told of: `page`, `ticket`, `note`."
    )
    repeat_seconds: Duration = Field(
        4 * 3600.0, alias="repeat", ge=60, description="What lasts is told again after so long; at least 1m."
    )


class LogConfig(Settings):
    """The log, on standard error."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="Least important level shown. A reload changes it in the running process."
    )
    format: Literal["auto", "json", "console"] = Field(
        "auto", description="`auto` is for people on a terminal and JSON elsewhere."
    )


class MemoryConfig(Settings):
    """How much memory the daemon may have before it does less at once."""

    ceiling: Ceiling | None = Field(
        None,
        description="Resident memory above which fewer answers are in hand at once, down to one, until there is less again; "
        "webhooks are taken in all the same. Default: 80 % of what the service manager allows (MemoryHigh, MemoryMax), else "
        "half of the machine's memory, 1GiB at most. `off`: nothing is narrowed.",
        examples=["256MiB", "off"],
    )


class TracingConfig(Settings):
    """Traces to an OpenTelemetry collector; needs the extra `otel`. Read at the start."""

    endpoint: BaseUrl | None = Field(
        None,
        description="Where the collector takes OTLP over HTTP; `/v1/traces` is added. Without it nothing is traced.",
        examples=["http://127.0.0.1:4318"],
    )
    headers: dict[str, Ref] = Field(default_factory=dict, description="Sent with every batch, such as `authorization`.")
    service: str = Field(
        "syncd",
        min_length=1,
        description="`service.name`; the same for all instances that share a database, and no other.",
    )
    sample: float = Field(
        1.0, gt=0, le=1, description="Share of all traces that is sent; a trace is sent whole or not."
    )
    propagate: bool = Field(
        False, description="Send partners a `traceparent` header with each call: it tells strangers of your traces."
    )


class RetentionConfig(Settings):
    """How long rows are kept that nothing waits for any more. The nightly prune removes older ones in small batches;
    what is unprocessed is never pruned."""

    changes: Duration = Field(90 * DAY, description="Field-level changes, and what was refused as older.")
    runs: Duration = Field(30 * DAY, description="Finished runs.")
    inbox: Duration = Field(
        7 * DAY, description="Keys of processed webhook deliveries; at least 7d, the window for duplicates."
    )
    inbox_payloads: Duration = Field(3 * DAY, description="Bodies of processed webhook deliveries.")
    outbox: Duration = Field(30 * DAY, description="Finished pushes.")
    rejects: Duration = Field(90 * DAY, description="Records that failed validation and were not seen again since.")
    dead_letters: Duration = Field(90 * DAY, description="Dead letters that were discarded or replayed.")
    tombstones: Duration = Field(365 * DAY, description="Records known to be deleted at the partner.")
    audit_log: Duration = Field(365 * DAY, description="Who did what.")

    @field_validator("inbox")
    @classmethod
    def _inbox(cls, value: float) -> float:
        if value < 7 * DAY:
            raise mistake("must be at least 7d", "partners re-send for days; the keys must outlive that")
        return value


class Config(Settings):
    """Everything, checked: the main file and all partners. Runtime state lives elsewhere; a reload swaps this whole."""

    database: DatabaseConfig = Field(default_factory=DatabaseConfig, description="The PostgreSQL to use.")
    server: ServerConfig = Field(default_factory=ServerConfig, description="The HTTP listeners.")
    secrets: SecretsConfig = Field(default_factory=SecretsConfig, description="Where secrets are kept.")
    credentials: CredentialsConfig = Field(
        default_factory=CredentialsConfig, description="When it is time for another credential."
    )
    state_directory: PathText = Field(
        Path("/var/lib/syncd"),
        description="Where syncd keeps files of its own (the embedded database, its key). Default: systemd's "
        "StateDirectory, else /var/lib/syncd for root, else ~/.local/state/syncd.",
    )
    log: LogConfig = Field(default_factory=LogConfig, description="The log.")
    alerts: AlertsConfig = Field(
        default_factory=AlertsConfig, description="Telling an address of yours what begins and ends."
    )
    memory: MemoryConfig = Field(default_factory=MemoryConfig, description="How much memory it may have.")
    tracing: TracingConfig = Field(
        default_factory=TracingConfig, description="Traces for OpenTelemetry; off by default."
    )
    mode: Literal["production", "development"] = Field(
        "production",
        description="`development` allows what is dangerous where somebody relies on it: `chaos` under an integration.",
    )
    drain_seconds: Duration = Field(
        30.0, alias="drain", description="At a stop, time for held work to finish before it is given back untouched."
    )
    retention: RetentionConfig = Field(default_factory=RetentionConfig, description="How long rows are kept.")
    partners: dict[str, PartnerConfig] = Field(
        default_factory=dict, description="Filled from the files in partners/, never written in this file."
    )

    def webhook_url(self, integration: str) -> str:
        """Where the partner of an integration sends its deliveries; empty where nothing tells it."""
        partner, settings = self.integrations[integration]
        if settings.webhook is not None and settings.webhook.url is not None:
            return settings.webhook.url
        base = self.server.public_url
        return f"{base}/webhooks/{partner.name}/{integration}" if base else ""

    def remind_after(self, integration: str) -> float:
        """Seconds after which a credential of it is old; endless where nobody wants to hear of it."""
        partner = next(each for each in self.partners.values() if integration in each.integrations)
        for said in (partner.integrations[integration].remind_after, partner.remind_after):
            if said is not None:
                return said
        return self.credentials.remind_after

    @property
    def integrations(self) -> dict[str, tuple[PartnerConfig, IntegrationConfig]]:
        """Every integration by its name, with its partner; disabled ones too."""
        return {
            name: (partner, integration)
            for partner in self.partners.values()
            for name, integration in partner.integrations.items()
        }
