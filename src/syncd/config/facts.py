"""What the configuration has to know about a driver, so that this floor never imports one.

`load` is handed a mapping of driver name -> DriverFacts. Whoever loads configuration builds it from the drivers found.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from syncd.config.units import Rate


@dataclass(frozen=True, slots=True)
class Finding:
    """A mistake a driver found in its own part. `path` leads there from the file's root: ("options", "objects", 0)."""

    path: Sequence[str | int]
    message: str
    help: str = ""


@dataclass(frozen=True, slots=True)
class Elsewhere:
    """An absolute address, not below `base_url`, that calls with a credential go to."""

    what: str
    """Which calls, such as `token requests`."""
    url: str
    option: str = ""
    """The driver's option that says where it is."""
    described: bool = False
    """Does it stand in the partner's own file (`rest:`)?"""


@dataclass(frozen=True, slots=True)
class KnownTier:
    """A limit that the partner states, and how much of it the driver uses."""

    rate: Rate
    share: float = 1.0
    budget: str = ""
    """Which calls it counts; empty: all."""
    weighted: bool = False
    bucket: bool = False
    burst: float = 0.0
    """Of a bucket: calls it holds when full."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What may stand in a file of this driver. Empty resources or options mean: not known, so not checked."""

    resources: Collection[str] = ()
    credentials: Mapping[str, bool] | None = None
    """Name -> required. None: not known, not checked."""
    tiers: Sequence[KnownTier] = ()
    """The limits the partner states, or the driver keeps."""
    share: float | None = None
    """How much of what is stated the driver uses where a limit says nothing else. None: not known, not checked."""
    concurrency: int | None = None
    """Calls at once that the driver makes. None: as many as there are."""
    off: Collection[str] = ()
    """Resources that are read only where a file says `enabled: true`."""
    parents: Mapping[str, str] = field(default_factory=dict)
    """By resource: the one it is listed below, and cannot be read without."""
    options: Collection[str] | None = None
    """Names below `options:`. None: not checked."""
    adapters: Collection[str] = ()
    base_url: str | None = None
    """The driver's own; where it has none the file must name one."""
    elsewhere: Sequence[Elsewhere] = ()
    """Where else its calls go with a credential, under these options."""
    signs_webhooks: bool = True
    """False: this partner signs nothing, and is known by a secret in the address instead."""
    webhooks: bool = True
    """False: it knows no deliveries of this partner at all."""
    registers: bool = False
    """`syncd webhook register` can subscribe at this partner, which also hands over the secret."""
    queues: bool = False
    """An account has one queue of what is new, and whoever reads it takes it."""
    counted_by: str = "account"
    """What the partner counts calls by: `account`, `credential`, `client` (several credentials may be of one), `partner`."""
    replaced: Collection[str] = ()
    """Credentials that each use replaces, such as a refresh token: whoever else has one like it is left with an old one."""
    account: str = ""
    """The option that says which account an integration is of, where one address brings several accounts' deliveries."""
    findings: Sequence[Finding] = field(default=())

    def facts(self, options: Mapping[str, Any], rest: Mapping[str, Any] | None) -> Facts:
        """Fixed facts are their own DriverFacts."""
        return self

    def rules(self, given: Mapping[str, Any]) -> Sequence[Finding]:
        """Nothing is known of deliveries."""
        return ()


class DriverFacts(Protocol):
    """One driver, as far as configuration is concerned."""

    def facts(self, options: Mapping[str, Any], rest: Mapping[str, Any] | None) -> Facts:
        """The facts under these options of the partner's file; `rest` is the whole spec below `rest:`, if there is one.

        Must not raise for a bad spec or option: that is a Finding.
        """
        ...

    def rules(self, given: Mapping[str, Any]) -> Sequence[Finding]:
        """What is wrong with an account's `webhook.rules` over those of the driver; paths begin below `rules`."""
        ...
