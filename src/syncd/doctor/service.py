"""The machine, the account and the service, as this command can see them."""

from __future__ import annotations

import os
import re
import resource
import shutil
import subprocess
from pathlib import Path

from syncd.doctor.facts import MachineFact, UnitFact
from syncd.surroundings import user_of

UNIT = "syncd.service"
SHOWN = (
    "FragmentPath",
    "User",
    "MemoryMax",
    "CPUQuotaPerSecUSec",
    "CPUWeight",
    "LimitNOFILE",
    "Restart",
    "NeedDaemonReload",
    "MainPID",
    "ActiveState",
)
SYSTEMCTL_SECONDS = 5.0
_CHECKOUT = Path(__file__).resolve().parents[3]
_SHIPPED = (_CHECKOUT / "systemd" / UNIT, Path("/usr/share/doc/syncd") / UNIT)
_INSTALLED = (Path("/etc/systemd/system") / UNIT, Path("/lib/systemd/system") / UNIT)
_NO_LIMIT = 1 << 60


def machine(state: Path, *, embedded: bool, key_kept: str) -> MachineFact:
    unit = _unit()
    pid = unit.properties.get("MainPID", "0")
    descriptors = _descriptors(pid)
    return MachineFact(
        user=user_of(os.geteuid()),
        uid=os.geteuid(),
        container=Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        descriptors=descriptors or resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        descriptors_of="the daemon" if descriptors else "this command",
        memory_max=_memory_max(),
        processors=_processors(),
        state_directory=str(state),
        state_free_bytes=free_bytes(state),
        key_kept=key_kept,
        embedded=embedded,
        synchronized=_synchronized() if unit.systemd else None,
        unit=unit,
        previous=_previous(),
    )


def free_bytes(path: Path) -> int | None:
    """Free bytes of the disk a directory lies on, or would."""
    try:
        place = next(each for each in (path, *path.parents) if each.exists())
        return shutil.disk_usage(place).free
    except (OSError, StopIteration):
        return None


def _unit() -> UnitFact:
    systemd = Path("/run/systemd/system").is_dir()
    shipped = next((_text(path) for path in _SHIPPED if path.is_file()), "")
    properties = _properties() if systemd else {}
    path = properties.get("FragmentPath") or next((str(each) for each in _INSTALLED if each.is_file()), "")
    text = _text(Path(path)) if path else ""
    found = re.findall(r"^User=(\S+)", text, re.MULTILINE)
    user = properties.get("User") or (found[-1] if found else "")
    return UnitFact(systemd, bool(path), text, path, shipped, user, properties)


def _properties() -> dict[str, str]:
    told = _said("systemctl", "show", UNIT, f"--property={','.join(SHOWN)}")
    return dict(line.partition("=")[::2] for line in told.splitlines() if "=" in line)


def _synchronized() -> bool | None:
    told = _said("timedatectl", "show", "--property=NTPSynchronized", "--value").strip()
    return {"yes": True, "no": False}.get(told)


def _said(*words: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            words, capture_output=True, text=True, errors="replace", timeout=SYSTEMCTL_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _descriptors(pid: str) -> int:
    """The limit of the service's main process; 0 where it is not running, or not ours to see."""
    if not pid.isdigit() or pid == "0":
        return 0
    found = re.search(r"^Max open files\s+(\d+)", _text(Path("/proc") / pid / "limits"), re.MULTILINE)
    return int(found[1]) if found else 0


def _memory_max() -> int | None:
    """What the control group this command runs in allows."""
    for path in (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")):
        text = _text(path).strip()
        if text.isdigit() and int(text) < _NO_LIMIT:
            return int(text)
    return None


def _processors() -> float | None:
    """How many processors the same control group allows."""
    quota, _, period = _text(Path("/sys/fs/cgroup/cpu.max")).strip().partition(" ")
    if not period:
        quota = _text(Path("/sys/fs/cgroup/cpu/cpu.cfs_quota_us")).strip()
        period = _text(Path("/sys/fs/cgroup/cpu/cpu.cfs_period_us")).strip()
    return int(quota) / int(period) if quota.isdigit() and period.isdigit() and int(period) else None


def _previous() -> tuple[str, ...]:
    """Installations beside /opt/syncd, such as the release before."""
    try:
        beside = sorted(Path("/opt").glob("syncd*"))
    except OSError:
        return ()
    return tuple(str(one) for one in beside if one.name != "syncd" and (one / "bin" / "syncd").exists())


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""
