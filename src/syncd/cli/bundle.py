"""`syncd bundle`: what syncd's own makers need to see of an installation, with nothing in it that is yours alone."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from syncd.cli.app import App, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, result, result_json, say, table


@click.command(short_help="A file for syncd's makers: state, log, no secrets.")
@click.option("-o", "--output", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path), help="Where it goes.")
@click.option("--anonymous", is_flag=True, help="Other names for integrations, companies, hosts and users.")
@click.option("--yes", is_flag=True, help="Write it without asking.")
@common(json=True, database=True)
def bundle(app: App, output: Path | None, anonymous: bool, yes: bool) -> Exit:
    """Versions, status, doctor, metrics, configuration, table sizes, log and what was done lately, as a .tar.gz that only you
    may read. Credentials, persons, ids and payloads are taken out; MANIFEST.json in it says what of which file.

    The list is shown first. Works with the daemon down or the database away, and says what is missing then.
    """
    from syncd.cli.bundle_parts import gathered
    from syncd.support.bundle import BUNDLE_SCHEMA, finished, write

    now = app.clock.now()
    path = output or Path(f"syncd-bundle-{now:%Y%m%dT%H%M%SZ}.tar.gz")
    if path.exists():
        raise Failure(f"{path} is there already", do="name another file: -o FILE", exit=Exit.USAGE)
    if not yes and not sys.stdin.isatty():
        raise Failure("nobody is there to be asked", "it is shown before it is written", "--yes", exit=Exit.USAGE)
    parts, pseudonyms = gathered(app, say)
    files = finished(parts, pseudonyms if anonymous else str)
    rows = []
    for part in parts:
        long = f"{len(part.text.encode()):,}" if not part.missing else "-"
        rows.append((part.name, long, part.about if not part.missing else f"missing: {part.missing[:60]}"))
    say(table(rows, ("file", "bytes", "what it is"), right=frozenset({1})))
    say("taken out: credentials, persons, ids of records, payloads; see MANIFEST.json")
    if not yes and not click.confirm(f"write {path}?", err=True):
        say("nothing was written")
        return Exit.FAILURES
    try:
        size = write(path, files, now)
    except OSError as error:
        raise Failure(f"{path} was not written", error.strerror or str(error), "another place: -o FILE") from None
    missing = {part.name: part.missing for part in parts if part.missing}
    if app.as_json:
        told = {"schema": BUNDLE_SCHEMA, "file": str(path), "bytes": size, "files": list(files), "missing": missing}
        result_json(told)
    else:
        result(f"{path} ({size:,} bytes, only you may read it)")
    return Exit.OK
