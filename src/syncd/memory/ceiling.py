"""How much resident memory is enough: what the configuration says, else a share of what the service manager allows."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

SHARE = 0.8
"""Of what the service manager allows: the rest is for the answers in hand when the ceiling is reached."""
MOST_UNTOLD = 1024**3
"""Where nobody says how much there is to use."""
_NO_LIMIT = 1 << 60
"""Version 1 says so much where it means none."""
_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


@dataclass(frozen=True, slots=True)
class Ceiling:
    """Bytes of resident memory, and who says so. 0: there is none."""

    size: int
    told_by: str


def found(configured: int | None, *, cgroups: Path = _CGROUPS, own: Path = _OWN) -> Ceiling:
    """The ceiling in force. `configured` are bytes, 0 for `off`, None where the configuration leaves it open."""
    if configured is not None:
        return Ceiling(configured, "memory.ceiling in syncd.yaml")
    allowed = min(_limits(cgroups, own), default=None)
    if allowed is not None:
        return Ceiling(int(allowed[0] * SHARE), f"{SHARE:.0%} of {allowed[1]}")
    return Ceiling(min(_installed() // 2, MOST_UNTOLD), "half of the machine's memory, 1 GiB at most")


def _limits(cgroups: Path, own: Path) -> Iterator[tuple[int, str]]:
    """What the control groups of this process allow it, its own and those above; of version 2, else of version 1."""
    try:
        groups = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in groups:
        if not controllers:
            yield from _upwards(cgroups, path, {"memory.high": "MemoryHigh", "memory.max": "MemoryMax"})
        elif "memory" in controllers.split(","):
            yield from _upwards(cgroups / "memory", path, {"memory.limit_in_bytes": "the memory limit"})


def _upwards(root: Path, path: str, files: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    group = root / path.strip().lstrip("/")
    for place in (group, *group.parents):
        for file, name in files.items():
            try:
                found = int((place / file).read_text())
            except (OSError, ValueError):
                continue  # "max", or there is none here
            if found < _NO_LIMIT:
                yield found, f"{name} of its control group"
        if place == root:
            return


def _installed() -> int:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
