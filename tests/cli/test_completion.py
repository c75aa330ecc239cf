"""What a shell is told at a Tab: names of the configuration, also beside a broken file, and causes while a daemon runs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src"

ATTIO = """driver: attio
integrations:
  crm_main: {credentials: {token: {file: crm}}}
  crm_test: {credentials: {token: {file: crm}}}
"""
PLAIN = """driver: rest
rest: {resources: {boats: {path: /boats}}}
resources: {berths: {every: 1h}}
integrations:
  yard: {credentials: {api_key: {file: yard}, other: {file: yard}}}
"""


@pytest.fixture
def names(tmp_path: Path) -> Path:
    partners = tmp_path / "partners"
    partners.mkdir()
    (tmp_path / "syncd.yaml").write_text("server: {admin: 127.0.0.1:1}\n")
    (partners / "attio.yaml").write_text(ATTIO)
    (partners / "boatyard.yaml").write_text(PLAIN)
    (partners / "broken.yaml").write_text("driver: [")
    return tmp_path


def asked(directory: Path, line: str) -> list[str]:
    """What is offered for the last word of the line, which may be empty."""
    words = line.split(" ")
    env = {**os.environ, "PYTHONPATH": str(SOURCE), "SYNCD_CONFIG": str(directory), "_SYNCD_COMPLETE": "bash_complete"}
    env |= {"COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        [sys.executable, "-m", "syncd"], env=env, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return [found.partition(",")[2] for found in done.stdout.splitlines() if found]


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("syncd stat", ["status"]),
        ("syncd sync crm", ["crm_main", "crm_test"]),
        ("syncd sync ya", ["yard", "yard/berths"]),
        ("syncd pause yard/", ["yard/berths"]),
        ("syncd status boat", ["boatyard"]),
        ("syncd credential set yard ", ["api_key", "other"]),
        ("syncd runbook partner-d", ["partner-down"]),
        ("syncd sim mai", ["maintainx"]),
        ("syncd breaker yard ho", ["hold"]),
        ("syncd dlq replay --cause ", []),
        ("syncd dlq list --integration nobody", []),
    ],
)
def test_names_of_the_configuration_are_offered(names: Path, line: str, offered: list[str]):
    assert asked(names, line) == offered


def test_resources_a_driver_declares_are_offered(names: Path):
    found = asked(names, "syncd reconcile crm_main/")
    assert {"crm_main/companies", "crm_main/people"} <= set(found)


def test_causes_come_from_the_daemon_that_runs(names: Path):
    class Daemon(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"schema": "syncd.dlq/1", "causes": [{"cause": "0a1b2c3d"}, {"cause": "ffee0011"}]})
            self.send_response(200 if self.path == "/api/v1/dlq" else 404)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Daemon) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        (names / "syncd.yaml").write_text(f"server: {{admin: 127.0.0.1:{server.server_address[1]}}}\n")
        assert asked(names, "syncd dlq show ") == ["0a1b2c3d", "ffee0011"]
        assert asked(names, "syncd dlq replay --cause f") == ["ffee0011"]
        server.shutdown()


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_has_its_script_and_takes_it(run, shell: str, tmp_path: Path):
    done = run("completion", shell)
    assert done.exit_code == 0
    assert "_SYNCD_COMPLETE" in done.stdout
    if shutil.which(shell) is not None:
        script = tmp_path / "script"
        script.write_text(done.stdout)
        assert subprocess.run([shell, "-n", str(script)], capture_output=True, check=False, timeout=30).returncode == 0


def test_a_line_that_is_no_completion_never_loads_it():
    code = "import sys, syncd.cli.root as r; r.cli.get_command(None, 'status'); print('syncd.cli.completion' in sys.modules)"
    env = {name: value for name, value in os.environ.items() if name != "_SYNCD_COMPLETE"} | {"PYTHONPATH": str(SOURCE)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n"
