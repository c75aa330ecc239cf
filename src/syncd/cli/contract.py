"""`syncd contract`: is a partner still what its driver takes it for? One cheap read of each resource."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, Target, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.exits import exit_of as ended_by
from syncd.cli.output import Failure, clock_time, paint, plural, print_failure, result, result_json, say
from syncd.errors import SyncdError

if TYPE_CHECKING:
    from syncd.cli.link import Link
    from syncd.config import Config
    from syncd.contracts import Contracts

Row = Mapping[str, Any]
SECONDS = 300
"""Every resource waits for its limits, in the lowest lane."""
LONGEST_SECONDS = 3_600
LOOK_SECONDS = 1.0
"""From one look at how it goes to the next."""
LINE_SECONDS = 30.0
"""So long after a line the next one says anew until when a limit is waited for: others may have gone first."""


@click.command(short_help="Compare a partner's answers with what its driver relies on.")
@click.argument("target", type=Target(), metavar="[INTEGRATION[/RESOURCE]]", required=False)
@click.option(
    "--spec", "specs", type=click.Path(path_type=Path), metavar="FILE", multiple=True,
    help="Also compare the answers with this OpenAPI document, instead of the file's `contract.spec`; may come again, the "
    "newest last.",
)  # fmt: skip
@click.option(
    "--wait", "seconds", type=click.IntRange(1, LONGEST_SECONDS), default=SECONDS, show_default=True,
    help="Seconds for all resources of one integration, limits included.",
)  # fmt: skip
@common(json=True, database=True)
def contract(app: App, target: tuple[str, str | None] | None, specs: tuple[Path, ...], seconds: int) -> Exit:
    """Read a few records of each resource and compare them with the driver's mapping and samples. Nothing is written.

    Told are fields that are gone, or of another kind, and records that cannot be read; new fields are counted. Through the
    daemon where one runs, else by ourselves under its lease. Exit 1 where something is not as it was, 75 where it is as far
    as was looked and not all could be looked at yet.
    """
    config = app.config()
    if target is None and specs:
        raise Failure("--spec is one partner's", do="syncd contract INTEGRATION --spec FILE", exit=Exit.USAGE)
    for spec in specs:
        if not spec.is_file():
            raise Failure(f"{spec} is not there", do="give the path of an OpenAPI document", exit=Exit.USAGE)
    names = [target[0]] if target is not None else [
        name for name, (partner, _) in config.integrations.items() if partner.is_enabled(name)
    ]  # fmt: skip
    found, ended = [], Exit.OK
    for name in names:
        known_integration(config, name)
        asked = {
            "integration": name,
            "resource": target[1] if target is not None else None,
            "spec": [str(spec.resolve()) for spec in specs],
            "seconds": seconds,
        }
        try:
            told = dict(arun(_found(app, config, asked)))
        except (Failure, SyncdError) as error:
            if len(names) == 1:
                raise
            ended = max(ended, _said(name, error))  # of one partner: the others can be asked all the same
            continue
        told.pop("schema", None)
        found.append(told)
        if not app.as_json:
            for line in render(told):
                result(line)
    if app.as_json:
        result_json({"schema": "syncd.contract/1", "integrations": found})
    elif not names:
        say("no integration is enabled")
    # What was found counts for more than who could not be asked.
    return exit_of(found) if exit_of(found) is Exit.FAILURES else max(exit_of(found), ended)


def _said(name: str, error: Failure | SyncdError) -> Exit:
    """One integration could not be looked at."""
    if isinstance(error, SyncdError):
        print_failure(f"{name} was not looked at", str(error), error.hint)
        return ended_by(error)
    print_failure(f"{name} was not looked at", error.why or error.what, error.do)
    return Exit(error.exit_code)


def exit_of(found: Sequence[Row]) -> Exit:
    """A difference, or what no waiting lets us look at, counts for more than what a while may bring."""
    resources = [each for one in found for each in one["resources"]]
    if any(one["drift"] or (one["note"] and not one.get("later")) for one in resources):
        return Exit.FAILURES
    return Exit.TRY_LATER if any(one["note"] for one in resources) else Exit.OK


async def _found(app: App, config: Config, asked: dict[str, Any]) -> Row:
    from syncd.cli.link import Unreachable

    link = app.link()
    try:
        with _told_of(link, asked["integration"]):
            return link.post("contract", asked, seconds=asked["seconds"] + 30.0)
    except Unreachable:
        pass
    from syncd.cli.live import alone
    from syncd.contracts import Contracts

    name = asked["integration"]
    async with alone(app, config, name, make=True, do=f"syncd contract {name}") as account:
        desk = Contracts(
            config=lambda: config, directory=app.config_directory, accounts=lambda: [account], clock=app.clock,
            names=lambda: {name: list(account.plans)},
        )  # fmt: skip
        return await _told_while(app, desk, asked)


# -- telling how it goes


class Telling:
    """Says on stderr what a look is at, and what it waits for: each once, and now and then until when it does now."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._said: tuple[object, ...] = ()
        self._left_seconds = 0.0

    def hears(self, look: Row | None) -> None:
        if look is None or not look["resource"]:
            return
        news, left_seconds = (look["resource"], look["waits_for"]), look["left_seconds"]
        moved = look["until"] is not None and self._left_seconds - left_seconds >= LINE_SECONDS
        if news == self._said and not moved:
            return
        self._said, self._left_seconds = news, left_seconds
        what = f"{self._name}: looking at {look['resource']} ({look['number']} of {look['of']})"
        if look["waits_for"]:
            until = f" until {clock_time(look['until'])} or later" if look["until"] else ""
            what += f", waiting for a limit{until}: {look['waits_for']}"
        say(f"{what}; at most {left_seconds:.0f} s more in all")


@contextmanager
def _told_of(link: Link, name: str) -> Iterator[None]:
    """While the daemon looks. A thread asks it, so that Ctrl-C ends the wait for the answer itself."""
    over, telling = threading.Event(), Telling(name)

    def follow() -> None:
        while not over.wait(LOOK_SECONDS):
            try:
                look = link.get("contract", {"integration": name})["look"]
            except (Failure, KeyError):
                return  # a daemon of an older release, or one that goes: the answer will tell
            if not over.is_set():
                telling.hears(look)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()


async def _told_while(app: App, desk: Contracts, asked: Row) -> Row:
    """The same where the command looks by itself."""
    import anyio

    name = asked["integration"]
    telling, found, failure = Telling(name), {}, None

    async def follow() -> None:
        while True:
            await app.clock.sleep(LOOK_SECONDS)
            telling.hears(desk.looking(name))

    async with anyio.create_task_group() as group:
        group.start_soon(follow)
        try:
            found = await desk.contract(name, asked["resource"], asked["spec"], float(asked["seconds"]))
        except Exception as error:  # out of the group as it is, not wrapped
            failure = error
        group.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return found


# -- showing


def render(found: Row) -> list[str]:
    """One integration's findings, as lines."""
    resources = found["resources"]
    number = sum(len(one["drift"]) + one["more"] for one in resources)
    records, calls = sum(one["records"] for one in resources), sum(one["calls"] for one in resources)
    against = "".join(f" and {file}" for file in found["published"])
    left = sum(1 for one in resources if one["note"])
    of = f"{len(resources) - left:,} of " if left else ""
    said = "as its driver relies on" if number == 0 else f"{plural(number, 'difference')}"
    said += f"; {plural(left, 'resource was', 'resources were')} not looked at" if left else ""
    lines = [
        f"{found['integration']}: {plural(records, 'record')} of {of}{plural(len(resources), 'resource')} in "
        f"{plural(calls, 'call')}, compared with mapping and samples{against}: {said}"
    ]
    for one in resources:
        lines += [
            paint(f"  ! {one['resource']}: {each['place']}: {each['told']} ({each['what']})", "red")
            for each in one["drift"]
        ]
        if one["more"]:
            lines.append(f"  ! {one['resource']}: and {one['more']} more")
        lines += [f"  ? {one['resource']}: {each['place']}: {each['told']}" for each in one["remarks"]]
        if one["note"]:
            lines.append(paint(f"  ? {one['resource']}: not looked at: {one['note']}", "yellow"))
    new = sum(len(one["unknown"]) for one in resources)
    if new:
        lines.append(f"  + {plural(new, 'field')} in no sample, on which nothing relies: --json names them")
    if any(one["note"] and one.get("later") for one in resources):
        lines.append(f"  do: longer, or later: syncd contract {found['integration']} --wait {LONGEST_SECONDS}")
    return lines
