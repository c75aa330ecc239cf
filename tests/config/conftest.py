from __future__ import annotations

from pathlib import Path

import pytest

MAIN = """\
database: {url: {env: SYNCD_DATABASE_URL}}
server: {listen: 127.0.0.1:8080, admin: 127.0.0.1:8081}
secrets: {directory: secrets}
"""
GUESTY = """\
driver: guesty
limits: {tiers: [5/s, 80/min]}
resources: {listings: {every: 15m}}
integrations:
  acme:
    credentials: {client_id: {file: guesty/id}, client_secret: {file: guesty/secret}}
    webhook: {secrets: [{file: guesty/hook}]}
    resources: {reservations: {every: 5m, history: full}}
"""
ATTIO = """\
driver: attio
integrations:
  crm:
    credentials: {token: {env: ATTIO_TOKEN}}
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    """A directory with a sound configuration of two partners."""
    directory = tmp_path / "config"
    (directory / "partners").mkdir(parents=True)
    (directory / "syncd.yaml").write_text(MAIN)
    (directory / "partners" / "guesty.yaml").write_text(GUESTY)
    (directory / "partners" / "attio.yaml").write_text(ATTIO)
    return directory
