"""The datagrams systemd receives, read from a real socket of each kind."""

from __future__ import annotations

import socket
import uuid
from pathlib import Path

import pytest

from syncd.sdnotify import Notifier
from syncd.testing.clock import FakeClock


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path):
    name = str(tmp_path / "notify") if request.param == "path" else f"@syncd-{uuid.uuid4().hex}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0" + name[1:] if name.startswith("@") else name)
        listener.setblocking(False)
        yield name, listener


def heard(listener: socket.socket) -> list[str]:
    found = []
    while True:
        try:
            found.append(listener.recv(4096).decode())
        except BlockingIOError:
            return found


def test_every_word_arrives(manager):
    name, listener = manager
    notifier = Notifier({"NOTIFY_SOCKET": name}, clock=FakeClock(monotonic=12.5))
    assert notifier.listening
    notifier.ready()
    notifier.reloading()
    notifier.alive()
    notifier.extend(20)
    notifier.stopping()
    assert heard(listener) == [
        "READY=1",
        "RELOADING=1\nMONOTONIC_USEC=12500000",
        "WATCHDOG=1",
        "EXTEND_TIMEOUT_USEC=20000000",
        "STOPPING=1",
    ]


def test_status_is_one_line_and_the_same_line_is_sent_once(manager):
    name, listener = manager
    notifier = Notifier({"NOTIFY_SOCKET": name}, clock=FakeClock())
    notifier.status("3 integrations:\n2 healthy")
    notifier.status("3 integrations: 2 healthy")
    notifier.status("3 integrations: 3 healthy\nREADY=1")
    assert heard(listener) == ["STATUS=3 integrations: 2 healthy", "STATUS=3 integrations: 3 healthy READY=1"]


@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "vsock:1:2"])
def test_without_a_service_manager_nothing_happens(address: str):
    notifier = Notifier({"NOTIFY_SOCKET": address} if address else {}, clock=FakeClock())
    notifier.ready()
    notifier.status("fine")
    assert notifier.listening is (address.startswith("/"))


def test_a_full_queue_never_blocks(manager):
    name, listener = manager
    notifier = Notifier({"NOTIFY_SOCKET": name}, clock=FakeClock())
    for _ in range(5000):
        notifier.alive()
    assert 0 < len(heard(listener)) < 5000


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "42"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "43"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_interval_is_read_for_this_process_only(environ: dict[str, str], seconds: float | None):
    assert Notifier(environ, clock=FakeClock(), pid=42).watchdog_seconds == seconds
