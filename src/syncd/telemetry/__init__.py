"""Traces to an OpenTelemetry collector. Its library (extra `[otel]`) is imported where `tracing.endpoint` is set alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from syncd.errors import ConfigError
from syncd.secrets import Vault

if TYPE_CHECKING:
    from syncd.config.models import TracingConfig
    from syncd.telemetry.otel import Otel


def begin(config: TracingConfig, vault: Vault) -> Otel | None:
    """Listen to spans, if that is configured. Raises ConfigError where the library for it is missing."""
    if config.endpoint is None:
        return None
    try:
        from syncd.telemetry.otel import Otel
    except ImportError as error:
        raise ConfigError(
            f"tracing.endpoint is set, and OpenTelemetry's library is not installed ({error.name} is missing)",
            hint="pip install 'syncd[otel]', or take tracing out of syncd.yaml",
        ) from None
    headers: Mapping[str, str] = {name: vault.resolve(ref).reveal() for name, ref in config.headers.items()}
    return Otel(config.endpoint, headers, service=config.service, sample=config.sample, propagates=config.propagate)
