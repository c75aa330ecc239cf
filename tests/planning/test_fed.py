"""Which integrations webhooks can tell of, as `check` and the plans see it: also those of another one's address."""

from __future__ import annotations

from pathlib import Path

import pytest

from syncd import drivers
from syncd.config import load
from syncd.plans import no_webhooks

AIRBNB = """\
driver: airbnb
resources: {reservations: {strategy: webhooks}}
integrations:
  acme:
    credentials: {client_id: {file: a}, client_secret: {file: b}, refresh_token: {file: c}}
    %s
  second:
    credentials: {client_id: {file: a}, client_secret: {file: b}, refresh_token: {file: d}}
    %s
"""
ADDRESS = "webhook: {secrets: [{file: key}]}"


@pytest.mark.parametrize(
    ("first", "second", "polled"),
    [
        (ADDRESS, "options: {host_id: 2}", []),
        (ADDRESS, "{}", ["second"]),
        ("options: {host_id: 1}", "options: {host_id: 2}", ["acme", "second"]),
        (f"enabled: false\n    {ADDRESS}", "options: {host_id: 2}", ["second"]),
    ],
)
def test_one_whose_account_is_named_is_fed_by_the_address_of_another(
    tmp_path: Path, first: str, second: str, polled: list[str]
) -> None:
    (tmp_path / "partners").mkdir()
    (tmp_path / "syncd.yaml").write_text("{}\n")
    text = AIRBNB % (first, "enabled: true" if second == "{}" else second)
    (tmp_path / "partners" / "airbnb.yaml").write_text(text)
    found = load(tmp_path, drivers=drivers.facts(), env={})
    warned = [problem.message for problem in found.warnings if "is polled" in problem.message]
    assert warned == [f"{name} has no webhook section: reservations is polled" for name in polled]
    partner = found.require().partners["airbnb"]
    driver = drivers.load("airbnb")
    assert [name for name in partner.integrations if no_webhooks(driver, partner, name)] == polled
