"""`syncd webhook send`: a delivery as the partner would send it, through our own front door, and what became of it.

The daemon makes and signs it, since it has the secret; this command posts it and looks on.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from syncd.cli.app import App, Lasting, arun, common
from syncd.cli.exits import Exit
from syncd.cli.output import Failure, clock_time, paint, result, result_json, say

if TYPE_CHECKING:
    from syncd.cli.link import Link

LOOK_SECONDS = 0.15
GUARDS = {
    "signature": "refused: it carries no signature of ours",
    "stale": "refused: it is rightly signed, too long ago",
    "malformed": "refused: it cannot be read",
    "disabled": "refused: the integration is switched off, or has no webhook secret",
}
UNREAD = "a secret cannot be read (syncd credential list)"
LATER = {
    "accepted": "intake is in doubt (the database, or it is stopping)",
    "unsure": f"it names another integration's account, and whether it may cannot be told while {UNREAD}",
}
"""Why a delivery judged so is to come again. What is refused is, too, while it may be for want of a secret."""
SAME = "an outsider sees the same 401, whatever was wrong and whether the integration exists"


@click.command(short_help="Post a rightly signed sample to ourselves and follow it.")
@click.argument("integration")
@click.argument("kind", metavar="[TYPE]", required=False)
@click.option("--set", "settings", multiple=True, metavar="PATH=VALUE", help="A value in its body; JSON or text.")
@click.option("--id", "external_id", metavar="ID", help="The record it tells of. Default: one that is stored.")
@click.option("--bad-signature", is_flag=True, help="With a signature that is wrong in one character.")
@click.option("--stale", type=Lasting(), metavar="DURATION", help="Signed so long ago.")
@click.option("--duplicate", is_flag=True, help="Send it twice.")
@click.option("--wait", type=Lasting(), default="20s", metavar="DURATION", help="How long to look on. Default: 20s.")
@click.option("--yes", is_flag=True, help="Also to a real account, and where it writes something.")
@click.option("--dry-run", is_flag=True, help="Print what would be sent, and send nothing.")
@common(json=True)
def send(
    app: App,
    integration: str,
    kind: str | None,
    settings: tuple[str, ...],
    external_id: str | None,
    bad_signature: bool,
    stale: float | None,
    duplicate: bool,
    wait: float,
    yes: bool,
    dry_run: bool,
) -> Exit:
    """Post a rightly signed sample of TYPE to INTEGRATION's own endpoint and follow it: verified, deduplicated, queued as
    row N, task, row changed.

    Without TYPE: which types there are. --bad-signature, --stale and --duplicate show each guard at work.
    """
    link = app.link()
    if kind is None:
        return _print_types(app, link, integration)
    said = {
        "integration": integration,
        "type": kind,
        "id": external_id,
        "set": dict(_setting(text) for text in settings),
        "bad_signature": bad_signature,
        "stale_seconds": stale or 0.0,
    }
    made = link.post("webhooks/rehearse", said)
    made["wanted"] = "signature" if bad_signature else "stale" if stale else "accepted"
    if dry_run:
        _print_made(app, made)
        return Exit.OK
    _agree(made, yes=yes)
    trace = _Trace(app, link, made)
    from syncd.cli.link import Link

    door = Link.of(app.config_directory, public=True)
    good = trace.post(door, again=False)
    if duplicate and good and trace.status == trace.stored:
        good = trace.post(door, again=True)
    if trace.status == trace.stored:
        good = arun(trace.follow(wait)) and good
    if app.as_json:
        result_json(trace.told)
    return Exit.OK if good else Exit.FAILURES


def _setting(text: str) -> tuple[str, Any]:
    from syncd.errors import ConfigError
    from syncd.rehearsal.places import setting

    try:
        return setting(text)
    except ConfigError as error:
        raise click.UsageError(f"--set: {error}; {error.hint}") from None


def _print_types(app: App, link: Link, integration: str) -> Exit:
    found = link.get("webhooks/samples", {"integration": integration})
    if app.as_json:
        result_json(found)
        return Exit.OK
    for each in found["types"]:
        result(each)
    say(f"one of them: syncd webhook send {integration} TYPE")
    return Exit.OK


def _print_made(app: App, made: Mapping[str, Any]) -> None:
    told = {**made, "path": _shown_path(made)}
    if app.as_json:
        result_json({**told, "dry_run": True})
        return
    result(f"POST {told['path']}")
    for name, value in sorted(made["headers"].items()):
        result(f"{name}: {value}")
    result("\n" + made["body"])
    for caution in made["cautions"]:
        say(f"note: {caution}")


def _agree(made: Mapping[str, Any], *, yes: bool) -> None:
    """Go on where nothing speaks against it, or somebody says yes. Raises Failure otherwise."""
    if not made["cautions"] or yes:
        return
    why = "\n".join(made["cautions"])
    if not sys.stdin.isatty():
        raise Failure(
            f"{made['type']} was not sent to {made['integration']}",
            why,
            "the same with --yes, or with --dry-run to see it",
            exit=Exit.USAGE,
        )
    for line in made["cautions"]:
        say(line)
    if not click.confirm("send it?", err=True):
        raise click.Abort


def _shown_path(made: Mapping[str, Any]) -> str:
    """Without the route where that is the secret."""
    base = "/".join(made["path"].split("/")[:4])
    if base == made["path"] or made["path"] == f"{base}/{made['type']}":
        return str(made["path"])
    return f"{base}/•••"


class _Trace:
    """One delivery on its way, told line by line as it is seen."""

    def __init__(self, app: App, link: Link, made: Mapping[str, Any]) -> None:
        self._app = app
        self._link = link
        self._made = made
        self.status = 0
        self.told: dict[str, Any] = {
            "schema": "syncd.webhook-trace/1",
            "integration": made["integration"],
            "type": made["type"],
            "event_id": made["event_id"],
            "sample": made["sample"],
            "judged": made["judged"],
            "answers": [],
            "delivery": None,
            "rows": [],
            "finished": False,
        }

    @property
    def stored(self) -> int:
        """The answer to a delivery that is stored; where a partner wants another than ours, also to one that was known."""
        return int(self._made.get("answer", 202))

    def line(self, name: str, text: str, good: bool | None = None) -> None:
        if not self._app.as_json:
            mark = " " if good is None else paint("✓", "green") if good else paint("✗", "red")
            result(f"{mark} {name:<13}{text}")

    def post(self, door: Link, *, again: bool) -> bool:
        """Send it; True when the answer is the one it should have got."""
        made = self._made
        if not again:
            source = f"sample {made['sample']}" if made["sample"] else "the description"
            about = ", ".join(f"{each['resource']} {each['id']}" for each in made["events"]) or "no record we sync"
            self.line("made", f"{made['type']} of {about}, from {source}")
        clock = self._app.clock
        began = clock.monotonic()
        headers = {
            name: value.encode("latin-1", "replace").decode("latin-1") for name, value in made["headers"].items()
        }
        status, _ = door.deliver(made["path"], headers, made["body"].encode())
        took = (clock.monotonic() - began) * 1000
        self.status = status if not again else self.status
        self.told["answers"].append({"status": status, "ms": round(took, 1)})
        line = f"{status} in {took:.0f} ms from {_shown_path(made)}"
        if again:
            known = status == (200 if self.stored == 202 else self.stored)
            self.line("deduplicated", line + (": known already" if known else ""), known)
            return known
        self.line("answered", line, status in {self.stored, 401})
        return self._judge(status)

    def _judge(self, status: int) -> bool:
        judged, wanted = self._made["judged"], self._made["wanted"]
        fine: bool = judged == wanted
        if status == self.stored:
            within = "accepted: so long ago is within the tolerance" if wanted == "stale" else "it was to be refused"
            self.line("verified", "the signature fits and the time is ours" if wanted == "accepted" else within, fine)
            return fine
        if status == 401:
            self.line("verified", GUARDS.get(judged, "refused, though it should have been accepted"), fine)
            if not self._app.as_json:
                say(SAME)
            return fine
        why = {
            200: "known already: it was not queued again",
            404: "no such place: is that the daemon's public address?",
            413: "larger than server.body_bytes allows",
            429: "more deliveries a second than this integration may bring",
            503: f"{LATER.get(judged, f'nothing is refused for good while {UNREAD}')}: a partner would send it again",
        }
        self.line("refused", why.get(status, "an answer no partner should get"), False)
        return False

    async def follow(self, wait_seconds: float) -> bool:
        """Look on until all it caused is done; False where it was not in time, or ended badly."""
        clock = self._app.clock
        deadline = clock.monotonic() + wait_seconds
        seen: set[str] = set()
        while True:
            found = self._look()
            self.told["delivery"] = found
            if found is not None:
                self._tell(found, seen)
                tasks = [event for event in found["events"] if event["task"] is not None]
                if found["state"] in {"dropped", "buried"}:
                    self.told["finished"] = True
                    return bool(found["state"] == "dropped")
                if found["state"] == "done" and not tasks:
                    self.told["finished"] = True
                    return self._rows(found)
            if clock.monotonic() >= deadline:
                break
            await clock.sleep(LOOK_SECONDS)
        name = self._made["integration"]
        number = found["id"] if found is not None else self._made["event_id"]
        say(f"still under way after {wait_seconds:g}s; later: syncd webhook show {name} {number}")
        for line in self._held(name):
            say(line)
        return False

    def _held(self, name: str) -> list[str]:
        """What stands in the way of work for the integration, as its status says."""
        every = self._link.get("status").get("integrations") or []
        found: Mapping[str, Any] = next((one for one in every if one["name"] == name), {})
        if found.get("paused"):
            return [f"{name} is paused by {found['paused']['who']}: what came waits; syncd resume {name}"]
        told = found.get("explanation") or {}
        return [f"{name} is {found['state']}: {told['reason']}; {told.get('action', '')}".rstrip("; ")] if told else []

    def _look(self) -> dict[str, Any] | None:
        name, event_id = self._made["integration"], self._made["event_id"]
        if event_id is None:  # the partner gives none: ours is the latest of this type
            query = {"integration": name, "limit": 20}
            every = self._link.get("webhooks/deliveries", query)["deliveries"]
            fits = (each for each in every if each["bytes"] == len(self._made["body"].encode()))
            event_id = next((each["event_id"] for each in fits), None)
            if event_id is None:
                return None
        return self._link.get("webhooks/delivery", {"integration": name, "id": event_id})

    def _tell(self, found: Mapping[str, Any], seen: set[str]) -> None:
        """What is new since the last look."""
        if "row" not in seen:
            seen.add("row")
            self.line("queued", f"as inbox row {found['id']}", True)
        for event in found["events"]:
            task = event["task"]
            if task is None:
                continue
            later = task["not_before"] if not task["taken"] else None
            key = f"task {task['id']} {task['taken']} {later}"
            if key in seen:
                continue
            seen.add(key)
            how = "is under way" if task["taken"] else f"waits until {clock_time(later)}" if later else "waits"
            why = f": {task['reason']}" if task["reason"] else ""
            self.line("task", f"{task['id']}: read {event['resource']} {event['id']}: {how}{why}")
        if found["state"] in {"dropped", "buried"} and "end" not in seen:
            seen.add("end")
            self.line(found["state"], found["reason"] or "", found["state"] == "dropped")
            if found["letter"] is not None:
                self.line("dead letter", f"{found['letter']['id']}: {found['letter']['message']}", False)

    def _rows(self, found: Mapping[str, Any]) -> bool:
        """What the work left behind, against what was there before."""
        before = {(each["resource"], each["id"]): each.get("row_version") for each in self._made["events"]}
        if not found["events"]:
            self.line("done", found["reason"] or "it tells of nothing we sync")
        for event in found["events"]:
            record, was = event["record"], before.get((event["resource"], event["id"]))
            what = f"{event['resource']} {event['id']}"
            told = {"resource": event["resource"], "id": event["id"], "before": was, "after": None}
            if record is None:
                self.line("row", f"{what}: none is stored; the partner has no such record")
            else:
                told["after"] = record["row_version"]
                now = f"row_version {record['row_version']}"
                gone = ", a tombstone" if record["deleted_at"] else ""
                if was is None:
                    self.line("row", f"{what}: {now}{gone}", True)
                elif was == record["row_version"]:
                    self.line("row", f"{what}: unchanged, {now}{gone}: the partner says what is stored", True)
                else:
                    self.line("row", f"{what}: changed, row_version {was} → {record['row_version']}{gone}", True)
            self.told["rows"].append(told)
        return True
