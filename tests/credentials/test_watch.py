"""What the daemon reminds of: not of what nobody replaces because it is old."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from syncd.credentials.watch import CredentialWatch
from syncd.kit.auth import Auth
from syncd.secrets import Ref, Secret
from syncd.testing.clock import FakeClock

DAY = 86_400.0
NAMES = {
    "oauth2_refresh": ["client_id", "client_secret", "refresh_token"],
    "oauth2_client": ["client_id", "client_secret"],
    "basic": ["username", "password"],
    "bearer": ["token"],
}


async def reminded(folder: Path, auth: Auth, *, handed: str = "") -> list[str]:
    """Of credentials in files that are 200 days old: which the reminder names, and how many others."""
    clock = FakeClock()
    names = NAMES[auth.kind]
    for name in names:
        (folder / name).touch(mode=0o600)
        (folder / name).write_text(f"value-of-{name}")
        os.utime(folder / name, (clock.now().timestamp() - 200 * DAY,) * 2)
    refs = {name: Ref.model_validate({"file": name}) for name in names}
    partner: Any = SimpleNamespace(name="guesty", is_enabled=lambda name: True)
    config: Any = SimpleNamespace(
        integrations={"acme": (partner, SimpleNamespace(credentials=refs, webhook=None))},
        secrets=SimpleNamespace(directory=folder),
        remind_after=lambda name: 90 * DAY,
    )

    class Keys:
        def __init__(self) -> None:
            self.configured = {name: Secret(f"value-of-{name}") for name in names}

        def __call__(self, name: str) -> Secret:
            return Secret("handed-over-by-the-partner") if name == handed else self.configured[name]

    account: Any = SimpleNamespace(
        name="acme", keys=Keys(), health=SimpleNamespace(rights=None), options={},
        driver=SimpleNamespace(auth=lambda options: auth),
    )  # fmt: skip
    watch = CredentialWatch(
        config=lambda: config, accounts=lambda: [account], store=lambda: None, clock=clock, environ={}, company=str
    )
    await watch.look()
    return [one.told.reason.partition(" dates")[0].removeprefix("its ")
            + one.told.reason.partition(")")[2] for one in watch.conditions()]  # fmt: skip


@pytest.mark.parametrize(
    ("auth", "told"),
    [
        (Auth(kind="oauth2_refresh", token_path="/t"), ["client_secret"]),
        (Auth(kind="oauth2_client", token_path="/t"), ["client_secret"]),
        (Auth(kind="basic"), ["password"]),
        (Auth(kind="basic", optional=("password",)), ["username; 1 more is old too"]),
        (Auth(kind="bearer"), ["token"]),
    ],
)
async def test_what_only_says_who_calls_or_is_replaced_by_the_partner_is_never_old(
    tmp_path: Path, auth: Auth, told: list[str]
) -> None:
    assert await reminded(tmp_path, auth) == told


async def test_what_the_partner_has_handed_over_since_is_not_as_old_as_the_file(tmp_path: Path) -> None:
    assert await reminded(tmp_path, Auth(kind="bearer"), handed="token") == []
