"""`syncd key`: the keys that seal what is obtained at run time."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from syncd.cli import key_lost
from syncd.cli.app import App, arun, common
from syncd.cli.exits import Exit
from syncd.cli.link import who
from syncd.cli.output import Failure, paint, plural, result, result_json, say, table

if TYPE_CHECKING:
    from syncd.config import Config
    from syncd.credentials.keyfile import KeyFile, Keys

BATCH = 100
KEEP = "Keep a copy of the file as long as a backup made until now may be restored"


@click.group()
def key() -> None:
    """The keys that seal tokens in the database. Their values are never shown."""


@key.command()
@click.option("--check", is_flag=True, help="Only say how many rows are sealed with which key, and what is left to do.")
@click.option("--forget-old", is_flag=True, help="Take keys out of the file that no row is sealed with any more.")
@click.option(
    "--forget-lost", is_flag=True, help="Remove what is sealed with a key that is lost, so that new ones can be got."
)
@click.option("--everywhere", is_flag=True, help="All other instances have this file's keys as well: go on.")
@click.option(
    "--file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="The file of keys, where systemd hands it over (the one that LoadCredential= names).",
)
@common(json=True, database=True)
def rotate(app: App, check: bool, forget_old: bool, forget_lost: bool, everywhere: bool, file: Path | None) -> Exit:
    """Make a new sealing key, and seal everything with it.

    Four steps, each of which may be cut short, and is gone on with by the same command: a new key is known and does not seal;
    everybody who runs has it; it seals; every row is sealed with it. Then the old one may go (--forget-old).
    """
    from syncd.credentials import keyfile

    if check + forget_old + forget_lost > 1:
        raise click.UsageError("one of --check, --forget-old and --forget-lost")
    config = app.config()
    path, where = _place(app, config, file)
    try:
        if check:
            return _check(app, config, keyfile.KeyFile(path) if path is not None else None, where)
        if path is None:
            raise Failure(
                f"the keys are kept in {where}, which this command cannot change",
                "systemd copies that file at each start",
                "as root, with the file that LoadCredential=syncd.key: names: syncd key rotate --file FILE",
                exit=Exit.USAGE,
            )
        kept = keyfile.KeyFile(path)
        with kept.alone():
            if forget_lost:
                return key_lost.forget_lost(app, config, kept, _running(app))
            return _forget(app, config, kept, everywhere) if forget_old else _rotate(app, config, kept, everywhere)
    except OSError as error:
        told = error.strerror or str(error)
        raise Failure(f"{path} cannot be used", told, f"as its owner: ls -l {path}", exit=Exit.FAILURES) from error


def _place(app: App, config: Config, file: Path | None) -> tuple[Path | None, str]:
    from syncd.cli.load import vault_of
    from syncd.credentials.keyfile import found

    if file is not None:
        return file, str(file)
    return found(config, vault_of(config), app.state_directory(config), os.environ)


# -- what there is ---------------------------------------------------------------------------------------------------


def _check(app: App, config: Config, kept: KeyFile | None, where: str) -> Exit:
    rows = arun(_rows(app, config))
    keys = kept.read() if kept is not None else None
    running = _running(app)
    ids = list(dict.fromkeys([*(keys.ids if keys is not None else []), *rows]))
    seals = keys.ids[0] if keys is not None else (running or {}).get("current")
    unknown = [one for one in rows if keys is not None and one not in keys.ids]
    left = sum(count for one, count in rows.items() if one != seals)
    told = [
        {
            "id": one,
            "rows": rows.get(one, 0),
            "in_file": keys is None or one in keys.ids,
            "seals": one == seals,
            "next": keys is not None and one == keys.next,
            "in_daemon": None if running is None else one in running["ids"],
        }
        for one in ids
    ]
    if app.as_json:
        result_json(
            {
                "schema": "syncd.keys/1",
                "kept": where,
                "keys": told,
                "left": left,
                "over": not left and not _pending(keys),
            }
        )
    else:
        words = {True: "yes", False: paint("no", "red"), None: "-"}
        cells = [
            (
                str(one["id"]),
                str(one["rows"]),
                "seals"
                if one["seals"]
                else "next"
                if one["next"]
                else "opens"
                if one["in_file"]
                else paint("missing", "red"),
                words[one["in_daemon"]],  # type: ignore[index]
            )
            for one in told
        ]
        result(f"keys: {where}")
        result(table(cells, ("KEY", "ROWS", "ROLE", "DAEMON HAS IT"), right=frozenset({1})))
        result(_due(keys, left, rows, unknown))
    return Exit.FAILURES if unknown or left or _pending(keys) else Exit.OK


def _pending(keys: Keys | None) -> bool:
    return keys is not None and bool(keys.next)


def _due(keys: Keys | None, left: int, rows: dict[str, int], unknown: list[str]) -> str:
    if unknown:
        count = plural(sum(rows[one] for one in unknown), "row")
        back = f"put {', '.join(unknown)} back into the file"
        return f"{count} cannot be opened: {back}; lost for good: syncd key rotate --forget-lost"
    if _pending(keys):
        return "a rotation is under way: syncd key rotate goes on with it"
    if left:
        return f"{plural(left, 'row')} to be sealed anew: syncd key rotate"
    old = [one for one in (keys.ids[1:] if keys is not None else []) if not rows.get(one)]
    if old:
        return f"{', '.join(old)} may go: syncd key rotate --forget-old. {KEEP}"
    return "nothing is left to do"


async def _rows(app: App, config: Config) -> dict[str, int]:
    async with app.store(config) as store:
        return await store.credentials.by_key()


# -- the steps -------------------------------------------------------------------------------------------------------


def _rotate(app: App, config: Config, kept: KeyFile, everywhere: bool) -> Exit:
    keys = kept.read()
    rows = arun(_rows(app, config))
    if not keys.next and any(count for one, count in rows.items() if one != keys.ids[0]):
        return _sealed(app, config, kept)  # all but the last step is done
    if not keys.next and len(keys.ids) > 1:
        result(f"the last rotation is over: everything is sealed with {keys.ids[0]}")
        result(f"  {', '.join(keys.ids[1:])} may go first: syncd key rotate --forget-old; then another key may follow")
        return Exit.OK
    if not keys.next:
        keys = keys.with_new()
        kept.write(keys)
        say(f"{kept.path}: the new key {keys.next} is known, and does not seal yet")
    else:
        say(f"on with the key {keys.next}")
    if not _everybody_has(app, config, keys.next, everywhere):
        return Exit.TRY_LATER
    new = keys.next
    kept.write(keys.promoted())
    arun(_noted(app, config, "key_turned", keys.ids[:1], [new]))
    say(f"{kept.path}: {new} seals from now on")
    _taken_over(app)
    return _sealed(app, config, kept)


def _everybody_has(app: App, config: Config, new: str, everywhere: bool) -> bool:
    """Nothing is sealed with a key that somebody cannot open with."""
    running = _taken_over(app)
    if running is not None and new not in running["ids"]:
        say("the running daemon does not have it yet: systemd hands keys over at a start only")
        say(
            "on each machine: put this file in place, then systemctl restart syncd; then here: syncd key rotate, as before"
        )
        return False
    return everywhere or _alone(app, config, running, "syncd key rotate --everywhere")


def _alone(app: App, config: Config, running: dict[str, Any] | None, then: str) -> bool:
    """Does nobody else work with this database? Else that is said, and what to run `then`."""
    others = arun(_others(app, config, running))
    if others:
        say(f"other instances work with this database: {', '.join(others)}")
        say(f"give each of them this file, and reload or restart it; then: {then}")
    return not others


def _taken_over(app: App) -> dict[str, Any] | None:
    """What the daemon has after a reload; None where none runs."""
    from syncd.cli.credential_steps import reload

    reload(app)
    return _running(app)


def _running(app: App) -> dict[str, Any] | None:
    from syncd.cli.link import Unreachable

    try:
        return app.link().get("keys")
    except Unreachable:
        return None


async def _noted(app: App, config: Config, action: str, before: list[str], after: list[str]) -> None:
    async with app.store(config) as store:
        await store.audit.add(who(), action, before={"keys": before}, after={"keys": after} if after else None)


async def _others(app: App, config: Config, running: dict[str, Any] | None) -> list[str]:
    """Who works with the database besides the daemon here, be it only in wait for work."""
    async with app.store(config) as store:
        return await store.leases.others((running or {}).get("owner"))


def _sealed(app: App, config: Config, kept: KeyFile) -> Exit:
    moved, rows = arun(_reseal(app, config, kept.read()))
    keys = kept.read()
    left = sum(count for one, count in rows.items() if one != keys.ids[0])
    if left:
        say(f"{plural(left, 'row')} changed meanwhile: syncd key rotate once more")
        return Exit.TRY_LATER
    new = keys.ids[0]
    result(f"{paint('✓', 'green')} {plural(moved, 'row')} sealed anew; all {rows.get(new, 0)} are sealed with {new}")
    if len(keys.ids) > 1:
        result(
            f"  {', '.join(keys.ids[1:])} may go once every instance was given this file: syncd key rotate --forget-old"
        )
        result(f"  {KEEP}")
    return Exit.OK


async def _reseal(app: App, config: Config, keys: Keys) -> tuple[int, dict[str, int]]:
    async with app.store(config) as store:
        store.credentials.use(keys.ring)
        moved = 0
        for _ in range(3):  # whoever runs seals with the old key until it has taken the new one over
            moved += await store.credentials.reseal(batch=BATCH)
            rows = await store.credentials.by_key()
            if not any(count for one, count in rows.items() if one != keys.ids[0]):
                break
        return moved, rows


def _forget(app: App, config: Config, kept: KeyFile, everywhere: bool) -> Exit:
    keys, rows = kept.read(), arun(_rows(app, config))
    if keys.next:
        raise Failure("a rotation is under way", f"{keys.next} does not seal yet", "syncd key rotate")
    used = [one for one in keys.ids[1:] if rows.get(one)]
    if used:
        count = sum(rows[one] for one in used)
        raise Failure(f"{', '.join(used)} cannot go", f"{plural(count, 'row')} are sealed with it", "syncd key rotate")
    old = keys.ids[1:]
    if not old:
        result(f"nothing to forget: {keys.ids[0]} is the only key")
        return Exit.OK
    running = _running(app)
    if running is not None and running["current"] != keys.ids[0]:
        raise Failure(
            f"{', '.join(old)} cannot go yet",
            f"the running daemon still seals with {running['current']}",
            "systemctl restart syncd; then: syncd key rotate",
        )
    if not everywhere and not _alone(app, config, running, "syncd key rotate --forget-old --everywhere"):
        return Exit.TRY_LATER  # one that has not read it since would seal with the old key what nobody else opens
    kept.write(keys.without(old))
    arun(_noted(app, config, "key_forgotten", old, []))
    _taken_over(app)
    result(f"{paint('✓', 'green')} {', '.join(old)} taken out of {kept.path}; {keys.ids[0]} seals and opens everything")
    return Exit.OK
