"""What all commands share: where the configuration is, how to reach daemon and database, and how to print."""

from __future__ import annotations

import functools
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from syncd.cli.exits import Exit
from syncd.cli.output import Failure

if TYPE_CHECKING:
    from syncd.cli.link import Link
    from syncd.clock import Clock
    from syncd.config import Config, IntegrationConfig, PartnerConfig
    from syncd.store import Store

T = TypeVar("T")
Command = TypeVar("Command", bound=Callable[..., Any])


class App:
    """One invocation's options."""

    def __init__(
        self,
        *,
        config: str | None = None,
        debug: bool = False,
        as_json: bool = False,
        embedded: bool = False,
        state_dir: str | None = None,
    ) -> None:
        self.named_config = config
        self.debug = debug
        self.as_json = as_json
        self.embedded = embedded
        self.state_dir = None if state_dir is None else Path(state_dir)

    @functools.cached_property
    def clock(self) -> Clock:
        from syncd.clock import SystemClock

        return SystemClock()

    @property
    def config_directory(self) -> Path:
        """--config, else SYNCD_CONFIG, else ./config, else /etc/syncd: the first that is named or there."""
        named = self.named_config or os.environ.get("SYNCD_CONFIG")
        if named:
            return Path(named)
        here = Path("config")
        return here if os.path.isdir(here) or not Path("/etc/syncd").is_dir() else Path("/etc/syncd")  # noqa: PTH112

    def config(self) -> Config:
        """The whole configuration, checked. Raises ConfigProblems."""
        from syncd.cli.load import load_config

        return load_config(self.config_directory)

    def link(self) -> Link:
        """The daemon's admin API."""
        from syncd.cli.link import Link

        return Link.of(self.config_directory)

    def state_directory(self, config: Config) -> Path:
        return self.state_dir or Path(config.state_directory)

    @asynccontextmanager
    async def store(self, config: Config | None = None) -> AsyncIterator[Store]:
        """The database the configuration names, or the embedded one with --embedded."""
        from syncd.cli.load import open_store

        async with open_store(self, config or self.config()) as store:
            yield store


def common(*, json: bool = False, database: bool = False) -> Callable[[Command], Command]:
    """The options every command has, and an `App` as first argument."""

    def decorate(function: Command) -> Command:
        @functools.wraps(function)
        def wrapped(
            config: str | None,
            debug: bool,
            *args: Any,
            as_json: bool = False,
            embedded: bool = False,
            state_dir: str | None = None,
            **named: Any,
        ) -> Any:
            app = App(config=config, debug=debug, as_json=as_json, embedded=embedded, state_dir=state_dir)
            return function(app, *args, **named)

        found: Any = wrapped
        if database:
            found = click.option(
                "--state-dir",
                metavar="DIR",
                envvar="SYNCD_STATE_DIR",
                help="Where an embedded PostgreSQL keeps its data; default: state_directory of the configuration.",
            )(found)
            found = click.option("--embedded", is_flag=True, help="Use syncd's own PostgreSQL in the state directory.")(
                found
            )
        if json:
            found = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")(found)
        found = click.option("--debug", is_flag=True, help="Show the traceback of an error.")(found)
        return click.option(  # type: ignore[no-any-return]
            "--config",
            metavar="DIR",
            help="Where syncd.yaml and partners/ are; default: SYNCD_CONFIG, ./config, /etc/syncd.",
        )(found)

    return decorate


def arun(work: Coroutine[Any, Any, T], *, fast: bool = False) -> T:
    """Run a command's async part. `fast` is for what runs long: on uvloop, which costs some 20 ms to load."""
    import asyncio

    make_loop = None
    if fast:
        import uvloop

        make_loop = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(work)


if TYPE_CHECKING:
    Parameter = click.ParamType[Any, Any]
else:
    Parameter = click.ParamType  # older releases of click cannot be subscripted


class Target(Parameter):
    """INTEGRATION or INTEGRATION/RESOURCE."""

    name = "integration[/resource]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str | None]:
        if isinstance(value, tuple):
            return value
        integration, slash, resource = str(value).partition("/")
        if not integration or (slash and not resource) or "/" in resource:
            self.fail(f"{value!r} is neither INTEGRATION nor INTEGRATION/RESOURCE", param, ctx)
        return integration, resource or None


LONGEST_DAYS = 3660
"""Ten years: whoever means longer means for ever, and dates end somewhere."""


class Lasting(Parameter):
    """A duration with its unit that has not ended when it begins: 30m, 2h, 1h30m."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        if isinstance(value, float):
            return value
        from syncd.config.units import DURATION_HELP, parse_duration

        try:
            found = parse_duration(str(value))
        except ValueError as error:
            self.fail(f"{error}; {DURATION_HELP}", param, ctx)
        if not 0 < found <= LONGEST_DAYS * 86_400:
            self.fail(f"{value} would end at once" if not found else f"at most {LONGEST_DAYS}d", param, ctx)
        return found


def known_integration(config: Config, name: str) -> tuple[PartnerConfig, IntegrationConfig]:
    """The integration of that name; a Failure with the one that was probably meant otherwise."""
    found = config.integrations.get(name)
    if found is None:
        from syncd.config import did_you_mean

        raise Failure(f"no integration {name!r}", do=did_you_mean(name, config.integrations), exit=Exit.USAGE)
    return found
