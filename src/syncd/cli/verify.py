"""`syncd verify`: the check after a deployment, with a test record where the partner allows one."""

from __future__ import annotations

import json
import secrets
import sys
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, paint, result, result_json, say, wrapped

if TYPE_CHECKING:
    from syncd.cli.verify_steps import Check, Step
    from syncd.config import Config
    from syncd.kit import Canary

WIDTH = 80
NAME_COLUMNS = 10


@click.command(short_help="The check after a deployment, with a test record.")
@click.argument("integration", metavar="INTEGRATION")
@click.option("--yes", is_flag=True, help="Make the test record without asking.")
@click.option("--read-only", is_flag=True, help="Make no test record.")
@click.option("--dry-run", is_flag=True, help="Say what would be made; call and write nothing.")
@common(json=True, database=True)
def verify(app: App, integration: str, yes: bool, read_only: bool, dry_run: bool) -> Exit:
    """Health, the partner's answer, a marked test record made, read back, found in the copy and ended, metrics.

    All of it by the running daemon: inside its limits, by its queue of pushes. What was made is ended when a step fails,
    too; what a killed check left is ended by the next one. Partners whose driver names no such record are only read.
    """
    config = app.config()
    canary = None if read_only else _canary(config, integration)
    if dry_run:
        return _rehearsed(app, integration, canary)
    if canary is not None and not yes:
        _asked(config, integration, canary)
    try:
        steps, check = arun(_verified(app, config, integration, canary))
    except KeyboardInterrupt:
        if canary is not None:
            say(f"what was made is ended by the daemon, or by the next check: syncd push list {integration}")
        raise
    wrong = next((step for step in steps if not step.ok), None)
    if app.as_json:
        result_json(_as_json(app, integration, canary, steps, check))
    elif wrong is None:
        took = sum(step.seconds for step in steps)
        say(f"{paint(f'{integration} is verified', 'green', err=True)} in {took:.1f} s")
    else:
        say(f"{paint(f'{integration} is not verified', 'red', err=True)}: {wrong.name}")
    return Exit.OK if wrong is None else wrong.exit


def _canary(config: Config, name: str) -> Canary | None:
    from syncd import drivers

    partner, _ = known_integration(config, name)
    usual = drivers.load(partner.driver, rest=partner.rest, partner=partner.name)
    return drivers.of_integration(partner, name, usual).spec.verify


def _asked(config: Config, name: str, canary: Canary) -> None:
    from syncd import drivers

    partner, _ = known_integration(config, name)
    driver = drivers.load(partner.driver, rest=partner.rest, partner=partner.name)
    where = driver.base_url(partner.options_for(name), partner.base_url_for(name))
    say(f"makes in the account of {name}, at {where}: {' '.join(canary.about.split())}")
    if not sys.stdin.isatty():
        raise Failure(
            "nobody can be asked whether that may be made",
            "this is no terminal",
            f"syncd verify {name} --yes; without a record: syncd verify {name} --read-only",
            exit=Exit.USAGE,
        )
    click.confirm("Go on?", abort=True, err=True)


def _rehearsed(app: App, name: str, canary: Canary | None) -> Exit:
    if canary is None:
        if app.as_json:
            result_json(
                {"schema": "syncd.verify-rehearsal/1", "integration": name, "mode": "read-only", "requests": []}
            )
        else:
            result("no record would be made: health, one cheap call, the age of its data, metrics")
        return Exit.OK
    said = {
        "integration": name,
        "resource": canary.resource,
        "kind": canary.create.kind,
        "data": canary.create.marked("MARK"),
        "dry_run": True,
    }
    found = app.link().post("pushes", said)["request"]
    if app.as_json:
        rehearsal = {"schema": "syncd.verify-rehearsal/1", "integration": name, "mode": "canary"}
        result_json({**rehearsal, "about": canary.about, "requests": [found]})
        return Exit.OK
    result(f"would make {' '.join(canary.about.split())}:")
    result(f"{found['method']} {found['path']}")
    result(json.dumps(found["body"], indent=2, ensure_ascii=False))
    result(
        f"then read it, find it in syncd.records, and push {canary.close.kind} {json.dumps(canary.close.data)} to it"
    )
    say("nothing was called or written")
    return Exit.OK


async def _verified(app: App, config: Config, name: str, canary: Canary | None) -> tuple[list[Step], Check]:
    from syncd.cli.link import Link, who
    from syncd.cli.verify_record import Marked
    from syncd.cli.verify_steps import Check

    link = app.link()
    release = str(link.get("status").get("version", ""))  # without a daemon nothing begins: exit 69
    async with app.store(config) as store:
        marked = None
        if canary is not None:
            marked = Marked(link, store, app.clock, name, canary, mark=secrets.token_hex(4))
        check = Check(link, Link.of(app.config_directory, public=True), app.clock, name, marked)
        steps: list[Step] = []
        async with aclosing(check.run()) as running:
            async for step in running:
                steps.append(step)
                if not app.as_json:
                    _print(step)
        after = {
            "ok": all(step.ok for step in steps),
            "mode": "canary" if canary is not None else "read-only",
            "release": release,
            "record": check.marked.record if check.marked is not None else None,
            "failed": [step.name for step in steps if not step.ok],
        }
        await store.audit.add(who(), "verified", integration=name, after=after)
        return steps, check


def _print(step: Step) -> None:
    mark = paint("✓", "green") if step.ok else paint("✗", "red")
    took = f"{step.seconds * 1000:,.0f} ms" if step.seconds < 10 else f"{step.seconds:,.1f} s"
    indent = " " * (NAME_COLUMNS + 4)
    first, *others = wrapped(f"{mark} {step.name:<{NAME_COLUMNS}}  {step.detail}", WIDTH - 10)
    pad = max(WIDTH - 9 - len(click.unstyle(first)), 1)
    result(f"{first}{' ' * pad}{took:>9}")
    for line in others:
        result(indent + line.strip())
    if not step.ok and step.do:
        result(f"{indent}do: {step.do}")


def _as_json(app: App, name: str, canary: Canary | None, steps: list[Step], check: Check) -> dict[str, Any]:
    return {
        "schema": "syncd.verify/1",
        "at": app.clock.now(),
        "integration": name,
        "mode": "canary" if canary is not None else "read-only",
        "ok": all(step.ok for step in steps),
        "mark": check.marked.mark if check.marked is not None else None,
        "record": check.marked.record if check.marked is not None else None,
        "steps": [
            {
                "name": one.name,
                "ok": one.ok,
                "detail": one.detail,
                "do": one.do or None,
                "seconds": round(one.seconds, 3),
            }
            for one in steps
        ],
    }
