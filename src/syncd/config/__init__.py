"""Configuration: models, loading, checking, and what changed from one to the next.

`load(path, drivers=..., env=...)` gives a `Loaded`; `.require()` is the Config or all problems at once. What a driver
alone understands stays a mapping here. Secrets are references; `syncd.secrets.Vault` resolves them.
"""

from syncd.config.facts import DriverFacts, Facts, Finding
from syncd.config.integration import IntegrationConfig, WebhookConfig
from syncd.config.limits import BreakerConfig, LimitsConfig, TierConfig
from syncd.config.load import MAIN_FILE, Loaded, barred, load, main_file
from syncd.config.models import (
    AlertsConfig,
    Config,
    DatabaseConfig,
    LogConfig,
    RetentionConfig,
    SecretsConfig,
    ServerConfig,
)
from syncd.config.partner import PartnerConfig
from syncd.config.problems import ConfigProblems, Problem, did_you_mean, render
from syncd.config.resource import GuardConfig, ResourceConfig
from syncd.config.units import Address, Rate, format_duration, parse_duration, parse_rate, parse_size
from syncd.secrets import Ref

__all__ = [
    "MAIN_FILE",
    "Address",
    "AlertsConfig",
    "BreakerConfig",
    "Config",
    "ConfigProblems",
    "DatabaseConfig",
    "DriverFacts",
    "Facts",
    "Finding",
    "GuardConfig",
    "IntegrationConfig",
    "LimitsConfig",
    "Loaded",
    "LogConfig",
    "PartnerConfig",
    "Problem",
    "Rate",
    "Ref",
    "ResourceConfig",
    "RetentionConfig",
    "SecretsConfig",
    "ServerConfig",
    "TierConfig",
    "WebhookConfig",
    "barred",
    "did_you_mean",
    "format_duration",
    "load",
    "main_file",
    "parse_duration",
    "parse_rate",
    "parse_size",
    "render",
]
