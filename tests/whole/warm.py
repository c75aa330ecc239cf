"""Processes that are forked from one that has imported syncd and read its drivers: that was a third of the suite's time.

`python -m tests.whole.warm` is that one, one for each worker of the tests. What it forks runs `python -m MODULE WORDS` as an
interpreter of its own would, with its own environment, folder and files, and dies as one does. Not so: its name in the list
of processes, and what the environment says to the interpreter itself (`fits` tells).
"""

from __future__ import annotations

import array
import asyncio
import atexit
import contextlib
import functools
import gc
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import orjson

from syncd.errors import SyncdError
from syncd.testing.process import Spawned

ROOT = Path(__file__).resolve().parents[2]
PATH = str(ROOT / "src")
IMPORTED = ("syncd.daemon", "syncd.cli.run", "syncd.testing.simulator", "tests.whole.plain")
_MOST_BYTES = 180_000
_LOOK_SECONDS = 0.02


def fits(env: Mapping[str, str]) -> bool:
    """Whether nothing is said to the loader, which has done its work, and nobody asked for processes as operators start them
    (`SYNCD_TEST_COLD=1`)."""
    return not any(name.startswith("LD_") for name in env) and "SYNCD_TEST_COLD" not in env


class Forked:
    """As much of a process as tests ask for; `wait` is asyncio's, `wait_here` the blocking one."""

    def __init__(self, pid: int, told: int) -> None:
        self.pid = pid
        self.stdin: Any = None
        self.stdout: Any = None
        self._told: int | None = told
        self._code: int | None = None

    @property
    def returncode(self) -> int | None:
        """The exit code, or the signal's number below zero; None while it lives."""
        if self._told is not None and select.select([self._told], [], [], 0)[0]:
            said = os.read(self._told, 64)
            self._code = int(said) if said else -int(signal.SIGKILL)
            os.close(self._told)
            self._told = None
        return self._code

    def poll(self) -> int | None:
        return self.returncode

    async def wait(self) -> int:
        while (code := self.returncode) is None:
            await asyncio.sleep(_LOOK_SECONDS)
        return code

    def wait_here(self, timeout: float | None = None) -> int:
        deadline = time.monotonic() + (timeout or 600.0)
        while (code := self.returncode) is None:
            if time.monotonic() > deadline:
                raise subprocess.TimeoutExpired(str(self.pid), timeout or 600.0)
            time.sleep(_LOOK_SECONDS / 4)
        return code

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


class _Waited(Forked):
    """As `subprocess.Popen` waits."""

    def wait(self, timeout: float | None = None) -> int:  # type: ignore[override]
        return self.wait_here(timeout)


def fork(
    module: str, *words: str, env: Mapping[str, str], stdin: int, stdout: int, stderr: int, kind: type[Forked] = Forked
) -> Forked:
    """Run `python -m module words` with these files. They may be closed at once."""
    wire = _parent()
    told, tell = os.pipe()
    try:
        said = orjson.dumps({"module": module, "words": words, "env": dict(env), "folder": str(Path.cwd())})
        assert len(said) < _MOST_BYTES
        rights = array.array("i", [stdin, stdout, stderr, tell])
        wire.sendmsg([said], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, rights)])
    finally:
        os.close(tell)
    pid = int(wire.recv(64))
    return kind(pid, told)


def spawn(name: str, *, port: int = 0, **options: Any) -> Spawned:
    """`syncd.testing.process.spawn`, without the seconds an import takes."""
    words = (name, "--port", str(port), "--watch-stdin", "--json-options", orjson.dumps(options).decode())
    (read, write), (heard, out) = os.pipe(), os.pipe()
    env = {**os.environ, "PYTHONPATH": PATH}
    process = fork("syncd.testing.simulator", *words, env=env, stdin=read, stdout=out, stderr=2, kind=_Waited)
    os.close(read)
    os.close(out)
    process.stdin, process.stdout = os.fdopen(write, "wb"), os.fdopen(heard, "rb")
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"simulator {name} ended with code {process.wait_here()} before it listened")
    return Spawned(process, orjson.loads(line))  # type: ignore[arg-type]


@functools.cache
def _parent() -> socket.socket:
    """Starts the one that forks, once in this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = {**os.environ, "PYTHONPATH": os.pathsep.join((PATH, str(ROOT)))}
    command = [sys.executable, "-m", "tests.whole.warm", str(theirs.fileno())]
    process = subprocess.Popen(command, env=env, cwd=ROOT, pass_fds=[theirs.fileno()])

    def end() -> None:
        ours.close()
        process.wait(10)

    atexit.register(end)
    theirs.close()
    return ours


# -- the one that forks


def _serve(wire: socket.socket) -> dict[str, Any] | None:
    """Forks until the other end is gone, and returns None; in each child what that is to run."""
    woken, wake = os.pipe()
    for end in (woken, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    living: dict[int, int] = {}
    while True:
        ready, _, _ = select.select([wire, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
        for pid in list(living):
            if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                _, status = os.waitpid(pid, 0)
                tell = living.pop(pid)
                with contextlib.suppress(BrokenPipeError):
                    os.write(tell, str(os.waitstatus_to_exitcode(status)).encode())
                os.close(tell)
        if wire in ready:
            said, files, _, _ = socket.recv_fds(wire, 2 * _MOST_BYTES, 4)
            if not said:
                return None
            pid = os.fork()
            if pid == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                signal.signal(signal.SIGINT, signal.default_int_handler)
                for number, file in enumerate(files[:3]):
                    os.dup2(file, number)
                wire.detach()
                os.closerange(3, 1024)
                return dict(orjson.loads(said))
            living[pid] = files[3]
            for file in files[:3]:
                os.close(file)
            wire.send(str(pid).encode())


def _run(asked: dict[str, Any]) -> None:
    os.environ.clear()
    os.environ.update(asked["env"])
    os.chdir(asked["folder"])
    sys.path[:0] = [path for path in asked["env"].get("PYTHONPATH", "").split(os.pathsep) if path not in sys.path]
    sys.argv = [asked["module"], *asked["words"]]
    # They are, that is the point.
    warnings.filterwarnings("ignore", message=".*found in sys.modules", category=RuntimeWarning)
    runpy.run_module(asked["module"], run_name="__main__", alter_sys=True)


def _main() -> None:
    for module in IMPORTED:
        __import__(module)
    from syncd import drivers

    for name in drivers.names():
        with contextlib.suppress(SyncdError):  # an extra that is missing here is said by whoever needs it
            drivers.kind(name)
    gc.collect()
    gc.freeze()
    asked = _serve(socket.socket(fileno=int(sys.argv[1])))
    if asked is not None:
        _run(asked)


if __name__ == "__main__":
    _main()
