"""The daemon, as a table of contents: configuration, log, server, database, leases, partners; then wait; then drain."""

from __future__ import annotations

import gc
import os
import platform
import secrets
import socket
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import anyio
import structlog
from anyio.abc import TaskGroup

from syncd import __version__, drivers, log, metrics, telemetry
from syncd.alerts.delivery import Receiver
from syncd.alerts.push import Pusher
from syncd.build import Builder
from syncd.clock import Clock, SystemClock
from syncd.conditions import gauges
from syncd.config import Config, load, main_file
from syncd.engine import Engine
from syncd.errors import ConfigError, SchemaError, StoreError, SyncdError
from syncd.loops import lasting
from syncd.memory import Keeper, MemoryView, Trace, found
from syncd.opening import OpenedStore, keep_alive, key_ring, open_store
from syncd.pulse import WORK_STUCK_SECONDS, Pulse
from syncd.receivers import Receivers
from syncd.reload import Reloader, noted, tell_warnings
from syncd.scopes import Scopes, ScopeState
from syncd.sdnotify import Notifier
from syncd.secrets import Secret, Vault
from syncd.server.app import Server
from syncd.server.kept import Kept
from syncd.server.ports import ReloadReport
from syncd.server.refusals import Refusals
from syncd.server.webhooks import Webhooks
from syncd.signals import Signals
from syncd.slow_steps import SlowSteps
from syncd.store import Store
from syncd.store.intake import Intake
from syncd.supervisor import Supervisor
from syncd.surfaces import Surfaces
from syncd.surroundings import Surroundings
from syncd.sync.narrowing import Narrowing
from syncd.upkeep import Upkeep

say = structlog.get_logger()

DATABASE_PAUSE_SECONDS = 1.0
"""Between two tries to reach the database at the start: partners are told to come again until it is there."""
RELEASE_SECONDS = 3.0
"""Longest that giving leases back may take at a stop; what is not given back runs out by itself."""
CLOSE_SECONDS = 7.0
"""What connections, and an embedded server, are given to close in; a database that hangs would keep us from stopping."""
MORE_SECONDS = 30.0
"""So much more time is asked for, three times as often, while a start or a stop goes on: a schema may be large, a drain long.
A loop that stands still asks for nothing, and is ended by whoever started us."""
STOP_SERVER_SECONDS = 90.0
"""What an embedded server may take to write down what it holds."""


@dataclass(frozen=True, slots=True)
class Options:
    """How `syncd run` was called."""

    config: Path
    embedded: bool = False
    state_directory: Path | None = None
    database_url: str | None = None
    """Takes the place of `database.url`; the demo's way in."""
    strict: bool = False
    log_stream: IO[str] | None = None
    """Where the log goes instead of stderr."""


class Daemon:
    """One process. `run()` returns the exit code."""

    def __init__(
        self, options: Options, *, clock: Clock | None = None, environ: Mapping[str, str] | None = None
    ) -> None:
        self.options = options
        self.clock = clock or SystemClock()
        self.environ = os.environ if environ is None else environ
        self.stopping = anyio.Event()
        self._why = ""
        self._draining = False
        self._started = False
        self._server_trouble = ""
        """Why an embedded server that died cannot be started again."""
        self._reloading = anyio.Lock()
        self._notifier = Notifier(self.environ, clock=self.clock)
        loaded = load(options.config, drivers=drivers.facts(), env=self.environ, strict=options.strict)
        self._config = loaded.require()
        self._warnings = loaded.warnings
        self._vault = Vault(self._config.secrets.directory, self.environ)
        self._opened: OpenedStore | None = None
        self._intake = Intake(None, clock=self.clock)
        self._refusals = Refusals(self.clock)
        self._receivers = Receivers(self._vault, lambda: self._store, clock=self.clock)
        self._supervisor: Supervisor | None = None
        self._scopes: Scopes | None = None
        self._reloader: Reloader | None = None
        self._upkeep: Upkeep | None = None
        self._memory = Keeper(Narrowing(self.clock), self.clock)
        self._memory_trace = Trace(self.clock)
        self._slow_steps = SlowSteps(self.clock)
        self._pulse = Pulse(self.clock, self._notifier, self._stuck_workers, beat=self._memory.beat)
        self.engine = Engine(
            config=lambda: self._config,
            supervisor=lambda: self._supervisor,
            store=lambda: self._store,
            clock=self.clock,
            stuck=self._pulse.stuck,
            unready=self._unready,
            storable=self._intake.ready,
            refusing=lambda: self._receivers.troubles,
            reload=self._reload,
            directory=options.config,
            loop_lag=self._pulse.worst_lag,
            cannot_store=lambda: self._server_trouble or self._intake.trouble,
            refused=self._refusals.view,
            state_directory=options.state_directory,
        )
        self.engine.own.ask(self._memory.trouble)

        def directory() -> Path | None:
            return options.state_directory or self._config.state_directory

        self._pusher = Pusher(
            config=lambda: self._config.alerts,
            receiver=lambda: Receiver.of(self._config.alerts, self._vault),
            conditions=lambda: self.engine.conditions.current,
            starting=lambda: self.engine.conditions.starting,
            clock=self.clock,
            directory=directory,
        )
        self.engine.own.ask(self._pusher.trouble)
        self._surfaces = Surfaces(
            self.engine, self._vault, self.clock, self._receivers,
            MemoryView(
                self._memory, self._memory_trace, self._slow_steps, self._intake,
                lambda: self._supervisor, lambda: self._store,
            ),
            Surroundings(options.config, self.environ, embedded=options.embedded),
            config=lambda: self._config,
            store=lambda: self._store,
            directory=directory,
        )  # fmt: skip

    @property
    def store(self) -> Store | None:
        """The store, once the database was reached."""
        return self._store

    @property
    def _store(self) -> Store | None:
        return self._opened.store if self._opened is not None else None

    async def run(self) -> int:
        log.configure(self._config.log.level, self._config.log.format, self.options.log_stream, clock=self.clock)
        tell_warnings(self._warnings)
        metrics.BUILD_INFO.labels(__version__, platform.python_version()).set(1)
        metrics.RELOAD_OK.set(1)
        self._memory.use(found(self._config.memory.ceiling))
        token = self._vault.resolve(self._config.server.admin_token) if self._config.server.admin_token else None
        self._receivers.load(self._config)
        webhooks = Webhooks(
            lambda: self._receivers.current, self._intake, clock=self.clock, arrived=self._arrived,
            sure=lambda: self._receivers.ready, refusals=self._refusals,
        )  # fmt: skip
        plain, whole = (
            Kept(every, self.clock, lambda: self.engine.conditions.turns)
            for every in (metrics.exposition, gauges.exposition)
        )
        server = Server(
            self._config.server, self.engine, clock=self.clock, admin_token=token, webhooks=webhooks,
            desks=self._surfaces.desks(), page=self._surfaces.page(token, self.stopping), exposition=plain, everything=whole,
        )  # fmt: skip
        traces = telemetry.begin(self._config.tracing, self._vault)
        try:
            with self._slow_steps:
                return await self._run(server)
        finally:
            if traces is not None:
                with anyio.CancelScope(shield=True):
                    await traces.aclose()

    async def _run(self, server: Server) -> int:
        try:
            await self._live(server)
        finally:  # whatever ended it: an embedded server would run on unseen
            with anyio.CancelScope(shield=True):
                await self._close_store()
        say.info("daemon_stopped")
        return 0

    async def _live(self, server: Server) -> None:
        async with anyio.create_task_group() as everything:
            await everything.start(Signals(self._stop, self._reload).run)
            await everything.start(server.run)

            def begin(name: str, work: Callable[[], Awaitable[None]]) -> None:
                everything.start_soon(lasting, name, work, self.clock, name=name)

            begin("pulse", self._pulse.run)
            begin("more time", self._ask_for_time)
            begin("log levels", self.engine.log_levels.run)
            begin("watch", self.engine.keep_watch)
            begin("alerts", self._pusher.run)
            begin("memory trace", self._memory_trace.run)
            say.info(
                "daemon_started",
                version=__version__,
                config=str(self.options.config),
                partners=sorted(self._config.partners),
                listen=str(server.public),
                admin=str(server.admin),
                pid=os.getpid(),
            )
            if await self._open_store(self._config):
                assert self._opened is not None
                self._intake.use(self._opened.url)
                if (server_of_ours := self._opened.server) is not None:
                    begin("embedded server", partial(keep_alive, server_of_ours, self.clock, self._server_told))
                begin("receivers", partial(self._receivers.keep, self.clock))
                upkeep = await self._start_partners(everything)
                begin("upkeep", upkeep.run)
                begin("comparisons", self.engine.comparisons.run)
                begin("contracts", self.engine.contracts.run)
                begin("replays", self.engine.letters.run)
                self._started = True
                await self._note_start()
                self._notifier.ready()
                self._notifier.status(self.engine.summary())
                say.info("daemon_ready", integrations=len(self._config.integrations))
                await self.stopping.wait()
            await self._drain()
            everything.cancel_scope.cancel()

    # -- up --------------------------------------------------------------------------------------------------------

    async def _open_store(self, config: Config) -> bool:
        """Reach the database, however long it takes; False when told to stop before."""
        said = False
        while not self.stopping.is_set():
            try:
                self._opened = await open_store(
                    config,
                    self._vault,
                    self.clock,
                    embedded=self.options.embedded,
                    state_directory=self.options.state_directory,
                    url=self.options.database_url,
                    said_in=main_file(self.options.config),
                )
                if said:
                    say.info("database_reached")
                return True
            except SchemaError:
                raise
            except StoreError as error:
                self._intake.lacks(str(error))
                if not said:
                    say.warning("database_waited_for", reason=str(error), action=error.hint or "syncd check --env")
                said = True
            self._notifier.status("waiting for the database")
            with anyio.move_on_after(DATABASE_PAUSE_SECONDS):
                await self.stopping.wait()
        return False

    async def _start_partners(self, everything: TaskGroup) -> Upkeep:
        store = self._store
        assert store is not None
        # One life of one process: a restart is another owner, which takes over once this one is proven dead.
        owner = f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(4)}"

        def keep(state: ScopeState) -> None:
            everything.start_soon(state.keep, name=f"lease {state.ownership.scope}")

        self._scopes = Scopes(store, owner, self.clock, keep)
        builder = Builder(store, self._vault, self._scopes, self.clock, narrowing=self._memory.narrowing)
        self._supervisor = Supervisor(builder, self.clock, everything)
        self._reloader = Reloader(
            self.options.config, self._vault, builder, self._supervisor, self._scopes, self.clock, self.environ,
            receivers=self._receivers, strict=self.options.strict,
        )  # fmt: skip
        upkeep = Upkeep(store, self._supervisor, self.engine, self._notifier, self.clock, lambda: self._config)
        self._upkeep = upkeep
        await upkeep.begin()
        await self._supervisor.start(self._config)
        return upkeep

    async def _note_start(self) -> None:
        """In the audit log: this version begins, and which one was there before."""
        after = {"version": __version__, "host": socket.gethostname(), "pid": os.getpid()}
        before = None
        with suppress(StoreError):
            assert self._store is not None
            latest = await self._store.audit.list("", actions=["daemon_started"], limit=1)
            before = latest[0].after if latest else None
        await self.engine.changes.note("syncd", "daemon_started", before=before, after=after)

    # -- down ------------------------------------------------------------------------------------------------------

    async def _drain(self) -> None:
        """/ready says no from here on, and so does intake; what is held ends between two pages, leases go back, slots are
        remembered."""
        self._draining = True
        self._notifier.stopping()
        self._notifier.extend(MORE_SECONDS)
        seconds, began = self._config.drain_seconds, self.clock.monotonic()
        say.info("drain_started", seconds=seconds)
        await self._intake.aclose()  # two seconds at most, and they count
        seconds = max(seconds - (self.clock.monotonic() - began), 0.0)
        if self._supervisor is not None:
            in_time = await self._supervisor.drain(seconds)
            say.info("drain_ended", in_time=in_time)
        states = list(self._scopes.known.values()) if self._scopes is not None else []
        with anyio.move_on_after(RELEASE_SECONDS):
            told = {"version": __version__, "host": socket.gethostname(), "pid": os.getpid()}
            await self.engine.changes.note("syncd", "daemon_stopped", before=told, after={"why": self._why})
        with anyio.move_on_after(RELEASE_SECONDS):  # of all together: a database that hangs must not hold up a stop
            async with anyio.create_task_group() as group:
                for state in states:
                    group.start_soon(self._release, state)

    async def _release(self, state: ScopeState) -> None:
        try:
            await state.end()
        except SyncdError as error:
            say.warning("scope_not_released", scope=state.ownership.scope, reason=str(error))

    async def _close_store(self) -> None:
        opened, self._opened = self._opened, None
        if opened is None:
            return
        self._notifier.extend(MORE_SECONDS if opened.server is None else STOP_SERVER_SECONDS)
        with anyio.move_on_after(CLOSE_SECONDS) as patience:
            await opened.aclose()
        if patience.cancelled_caught:
            say.warning("store_not_closed", reason="the database does not answer", waited_seconds=CLOSE_SECONDS)

    def _stop(self, why: str) -> None:
        self._why = why
        self.stopping.set()

    async def _ask_for_time(self) -> None:
        """Of the service manager, while a start or a stop goes on."""
        while True:
            if self._draining or not self._started:
                self._notifier.extend(MORE_SECONDS)
            await self.clock.sleep(MORE_SECONDS / 3)

    def _server_told(self, trouble: str) -> None:
        self._server_trouble = trouble

    # -- asked by others -------------------------------------------------------------------------------------------

    def _arrived(self, integration: str) -> bool:
        return self._supervisor is not None and self._supervisor.arrived(integration, deliveries=True)

    def _stuck_workers(self) -> list[str]:
        return self._supervisor.stuck(WORK_STUCK_SECONDS) if self._supervisor is not None else []

    def _unready(self) -> list[str]:
        if self._draining or self.stopping.is_set():
            return ["draining: this instance is stopping"]
        return [] if self._started else ["starting"]

    async def _reload(self, who: str) -> ReloadReport:
        if self._reloader is None or self.stopping.is_set():
            why = "still starting: nothing to reload yet"
            if self.stopping.is_set():
                why = "stopping: nothing is reloaded any more"
            say.warning("reload_refused", who=who, reason=why)  # who sent a signal gets no other answer
            return ReloadReport(ok=False, problems=[why])
        async with self._reloading:
            self._notifier.reloading()
            try:
                report, self._config = await self._reloader.reload(self._config, who)
            finally:
                self._notifier.ready()
            self._memory.use(found(self._config.memory.ceiling))
            await self._take_keys()
            self.engine.own.reloaded(report)
            if self._upkeep is not None:
                self._upkeep.look()
            action = "config_reloaded" if report.ok else "config_reload_failed"
            await self.engine.changes.note(who, action, after=noted(report))
        return report

    async def _take_keys(self) -> None:
        """The keys that seal, as they are in their file now. systemd hands its credentials over at a start only."""
        state = self.options.state_directory or self._config.state_directory or Path("/var/lib/syncd")
        try:
            await self.engine.credentials.take_keys(key_ring(self._config, self._vault, state, self.environ))
        except (SyncdError, OSError) as error:
            say.warning("keys_not_taken_over", reason=str(error), action="syncd key rotate --check")


async def run(options: Options) -> int:
    """`syncd run`. Raises ConfigError (exit 78) before anything was started."""
    daemon = Daemon(options)
    _collect_seldom()
    return await daemon.run()


def _collect_seldom() -> None:
    """Look for reference cycles every 20,000 objects instead of every 700.

    A page is thousands of small objects without a cycle among them, all alive until it is stored: at the interpreter's
    own pace a seventh of an import goes into looking at them in vain. What was loaded at the start is never looked at.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)


__all__ = ["ConfigError", "Daemon", "Options", "Secret", "run"]
