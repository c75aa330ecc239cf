"""Who may ask a partner about subscriptions, what they are told, and what is written down; and the admin API of it."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import anyio
import pytest

from syncd import drivers
from syncd.clock import SystemClock
from syncd.config import Config, load
from syncd.errors import ConfigError, OwnershipError, RejectedError
from syncd.kit.deliveries import Webhooks
from syncd.server import desk_subscriptions
from syncd.server.address import url_of
from syncd.subscriptions import Subscribers
from tests.server.fakes import FakeStatus, serving
from tests.sync.test_subscribing import Api, Stage, row

OURS = "https://sync.example.com/webhooks/plain/one"
FILE = """\
driver: rest
rest: {base_url: 'https://x.example', resources: {things: {path: /things, id: id}}}
integrations: {one: {webhook: {secrets: [%s]}}, two: {}}
"""


def config(folder: Path, *, public: str = "https://sync.example.com", secrets: str = "") -> Config:
    (folder / "partners").mkdir(exist_ok=True)
    (folder / "syncd.yaml").write_text(f"server: {{public_url: '{public}'}}\n" if public else "{}\n")
    (folder / "partners" / "plain.yaml").write_text(FILE % secrets)
    return load(folder, drivers=drivers.facts(), env={}).require()


class House:
    """Subscribers with one account that runs, played by `Stage`."""

    def __init__(self, settings: Config, stage: Stage | None = None) -> None:
        self.stage = stage or Stage()
        self.settings = settings
        self.held = self.takes = True
        self.verify: Any = "stripe"
        self.api: Api | None = self.stage.api
        self.written: list[tuple[str, str, Any]] = []
        self.desk = Subscribers(lambda: [self.account()], lambda: self.settings, lambda: self)  # type: ignore[list-item,return-value,arg-type]

    def account(self) -> Any:
        return SimpleNamespace(
            name="one", plans={"things": None}, options={}, session=self.stage, clock=self.stage.clock, scope="plain/one",
            store=SimpleNamespace(credentials=self.stage), ownership=SimpleNamespace(held=self.held),
            driver=SimpleNamespace(
                subscriptions=lambda options: self.api, takes_webhooks=self.takes,
                spec=SimpleNamespace(webhooks=Webhooks(verify=self.verify)),
            ), partner="plain",
        )  # fmt: skip

    @property
    def audit(self) -> House:
        return self

    async def add(self, who: str, action: str, *, integration: str, after: Any) -> None:
        assert (action, integration) == ("webhooks_registered", "one")
        self.written.append((who, action, after))


async def test_what_was_done_is_told_and_written_down_without_the_secret(tmp_path: Path) -> None:
    house = House(config(tmp_path))
    told = await house.desk.register("one", dry_run=True, who="ann")
    assert [step["action"] for step in told["steps"]] == ["create"] and house.stage.rows == [] and house.written == []
    told = await house.desk.register("one", dry_run=False, who="ann")
    assert [step["action"] for step in told["done"]] == ["create"] and told["left"] == [] and told["url"] == OURS
    assert [one["state"] for one in told["subscriptions"]] == ["sound"]
    assert [(who, len(after["done"])) for who, _, after in house.written] == [("ann", 1)]
    assert "secret-1" not in str(told) + str(house.written)
    assert (await house.desk.register("one", dry_run=False, who="ann"))["done"] == []
    assert len(house.written) == 1


async def test_two_that_register_at_once_make_one(tmp_path: Path) -> None:
    house = House(config(tmp_path))
    async with anyio.create_task_group() as tasks:
        for who in ("ann", "bob"):
            tasks.start_soon(lambda who=who: house.desk.register("one", dry_run=False, who=who))
    assert len(house.stage.rows) == 1


async def test_what_registering_leaves_is_named_with_the_command_that_mends_it(tmp_path: Path) -> None:
    house = House(config(tmp_path), Stage({**row(), "url": OURS}))
    told = await house.desk.register("one", dry_run=False, who="ann")
    assert (told["done"], [step["action"] for step in told["left"]]) == ([], ["replace"])
    assert (await house.desk.list("one"))["command"] == "repair"
    told = await house.desk.repair("one", dry_run=False, who="ann")
    assert [step["action"] for step in told["done"]] == ["replace"] and told["left"] == []


async def test_a_secret_in_the_file_counts_for_the_one_that_is_there(tmp_path: Path) -> None:
    house = House(config(tmp_path, secrets="{env: A}"), Stage({**row(), "url": OURS}))
    told = await house.desk.list("one")
    assert told["steps"] == [] and told["subscriptions"][0]["secret"] == "file"


async def test_what_failed_half_way_is_written_down_too(tmp_path: Path) -> None:
    house = House(config(tmp_path), Stage({**row(), "url": OURS}))
    house.stage.faults.append(("DELETE /hooks/s1", RejectedError("not allowed")))
    with pytest.raises(RejectedError):
        await house.desk.repair("one", dry_run=False, who="ann")
    assert house.written[0][2] == {"done": [], "failed": "not allowed"}
    assert list(house.stage.sealed) == ["new1"], "the new one was made and is sealed"


async def test_where_the_partner_has_no_api_the_address_to_enter_there_is_told(tmp_path: Path) -> None:
    house = House(config(tmp_path))
    house.api = None
    told = await house.desk.list("one")
    assert (told["url"], told["steps"], told["subscriptions"]) == (OURS, [], [])
    assert f"enter {OURS} in its own pages" in told["by_hand"]
    house.held = False
    with pytest.raises(RejectedError) as caught:
        await house.desk.register("one", dry_run=False, who="ann")
    assert (str(caught.value), caught.value.hint) == (told["by_hand"], "syncd webhook list one")
    house.settings = config(tmp_path, public="")
    with pytest.raises(ConfigError, match="where partners reach"):
        await house.desk.list("one")
    house.takes = False
    for ask in (house.desk.list("one"), house.desk.repair("one", dry_run=False, who="ann")):
        with pytest.raises(RejectedError, match="sends no webhooks"):  # an address would be of no use
            await ask
    assert house.stage.calls == []


@pytest.mark.parametrize(
    ("verify", "said"),
    [
        (
            "issued_token",
            [
                f"enter {OURS} for",
                f"{OURS}/token as the token address",
                "the text as the client secret",
                "long random text",
            ],
        ),
        ("none", [f"enter {OURS}/TEXT", "signs nothing", "long random text"]),
        (
            "airbnb",
            [f"enter {OURS} in", "(PEM)", "where they show none, put a long random text", f"enter {OURS}/TEXT"],
        ),
    ],
)
async def test_what_is_entered_by_hand_is_what_its_deliveries_are_verified_by(
    tmp_path: Path, verify: str, said: list[str]
) -> None:
    house = House(config(tmp_path))
    house.api, house.verify = None, verify
    told = (await house.desk.list("one"))["by_hand"]
    assert [text for text in said if text not in told] == [] and "the secret it shows" not in told


async def test_nobody_is_asked_without_an_address_a_way_or_the_lease(tmp_path: Path) -> None:
    house = House(config(tmp_path))
    with pytest.raises(ConfigError, match="does not run here"):
        await house.desk.list("two")
    house.held = False
    with pytest.raises(OwnershipError, match="another instance"):
        await house.desk.register("one", dry_run=False, who="ann")
    house.held, house.settings = True, config(tmp_path, public="")
    with pytest.raises(ConfigError, match="where partners reach") as caught:
        await house.desk.list("one")
    assert "public_url" in caught.value.hint
    assert house.stage.calls == []


class FakeDesk:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[Any] = []

    def names(self) -> dict[str, list[str]]:
        return {"acme": []}

    async def list(self, integration: str) -> dict[str, Any]:
        return {"integration": integration}

    async def register(self, integration: str, *, dry_run: bool, who: str) -> dict[str, Any]:
        self.asked.append(("register", integration, dry_run, who))
        return {}

    async def repair(self, integration: str, *, dry_run: bool, who: str) -> dict[str, Any]:
        self.asked.append(("repair", integration, dry_run, who))
        raise ConfigError("the driver rest cannot make subscriptions", hint="make it in the partner's own pages")


async def test_the_admin_api_passes_on_what_is_asked_and_refuses_what_makes_no_sense() -> None:
    desk, status = FakeDesk(), FakeStatus()
    base = "/api/v1/webhooks"
    async with (
        serving(status, clock=SystemClock(), desks=desk_subscriptions.routes(desk)) as server,
        aiohttp.ClientSession(url_of(server.admin)) as client,
    ):

        async def ask(method: str, path: str, **options: Any) -> tuple[int, dict[str, Any]]:
            async with client.request(method, base + path, **options) as answer:
                return answer.status, await answer.json()

        assert await ask("GET", "/subscriptions?integration=acme") == (
            200, {"schema": "syncd.webhook-subscriptions/1", "integration": "acme"})  # fmt: skip
        assert (await ask("GET", "/subscriptions"))[0] == 400
        assert (await ask("GET", "/subscriptions?integration=acne"))[1]["error"]["hint"] == "did you mean 'acme'?"
        assert await ask("POST", "/register", json={"integration": "acme"}) == (
            200,
            {"schema": "syncd.webhook-register/1"},
        )
        assert (await ask("POST", "/register", json={"integration": "acme", "dry_run": 1}))[0] == 400
        code, found = await ask(
            "POST", "/repair", json={"integration": "acme", "dry_run": True}, headers={"X-Syncd-Actor": "ann"}
        )
        assert (code, found["error"]["code"]) == (422, "configuration")
    assert desk.asked == [("register", "acme", False, "admin API"), ("repair", "acme", True, "ann")]


async def test_what_a_partner_dropped_without_a_word_is_made_anew_if_it_had_been_registered(tmp_path: Path) -> None:
    house = House(config(tmp_path))
    house.credentials = house.stage  # type: ignore[attr-defined]
    paused: list[str | None] = [None]
    usual = house.account
    house.account = lambda: SimpleNamespace(  # type: ignore[method-assign]
        **vars(usual()), health=SimpleNamespace(paused=paused[0])
    )
    house.stage.api.vanish = True  # type: ignore[misc]
    await house.desk.keep_up()
    assert house.stage.rows == [], "nobody had registered any"
    await house.desk.register("one", dry_run=False, who="ann")
    house.stage.rows.clear()
    paused[0] = "by ann"
    await house.desk.keep_up()
    assert house.stage.rows == [], "while paused nothing is asked"
    paused[0] = None
    house.stage.faults.append(("GET /hooks", RejectedError("no")))
    await house.desk.keep_up()
    await house.desk.keep_up()
    assert len(house.stage.rows) == 1 and house.written[-1][0] == "syncd"
    house.stage.rows.clear()
    house.stage.api.vanish = False  # type: ignore[misc]
    await house.desk.keep_up()
    assert house.stage.rows == [], "whose partner keeps them is not asked"
