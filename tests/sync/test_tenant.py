"""Records name the account they are of: what an option says of it is held against them."""

from __future__ import annotations

from typing import Any

import pytest

from syncd.errors import PayloadError
from syncd.store import Store

from .ranged import Desk, rest

MODE = {
    "about": "Which world.",
    "default": "test",
    "choices": ["test", "real"],
    "tenant": {"test": "false", "real": "true"},
}


@pytest.mark.parametrize(
    ("options", "sound"),
    [({}, True), ({"mode": "real"}, True), ({"mode": "test"}, False)],
    ids=["nothing said", "as said", "otherwise"],
)
async def test_a_listing_of_another_account_than_the_options_say_is_not_stored(
    store: Store, options: dict[str, Any], sound: bool
) -> None:
    desk = await Desk.open(store, {**rest(tenant="real"), "options": {"mode": MODE}})
    desk.account.options = options
    desk.partner.put(1)
    desk.partner.truth["t0001"]["real"] = True
    if sound:
        await desk.pull(full=True)
    else:
        with pytest.raises(PayloadError, match="another account \\(true\\) than `options` say \\(mode: test\\)"):
            await desk.pull(full=True)
    assert bool(await desk.stored()) is sound
