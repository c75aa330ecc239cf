"""The page an application's author reads names every kind of change that a partner takes, and no other."""

from __future__ import annotations

import re
from pathlib import Path

from syncd import drivers

PAGE = Path(__file__).parents[2] / "docs" / "pushes.md"


def taken() -> set[tuple[str, str, str]]:
    found = set()
    for name in drivers.names():
        if name == "rest":
            continue
        spec = drivers.load(name).spec
        for resource in spec.resources.values():
            own = None if resource.queue is None else resource.queue.acknowledge  # written by syncd itself
            found |= {(spec.title, resource.name, kind) for kind in resource.pushes if kind != own}
    return found


def written() -> set[tuple[str, str, str]]:
    found = set()
    rows = re.findall(r"^\| ([^|]+) \| ([^|]+) \| ([^|]+) \|$", PAGE.read_text("utf-8"), re.MULTILINE)
    for title, resources, kinds in rows:
        for resource in re.findall(r"`(\w+)`", resources):
            found |= {(title.strip(), resource, kind) for kind in re.findall(r"`(\w+)`", kinds)}
    titles = {title for title, _, _ in taken()}
    return {one for one in found if one[0] in titles}


def test_what_partners_take_is_named_on_the_page_of_pushes() -> None:
    assert sorted(taken() - written()) == [], "these are taken and not named in docs/pushes.md"
    assert sorted(written() - taken()) == [], "these are named in docs/pushes.md and not taken"
