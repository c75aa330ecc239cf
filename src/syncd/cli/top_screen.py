"""What `syncd top` shows, as lines of text: everything from one status, never wider or higher than the screen."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from rich.cells import cell_len
from rich.text import Text

from syncd.cli import limits, status
from syncd.cli.output import COLOURS, MARKS, ago, lasting, number, plural
from syncd.cli.top_pages import page
from syncd.cli.top_seen import Seen, flat

SEVERITIES: Final = {"page": "red", "ticket": "yellow", "note": "cyan"}
MOST_CONDITIONS = 5
_BAR = 10
_KEYS = "j/k  enter details  r runbook  d letters  / filter  {}? help  q quit"
_CONTROL = "p pause  s sync  "


def screen(seen: Seen, now: datetime, width: int, height: int) -> list[Text]:
    """Exactly so many lines, none wider."""
    head = [_headline(seen, now, width)]
    foot = [_foot(seen, width)]
    room = max(height - len(head) - len(foot), 1)
    if seen.found is None:
        body = ["", *_no_daemon(seen)]
        middle = [Text(line) for line in body]
    elif seen.view == "all":
        middle = _all(seen, now, width, room)
    else:
        middle = page(seen, now, width, room)
    lines = [*head, *middle[:room], *[Text("")] * (room - len(middle)), *foot][:height]
    for line in lines:
        line.no_wrap = True
        line.truncate(width, overflow="ellipsis")
    return lines


def _headline(seen: Seen, now: datetime, width: int) -> Text:
    line = Text("syncd top", style="bold")
    if seen.found is None:
        return line
    integrations = seen.found.get("integrations", [])
    counts = {state: sum(one.get("state") == state for one in integrations) for state in status.ORDER}
    line.append(f"  {plural(len(integrations), 'integration')}", style="not bold")
    for state, count in counts.items():
        if count:
            line.append("  ")
            line.append(f"{MARKS[state]} {count} {state.replace('_', ' ')}", style=f"not bold {COLOURS[state]}")
    if seen.away:
        line.append(f"  NO ANSWER for {ago(seen.at, now)}", style="bold red")
    workers = seen.found.get("workers") or {}
    more = f"  workers {workers.get('alive', '?')}/{workers.get('total', '?')}"
    if workers and line.cell_len + len(more) <= width:
        line.append(more, style="not bold dim")
    return line


def _no_daemon(seen: Seen) -> list[str]:
    return [f"no daemon: {seen.away or 'asking'}", "asking again every two seconds; q quits"]


def _foot(seen: Seen, width: int) -> Text:
    if seen.typing:
        room = max(width - cell_len(seen.typing) - 2, 8)  # where it does not fit, its end: that is where somebody types
        typed = seen.typed
        while cell_len(typed) > room:
            typed = f"…{typed[2:]}"
        return Text(f"{seen.typing} {typed}▏", style="bold")
    if seen.message:
        return Text(flat(seen.message), style="yellow")
    if seen.away:
        return Text(flat(f"asking again: {seen.away}"), style="red")
    if seen.view != "all":
        return Text("j/k scroll  escape back  q quit", style="dim")
    keys = _KEYS.format(_CONTROL if seen.control else "")
    return Text(keys if len(keys) <= width else "? help  q quit  j/k  enter", style="dim")


# -- everything ------------------------------------------------------------------------------------------------------------


def _all(seen: Seen, now: datetime, width: int, room: int) -> list[Text]:
    assert seen.found is not None
    above = list(_conditions(seen.found, now, width, min(MOST_CONDITIONS, max(room - 8, 1))))
    below = list(_below(seen.found, width))
    table = list(_table(seen, now, width, max(room - len(above) - len(below) - (len(above) > 0) - 1, 3)))
    return [*above, *([Text("")] if above else []), *table, *([Text("")] if below else []), *below]


def _conditions(found: Mapping[str, Any], now: datetime, width: int, most: int) -> Iterator[Text]:
    every = [one for one in found.get("conditions") or [] if one.get("state") not in ("waiting", "paused")]
    parts = [f"{part} makes no progress" for part in found.get("stuck") or []] + list(found.get("ready") or [])
    for text in parts[:2]:
        yield Text(flat(f"✗ {text}"), style="bold red")
    for one in every[:most]:
        colour = SEVERITIES.get(str(one.get("severity")), "")
        subject = one.get("integration") or "syncd"
        if one.get("resource"):
            subject = f"{subject}/{one['resource']}"
        line = Text(f"{'✗' if one.get('severity') == 'page' else '!'} ", style=colour)
        line.append(flat(f"{subject}: {one.get('reason', '')}"), style=colour)
        since, action = ago(one.get("since"), now), flat(f"do: {one['action']}" if one.get("action") else "")
        line.append(f"  {since}" if since else "", style="dim")
        if line.cell_len + 2 + len(action) <= width:
            yield line.append(f"  {action}" if action else "")
            continue
        yield line
        yield Text(f"  {action}")
    if len(every) > most:
        yield Text(f"… and {len(every) - most} more: syncd status", style="dim")


def _table(seen: Seen, now: datetime, width: int, room: int) -> Iterator[Text]:
    rows = seen.rows()
    named = max([cell_len(flat(str(one.get("name", "")))) for one in rows] + [11])
    columns = _columns(width, min(named, max(width // 3, 8)))
    head = Text("  " + "  ".join(f"{title[:size]:<{size}}" for title, size, _ in columns), style="bold dim")
    yield head
    if not rows:
        yield Text(
            "  nothing fits the filter" if seen.filter else "  no integrations: put a file into partners/", style="dim"
        )
        return
    seen.chosen()
    shown = max(room - 1, 1)
    seen.first = min(max(seen.first, seen.row - shown + 1, 0), seen.row, max(len(rows) - 1, 0))
    for at in range(seen.first, min(seen.first + shown, len(rows))):
        one = rows[at]
        line = Text("› " if at == seen.row else "  ")
        line.append_text(_row(one, now, columns, width - 2))
        if at == seen.row:
            line.stylize("reverse")
        yield line


def _row(one: Mapping[str, Any], now: datetime, columns: Sequence[Column], width: int) -> Text:
    """One integration. Where it is not well, why takes the place of the figures."""
    why = (one.get("explanation") or {}).get("reason") if one.get("state") != "healthy" else ""
    line = Text()
    for at, (title, size, cell) in enumerate(columns):
        if at:
            line.append("  ")
        if why and title == "LIMIT":
            return line.append(flat(str(why)))
        text = cell(one, now)
        if title == "INTEGRATION" and text.cell_len > size:
            text = _shortened(text.plain, size)
        text.truncate(size, overflow="ellipsis", pad=True)
        line.append_text(text)
    line.truncate(width, overflow="ellipsis", pad=True)
    return line


Column = tuple[str, int, Callable[[Mapping[str, Any], datetime], Text]]


def _columns(width: int, named: int) -> list[Column]:
    """What fits beside each other. `named`: how wide the names would like to be."""
    found: list[Column] = [("STATE", 15, _state)]
    if width >= 60:
        found.append(("SINCE", 7, _since))
    if width >= 100:
        found.append(("LIMIT", _BAR + 12, _limit))
    elif width >= 72:
        found.append(("LIMIT", _BAR, _bar))
    if width >= 110:
        found += [("P95", 7, _p95), ("P99", 7, _p99), ("OK", 7, _success)]
    elif width >= 80:
        found += [("P95", 6, _p95), ("OK", 6, _success)]
    left = width - 2 - sum(size + 2 for _, size, _ in found)
    found.insert(0, ("INTEGRATION", named := min(named, max(left, 8)), _name))
    left -= named + 2
    return [*found, ("WHY", left, _why)] if left >= 8 else found


def _shortened(name: str, size: int) -> Text:
    """What tells names apart stands at their ends as often as not."""
    tail = name[-(size // 3) :]
    head = Text(name)
    head.truncate(max(size - cell_len(tail) - 1, 0))
    return head.append(f"…{tail}")


def _name(one: Mapping[str, Any], now: datetime) -> Text:
    return Text(flat(str(one.get("name", "?"))))


def _state(one: Mapping[str, Any], now: datetime) -> Text:
    state = str(one.get("state", "?"))
    shown = state.replace("_", " ")
    return Text(
        f"{MARKS.get(state, '?')} {shown.upper() if state in status.TROUBLED else shown}", style=COLOURS.get(state, "")
    )


def _since(one: Mapping[str, Any], now: datetime) -> Text:
    why = one.get("explanation") or {}
    return Text(ago(why.get("since"), now) if one.get("state") != "healthy" else "")


def _fullest(one: Mapping[str, Any]) -> tuple[float, float]:
    """Used and budget of the limit that is nearest to its own."""
    tiers = [tier for tier in (one.get("limits") or {}).get("tiers") or [] if tier.get("budget")]
    if not tiers:
        return 0.0, 0.0
    tier = max(tiers, key=lambda each: (each["used"] / each["budget"], each.get("window_seconds") or 0.0))
    return float(tier["used"]), float(tier["budget"])


def _bar(one: Mapping[str, Any], now: datetime) -> Text:
    used, budget = _fullest(one)
    if not budget:
        return Text("")
    full = min(round(used / budget * _BAR), _BAR)
    return Text("█" * full + "░" * (_BAR - full), style="yellow" if used >= limits.FULL * budget else "green")


def _limit(one: Mapping[str, Any], now: datetime) -> Text:
    used, budget = _fullest(one)
    line = _bar(one, now)
    return line.append(f" {used:,.0f}/{budget:,.0f}", style="default") if budget else line


def _took(one: Mapping[str, Any], key: str) -> Text:
    value = (one.get("hour") or {}).get(key)
    return Text("" if value is None else status._took(value))


def _p95(one: Mapping[str, Any], now: datetime) -> Text:
    return _took(one, "p95_ms")


def _p99(one: Mapping[str, Any], now: datetime) -> Text:
    return _took(one, "p99_ms")


def _success(one: Mapping[str, Any], now: datetime) -> Text:
    share = (one.get("hour") or {}).get("success")
    if share is None:
        return Text("")
    shown = 100.0 if share == 1 else min(round(100 * share, 1), 99.9)
    return Text(f"{shown:.1f}%", style="yellow" if share < 0.95 else "")


def _why(one: Mapping[str, Any], now: datetime) -> Text:
    why = one.get("explanation") or {}
    if why.get("reason"):
        text = str(why["reason"])
        return Text(flat(text), style="dim" if one.get("state") == "healthy" else "")
    running = [str(resource.get("name")) for resource in one.get("resources") or [] if resource.get("running")]
    return Text(flat(f"reads {', '.join(running)}") if running else "", style="dim")


def _below(found: Mapping[str, Any], width: int) -> Iterator[Text]:
    """Queues and dead letters."""
    shown = [queue for queue in found.get("queues") or [] if queue.get("kind") == "table" or queue.get("waiting")]
    if shown:
        line = Text("queues  ", style="dim")
        for queue in shown:
            waiting, capacity = queue.get("waiting", 0), queue.get("capacity")
            text = f"{str(queue.get('name')).removeprefix('tasks ')} {number(waiting)}" + (
                f"/{number(capacity)}" if capacity else ""
            )
            if queue.get("oldest_seconds"):
                text += f" {lasting(queue['oldest_seconds'])}"
            flows = queue.get("state") in (None, "empty", "flows")
            line.append(f"{text}   ", style="" if flows else "yellow")
        yield line
    dead, rejects = found.get("dead_letters") or {}, found.get("rejects") or {}
    if dead.get("total") or rejects.get("total"):
        causes = f" in {plural(dead['causes'], 'cause')}" if dead.get("causes") else ""
        yield Text(
            f"{plural(dead.get('total', 0), 'dead letter')}{causes}, {plural(rejects.get('total', 0), 'rejected record')}",
            style="yellow" if dead.get("total") else "dim",
        )
