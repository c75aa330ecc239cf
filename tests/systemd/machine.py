"""A machine with a real systemd as process 1: a Debian tree booted by systemd-nspawn, its changes kept in memory alone.

It has a network of its own with nothing in it but loopback, its own process ids, users as in the tree, and a PostgreSQL of
the distribution. Commands enter its namespaces, so no daemon is wanted on this side.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

BOOT_SECONDS = 90
OFF_SECONDS = 30
TREE = "SYNCD_MACHINE_TREE"
"""Names the Debian tree; `make systemd` sets it."""
PACKAGE = "SYNCD_MACHINE_PACKAGE"
"""Names the Debian package that is installed there."""


def cannot() -> str:
    """Why no machine can be booted here, or nothing."""
    tree = os.environ.get(TREE, "")
    if not tree:
        return "run by `make systemd`, which makes the Debian tree to boot"
    if os.geteuid() != 0:
        return "booting a machine needs root"
    if shutil.which("systemd-nspawn") is None:
        return "systemd-nspawn is not installed (Debian's package systemd-container)"
    if not (Path(tree) / "lib/systemd/systemd").exists():
        return f"{tree} holds no systemd"
    return ""


class NotBooted(Exception):
    """This computer's kernel or container refuses what systemd needs; says which words it used."""


class Machine:
    """`with Machine(tree, folder) as machine:` boots it; `machine.run("systemctl", ...)` is a command of its root's."""

    def __init__(self, tree: Path, folder: Path) -> None:
        self._tree = tree
        self._log = folder / "console.log"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._leader = 0

    def __enter__(self) -> Machine:
        words = ["systemd-nspawn", "--quiet", f"--directory={self._tree}", "--boot", "--volatile=overlay"]
        words += ["--private-network", "--register=no", "--keep-unit", "--link-journal=no", "--console=pipe"]
        words += ["--resolv-conf=off", "--timezone=off", f"--machine=syncd-{os.getpid()}"]
        with self._log.open("wb") as log:
            self._nspawn = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        try:
            self._wait_for_boot(time.monotonic() + BOOT_SECONDS)
        except BaseException:
            self.off()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.off()

    def off(self) -> None:
        """Power off; killed when it does not within half a minute."""
        assert self._nspawn is not None
        if self._nspawn.poll() is None:
            self._nspawn.send_signal(signal.SIGTERM)  # nspawn asks the machine to shut down
            try:
                self._nspawn.wait(OFF_SECONDS)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait(OFF_SECONDS)

    def run(
        self, *words: str, check: bool = True, seconds: float = 60, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command in there as root. With `check` one that fails is an AssertionError with all it said."""
        enter = [
            "nsenter",
            "--target",
            str(self._leader),
            "--mount",
            "--uts",
            "--ipc",
            "--net",
            "--pid",
            "--cgroup",
            "--",
        ]
        clean = ["env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"]
        done = subprocess.run(
            [*enter, *clean, *words], input=stdin or "", capture_output=True, text=True, timeout=seconds, check=False
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(words)} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
        return done

    def put(self, path: str, text: str, *, mode: str = "0644", owner: str = "root", group: str = "root") -> None:
        self.run("install", "-D", "-m", mode, "-o", owner, "-g", group, "/dev/stdin", path, stdin=text)

    def bring(self, file: Path, path: str) -> None:
        """Copy a file of this side into the machine."""
        with file.open("rb") as source:
            enter = [
                "nsenter",
                "--target",
                str(self._leader),
                "--mount",
                "--",
                "dd",
                f"of={path}",
                "bs=1M",
                "status=none",
            ]
            subprocess.run(enter, stdin=source, check=True, timeout=60)

    def show(self, unit: str, *properties: str) -> dict[str, str]:
        """What systemd knows of a unit."""
        told = self.run("systemctl", "show", unit, *(f"--property={name}" for name in properties)).stdout
        return dict(line.partition("=")[::2] for line in told.splitlines())

    def journal(self, unit: str) -> str:
        """All the unit has said, and what systemd said of it."""
        self.run("journalctl", "--sync")
        return self.run("journalctl", "--no-pager", "--output=cat", f"--unit={unit}").stdout

    def until(self, unit: str, seconds: float = 30, **wanted: str) -> dict[str, str]:
        """Wait until systemd shows these properties; an AssertionError with those it shows and the journal otherwise."""
        deadline = time.monotonic() + seconds
        while True:
            found = self.show(unit, *wanted)
            if found == wanted:
                return found
            if time.monotonic() > deadline:
                raise AssertionError(f"{unit}: {found}, not {wanted}\n{self.journal(unit)[-3000:]}")
            time.sleep(0.1)

    def _wait_for_boot(self, deadline: float) -> None:
        assert self._nspawn is not None
        pid = self._nspawn.pid
        while time.monotonic() < deadline:
            if self._nspawn.poll() is not None:
                break
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            if children and self._is_up(int(children[0])):
                return
            time.sleep(0.1)
        said = self._log.read_text("utf-8", "replace").strip().splitlines()[-3:]
        raise NotBooted("systemd-nspawn: " + " / ".join(line.strip() for line in said))

    def _is_up(self, leader: int) -> bool:
        self._leader = leader
        try:
            state = self.run("systemctl", "is-system-running", check=False, seconds=10)
        except subprocess.TimeoutExpired:
            return False
        return state.stdout.strip() in {"running", "degraded"}
