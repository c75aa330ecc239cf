"""Partners as running things: started, kept alive, swapped on reload, drained at the end.

One partner's crash is its own: its runner is started again after a pause, and the others never notice. Runtime state that
must outlive a configuration (gates, leases, tokens) belongs to the scopes, not to the partner that uses them (R13).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import anyio
import structlog
from anyio.abc import TaskGroup

from syncd.build import Builder, Built
from syncd.clock import Clock
from syncd.config import Config, PartnerConfig
from syncd.errors import StoreError, SyncdError
from syncd.holds import in_force
from syncd.maintaining import shut
from syncd.secrets import Ref
from syncd.store import Control
from syncd.sync.runner import Runner

log = structlog.get_logger()

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 60.0


@dataclass(slots=True)
class Running:
    """One partner with its runner and the cancel scope that ends it."""

    built: Built
    runner: Runner
    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)


class Supervisor:
    """Owns the runners. All methods are called in the daemon's own task group."""

    def __init__(self, builder: Builder, clock: Clock, tasks: TaskGroup) -> None:
        self._builder = builder
        self._clock = clock
        self._tasks = tasks
        self._pauses: Mapping[str, Control] = {}
        self.windows: Mapping[str, Control] = {}
        """By integration: the maintenance that it is in."""
        self._orders: Sequence[Control] = ()
        self._swapping = anyio.Lock()
        self._draining = False
        self.running: dict[str, Running] = {}
        self.broken: dict[str, str] = {}
        """Partners that could not be built, and why; they run as soon as a reload mends them."""

    async def start(self, config: Config) -> None:
        """Build and start every enabled partner. One that cannot be built is said and left out."""
        for name, partner in config.partners.items():
            if any(partner.is_enabled(integration) for integration in partner.integrations):
                await self._start(name, partner)

    async def replace(self, name: str, partner: PartnerConfig | None, *, drain_seconds: float) -> None:
        """Swap one partner: what is held ends between two pages, then the new one goes on from the stored cursors.

        Raises SyncdError, with the old one still running, when the new one cannot be built.
        """
        wanted = partner is not None and any(partner.is_enabled(integration) for integration in partner.integrations)
        built = self._builder.build(partner) if partner is not None and wanted else None
        async with self._swapping:
            old = self.running.pop(name, None)
            try:
                if old is not None:
                    await self._stop(old, drain_seconds)
                self.broken.pop(name, None)
                if built is not None and self._draining:
                    await built.aclose()
                elif built is not None:
                    await self._launch(name, built)
            except Exception as error:
                # Neither of the two runs: that is said, and the next reload tries again.
                self.broken[name] = str(error) if isinstance(error, SyncdError) else f"{type(error).__name__}: {error}"
                raise

    def secrets(self) -> dict[Ref, str]:
        """Short hashes of the secrets in force: what a refused or unreadable new one leaves as it was."""
        return {
            ref: known
            for running in self.running.values()
            for refs in running.built.secrets.values()
            for ref, known in refs.items()
        }

    async def open_views(self) -> None:
        """Try again what could not be done when a partner was started."""
        for name, running in list(self.running.items()):
            if not running.built.opened:
                await self._open(name, running.built)

    async def drain(self, seconds: float) -> bool:
        """Stop them all: nothing new, then let what is held end. True when everything ended in time."""
        in_time = True
        self._draining = True
        with anyio.move_on_after(seconds):
            async with self._swapping:
                pass  # a partner that is being swapped is held by nobody's list: let that end first

        async def end(running: Running) -> None:
            nonlocal in_time
            in_time = await self._stop(running, seconds) and in_time

        async with anyio.create_task_group() as ending:
            for running in self.running.values():
                ending.start_soon(end, running)
        self.running.clear()
        return in_time

    def set_pauses(self, controls: Mapping[str, Control], windows: Mapping[str, Control]) -> None:
        """Let exactly these pauses be in force, and nothing leave of the integrations that are in maintenance."""
        self._pauses, self.windows = controls, windows
        for running in self.running.values():
            shut(running.built.accounts.values(), windows)
            running.runner.set_pauses(controls)

    def set_holds(self, orders: Sequence[Control]) -> None:
        """Let exactly the holds among these orders be in force."""
        self._orders = orders
        for running in self.running.values():
            self._hold(running.built)

    def _hold(self, built: Built) -> None:
        scopes = {name: account.scope for one in self.running.values() for name, account in one.built.accounts.items()}
        scopes |= {name: account.scope for name, account in built.accounts.items()}
        for name, state in built.scopes.items():
            state.gate.set_holds(in_force(self._orders, name, scopes))

    async def try_again(self) -> None:
        """Resources that are parked because the process ended over them have one more try. Raises StoreError."""
        for running in list(self.running.values()):
            await running.runner.try_again()

    def wake(self) -> None:
        """Rows may have been added: all feeders look now."""
        for running in self.running.values():
            running.runner.wake()

    def arrived(self, integration: str, *, deliveries: bool = False) -> bool:
        """Deliveries or pushes of this integration were stored: look now. False: it is not ours to work on.

        `deliveries`: it were those alone. They may be thousands a second, and who works on pushes need not look each time."""
        for running in self.running.values():
            account = running.runner.accounts.get(integration)
            if account is not None:
                running.runner.arrived(deliveries=deliveries)
                return account.ownership.held
        return False

    def stuck(self, after_seconds: float) -> list[str]:
        """Partners whose workers take nothing although they could."""
        return [f"workers of {name}" for name, one in self.running.items() if one.runner.pool.stuck(after_seconds)]

    async def _start(self, name: str, partner: PartnerConfig) -> None:
        try:
            built = self._builder.build(partner)
        except SyncdError as error:
            self.broken[name] = str(error)
            log.error("partner_not_started", partner=name, reason=str(error), action=error.hint)
            return
        except Exception as error:
            # A fault in a driver must not keep the other partners from starting.
            self.broken[name] = f"{type(error).__name__}: {error}"
            log.exception("partner_not_started", partner=name)
            return
        await self._launch(name, built)

    async def _launch(self, name: str, built: Built) -> None:
        built.adopt()
        self._hold(built)
        shut(built.accounts.values(), self.windows)
        await self._open(name, built)
        runner = self._builder.runner(built)
        runner.set_pauses(self._pauses)
        running = self.running[name] = Running(built, runner)
        self._tasks.start_soon(self._keep_alive, name, running, name=f"partner {name}")
        log.info("partner_started", partner=name, integrations=sorted(built.accounts))

    async def _open(self, name: str, built: Built) -> None:
        """The typed views are for readers: what is wrong with them is said, and stops nobody's syncing."""
        try:
            await built.open()
        except StoreError as error:
            log.warning("views_not_refreshed", partner=name, reason=str(error), action=error.hint)

    async def _keep_alive(self, name: str, running: Running) -> None:
        pause = FIRST_PAUSE_SECONDS
        try:
            with running.scope:
                while True:
                    began = self._clock.monotonic()
                    try:
                        await running.runner.run()
                        return
                    except Exception:
                        log.exception("partner_crashed", partner=name, pause_seconds=pause)
                    if self._clock.monotonic() - began > LONGEST_PAUSE_SECONDS:
                        pause = FIRST_PAUSE_SECONDS
                    await self._clock.sleep(pause)
                    pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
                    running.runner = self._builder.runner(running.built)
                    running.runner.set_pauses(self._pauses)
        finally:
            running.ended.set()

    async def _stop(self, running: Running, seconds: float) -> bool:
        with anyio.move_on_after(seconds) as limit:
            await running.runner.drain()
        running.scope.cancel()
        await running.ended.wait()
        await running.built.aclose()
        return not limit.cancelled_caught
