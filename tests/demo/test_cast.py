"""Who plays in the demo plays all that the partner can."""

from __future__ import annotations

import pytest

from syncd import drivers
from syncd.demo.cast import CAST, Role


@pytest.mark.parametrize(("name", "role"), CAST.items(), ids=list(CAST))
def test_every_partner_that_has_webhooks_sends_one_of_a_resource_they_tell_of(name: str, role: Role) -> None:
    rules = drivers.load(name).spec.webhooks
    assert (role.hooks != "none") == (rules is not None)
    if rules is None:
        return
    assert (role.hooks == "registered") == (rules.subscriptions is not None)
    if rules.routes:  # else the driver tells events apart by itself
        assert (role.tells or role.changes) in rules.routes.values()
