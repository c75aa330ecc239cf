"""`syncd dryrun`: read a few records live, show what a pull would change, write nothing; keep the answers as samples."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, Target, arun, common, known_integration
from syncd.cli.exits import Exit
from syncd.cli.moments import Moment
from syncd.cli.output import Failure, paint, plural, result, result_json, say

if TYPE_CHECKING:
    from syncd.config import Config, PartnerConfig
    from syncd.kit import Driver

Row = Mapping[str, Any]

MOST_RECORDS = 1_000
_CASE = re.compile(r"[a-z0-9][a-z0-9-]{0,60}\Z")
MARKS = {
    "added": ("+", "green"), "changed": ("~", "yellow"), "deleted": ("-", "red"), "rejected": ("!", "red"),
    "unchanged": ("=", None), "stale": ("<", "cyan"), "named": (">", "cyan"), "passed_over": (".", None),
}  # fmt: skip
WORDS = {
    "added": "would be added", "changed": "would change", "unchanged": "unchanged", "deleted": "would be deleted",
    "rejected": "would be rejected", "stale": "older than what is stored", "named": "would be read by its id",
    "passed_over": "of a resource that is not synced",
}  # fmt: skip


@click.command(short_help="Show what a pull would change; write nothing; keep samples.")
@click.argument("target", type=Target(), metavar="INTEGRATION/RESOURCE")
@click.option("--limit", type=click.IntRange(1, MOST_RECORDS), default=10, show_default=True, help="Records to read.")
@click.option(
    "--since", type=Moment(), metavar="WHEN", help="As an incremental run would ask: what changed since then."
)
@click.option("--values", is_flag=True, help="Show values, not only of what kind they are.")
@click.option(
    "--save", is_flag=False, flag_value="", metavar="DIR",
    help="Keep the answers, scrubbed, as samples: in DIR, else with the driver, else beside the partner's file; of an "
    "installed driver in ./samples/DRIVER.",
)  # fmt: skip
@click.option("--case", default="live", show_default=True, metavar="NAME", help="What the samples are called.")
@click.option("--force", is_flag=True, help="Write over samples of that name.")
@click.option("--wait", "seconds", type=click.IntRange(1, 600), default=60, show_default=True, help="Seconds in all.")
@common(json=True, database=True)
def dryrun(
    app: App,
    target: tuple[str, str | None],
    limit: int,
    since: datetime | None,
    values: bool,
    save: str | None,
    case: str,
    force: bool,
    seconds: int,
) -> Exit:
    """Read up to N records as a pull would, within the limits, and show what would become of each row. Nothing is written.

    Through the daemon where one runs, else by ourselves under its lease. Exit 1 where a record would be rejected.
    """
    name, resource = target
    if resource is None:
        raise Failure(f"name one resource of {name}", do=f"syncd dryrun {name}/RESOURCE", exit=Exit.USAGE)
    if not _CASE.match(case):
        raise Failure(f"{case!r} cannot be a sample's name", do="lower-case letters, digits and -", exit=Exit.USAGE)
    config = app.config()
    partner, _ = known_integration(config, name)
    folder = None if save is None else _folder(app, partner, save)
    if folder is not None and not force:
        _free(folder, resource, case)
    asked: dict[str, Any] = {
        "integration": name, "resource": resource, "limit": limit, "values": values, "save": save is not None,
        "case": case, "seconds": seconds, "since": None if since is None else since.isoformat(),
    }  # fmt: skip
    found = arun(_found(app, config, asked, since))
    kept = dict(found.pop("samples", {}))
    if folder is not None:
        _played(config, partner, name, kept, _beside(app, partner))
        found["saved"] = [str(path) for path in _written(folder, kept)]
    if app.as_json:
        result_json(found)
    else:
        for line in render(found):
            result(line)
    if folder is not None:
        for path in found["saved"]:
            say(f"saved {path}")
        say(_how_to_play(partner, folder) if kept else "nothing to save: no record was shown")
    return Exit.FAILURES if found["counts"].get("rejected") else Exit.OK


async def _found(app: App, config: Config, asked: dict[str, Any], since: datetime | None) -> dict[str, Any]:
    from syncd.cli.link import Unreachable

    try:
        return app.link().post("dryrun", asked, seconds=asked["seconds"] + 10.0)
    except Unreachable:
        pass
    from syncd.cli.live import alone
    from syncd.config import did_you_mean
    from syncd.dryrun import DryRuns

    name, resource = asked["integration"], asked["resource"]
    async with alone(app, config, name, make=True, do=f"syncd dryrun {name}/{resource}") as account:
        desk = DryRuns(accounts=lambda: [account], clock=app.clock, names=lambda: {name: list(account.plans)})
        known = desk.names()[name]
        if resource not in known:
            why = did_you_mean(resource, known)
            raise Failure(f"{name} has no resource {resource!r}", do=why, exit=Exit.USAGE)
        told = await desk.dry_run(
            name, resource, asked["limit"], since=since, values=asked["values"], save=asked["save"],
            case=asked["case"], seconds=float(asked["seconds"]),
        )  # fmt: skip
    return {"schema": "syncd.dryrun/1", **told}


# -- showing


def render(found: Row) -> list[str]:
    """What was found, as lines."""
    counts, records = found["counts"], found["records"]
    told = [f"{number:,} {WORDS[what]}" for what, number in sorted(counts.items(), key=lambda pair: -pair[1])]
    more = "" if found["ended"] else ", and there is more"
    lines = [
        f"{found['integration']}/{found['resource']}: {plural(len(records), 'record')} in "
        f"{plural(found['calls'], 'call')}{more}: {', '.join(told) or 'nothing came'}; nothing was written"
    ]
    for one in records:
        if one["outcome"] == "unchanged" and not one["fields"]:
            continue
        mark, colour = MARKS[one["outcome"]]
        of = "" if one["resource"] == found["resource"] else f"{one['resource']} "
        reason = f": {one['reason']}" if one["reason"] else ""
        lines.append(paint(f"  {mark} {of}{one['id'] or '(no id)'}  {WORDS[one['outcome']]}{reason}", colour))
        for each in one["fields"]:
            if one["outcome"] in {"added", "unchanged"}:
                lines.append(f"      {each['field']}: {each['there']}")
            else:
                lines.append(f"      {each['field']}: {each['here']} -> {each['there']}")
    return lines + [f"  {note}" for note in found["notes"]]


# -- keeping


def _folder(app: App, partner: PartnerConfig, said: str) -> Path:
    """Where samples go: where they are wanted, else beside what describes the partner."""
    if said:
        return Path(said)
    place = _beside(app, partner)
    return Path("samples") / partner.driver if partner.rest is None and _is_installed(place.parent) else place


def _beside(app: App, partner: PartnerConfig) -> Path:
    """Where the suite plays samples of what describes the partner."""
    from syncd import drivers
    from syncd.config import main_file

    if partner.rest is not None:
        return main_file(app.config_directory).parent / "partners" / partner.name / "samples"
    return drivers.folder(partner.driver) / "samples"


def _is_installed(folder: Path) -> bool:
    """Not a checkout: what is written there is gone with the next release, and often another user's."""
    return not {"site-packages", "dist-packages"}.isdisjoint(folder.parts) or not os.access(folder, os.W_OK)


def _free(folder: Path, resource: str, case: str) -> None:
    for name in (f"{resource}.{case}.json", f"{resource}.{case}.pages.json"):
        if (folder / name).exists():
            raise Failure(
                f"{folder / name} is there already", "a sample that somebody has looked at is not written over",
                "another name: --case NAME; or over it: --force", exit=Exit.USAGE,
            )  # fmt: skip


def _played(config: Config, partner: PartnerConfig, name: str, kept: dict[str, Any], place: Path) -> None:
    """Play what is to be kept as the shared suite will among those in `place`; what does not hold is not kept, and said."""
    from syncd import drivers
    from syncd.testing.sample_plays import plays_pages, plays_record
    from syncd.testing.samples import sample_of, shared_options

    usual = drivers.load(partner.driver, rest=partner.rest, partner=partner.name)
    driver: Driver = drivers.of_integration(partner, name, usual)
    shared = shared_options(place)
    for file, content in list(kept.items()):
        sample = sample_of(partner.driver, file, content, shared)
        try:
            (plays_pages if sample.kind == "pages" else plays_record)(driver, sample)
        except AssertionError as error:
            del kept[file]
            say(f"not saved: {file}: {error}")


def _written(folder: Path, kept: Mapping[str, Any]) -> list[Path]:
    try:
        if kept:
            folder.mkdir(parents=True, exist_ok=True)
        for name, content in kept.items():
            text = json.dumps(content, ensure_ascii=False, indent=1)
            (folder / name).write_text(f"{text}\n", "utf-8")
    except OSError as error:
        raise Failure(
            f"cannot write to {folder}", error.strerror or str(error), "say where: --save DIR", exit=Exit.USAGE
        ) from error
    return [folder / name for name in kept]


def _how_to_play(partner: PartnerConfig, folder: Path) -> str:
    look = "look at them before you share them: what is scrubbed is decided by a field's name and its value's shape"
    if partner.rest is not None:
        return f'{look}; to play them: partner_checks("{folder.parent.parent.parent}", "{partner.name}")'
    from syncd import drivers

    if folder != drivers.folder(partner.driver) / "samples":
        return (
            f"{look}; they were played and hold. To play them again with every change of the driver, copy them to "
            f"{partner.driver}/samples in a checkout of it"
        )
    return f"{look}; to play them: pytest -k {partner.driver} (the driver suite)"
