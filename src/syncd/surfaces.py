"""What the daemon can be asked by: the desks of the admin API, one a topic, and the page that people look at."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import anyio
from aiohttp import web

from syncd import runbooks
from syncd.clock import Clock
from syncd.config import Config
from syncd.engine import Engine
from syncd.memory import MemoryView
from syncd.receivers import Receivers
from syncd.rehearsal import Stage
from syncd.secrets import Secret, Vault
from syncd.server import (
    desk_adapters,
    desk_backfill,
    desk_changes,
    desk_contract,
    desk_credentials,
    desk_drift,
    desk_dryrun,
    desk_evidence,
    desk_figures,
    desk_letters,
    desk_log,
    desk_memory,
    desk_pushes,
    desk_records,
    desk_subscriptions,
    desk_surroundings,
    desk_webhooks,
)
from syncd.server.ui.page import Page
from syncd.server.ui.sessions import Sessions
from syncd.server.ui.sources import Sources
from syncd.store import Store, reached
from syncd.surroundings import Surroundings
from syncd.tracing import Tracing


class Surfaces:
    """Puts each together from the parts that answer it."""

    def __init__(
        self,
        engine: Engine,
        vault: Vault,
        clock: Clock,
        receivers: Receivers,
        memory: MemoryView,
        surroundings: Surroundings,
        *,
        config: Callable[[], Config],
        store: Callable[[], Store | None],
        directory: Callable[[], Path | None],
    ) -> None:
        """`directory`: where our state is kept."""
        self._engine = engine
        self._vault = vault
        self._clock = clock
        self._receivers = receivers
        self._memory = memory
        self._surroundings = surroundings
        self._config = config
        self._store = store
        self._directory = directory

    def desks(self) -> list[web.RouteDef]:
        """What the admin API has beside its core, a desk a topic."""
        return [
            *desk_adapters.routes(self._engine.adapters),
            *desk_backfill.routes(self._engine.backfills),
            *desk_changes.routes(self._engine),
            *desk_contract.routes(self._engine.contracts),
            *desk_credentials.routes(self._engine.credentials),
            *desk_drift.routes(self._engine.comparisons),
            *desk_dryrun.routes(self._engine.dry_runs),
            *desk_evidence.routes(self._engine),
            *desk_figures.routes(self._engine),
            *desk_letters.routes(self._engine.letters),
            *desk_log.routes(self._engine, self._engine.log_levels, self._clock),
            *desk_memory.routes(self._memory),
            *desk_pushes.routes(self._engine.pushes),
            *desk_records.routes(self._engine.records),
            *desk_subscriptions.routes(self._engine.subscribers),
            *desk_surroundings.routes(self._surroundings),
            *desk_webhooks.routes(
                self._engine,
                Tracing(self._config, self._store),
                Stage(self._config, self._store, lambda: self._receivers.current, self._vault, self._clock),
            ),
        ]

    def page(self, token: Secret | None, stopping: anyio.Event) -> Page:
        """What people look at. At a Unix socket its file mode says who may, and no token is asked for."""
        sources = Sources(
            status=self._engine,
            letters=self._engine.letters,
            deliveries=Tracing(self._config, self._store),
            figures=self._engine.figures,
            changes=self._engine.changes,
            records=self._engine.records,
            store=lambda: reached(self._store()),
            runbooks=runbooks.pages,
            meaning=runbooks.meaning,
            stopping=stopping,
        )
        asked = token if self._config().server.admin.path is None else None
        return Page(sources, Sessions(asked, self._clock, self._directory), self._clock)
