"""A reload never harms what runs: 64 broken configurations, changed secrets, kill switches (criterion 8, R13)."""

from __future__ import annotations

import asyncio
import math
import shutil
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from syncd.cli.root import cli
from tests.config.test_bad import CASES, Expected
from tests.whole.daemon import Daemon, Rows
from tests.whole.growing import Growing, growing_partner

GAUGE = "syncd_config_last_reload_successful"
ACME_KEY, BETA_KEY = "acme-key-000111222", "beta-key-000111222"


@dataclass
class Two:
    """A daemon with two partners, `guesty` (integration acme) and `other` (beta), each with a server of its own.

    The first is called guesty because the broken files are; it is read by the rest driver like the other.
    """

    daemon: Daemon
    rows: Rows
    guesty: Growing
    other: Growing
    files: dict[str, bytes] = field(default_factory=dict)

    @property
    def partners(self) -> Path:
        return self.daemon.config / "partners"

    def remember(self) -> None:
        paths = [self.daemon.config / "syncd.yaml", *self.partners.iterdir()]
        self.files = {str(path): path.read_bytes() for path in paths}

    def restore(self) -> None:
        for path in self.partners.iterdir():
            path.unlink()
        for path, content in self.files.items():
            Path(path).write_bytes(content)

    def put(self, case: Path) -> str:
        """Put a broken configuration in place; returns `file:line` as it must be reported."""
        expected = Expected.of(case)
        if expected.file == "syncd.yaml":
            shutil.copy(case / "syncd.yaml", self.daemon.config / "syncd.yaml")
        else:
            broken = Path(expected.file).name
            if broken.lower() == "guesty.yaml":
                (self.partners / "guesty.yaml").unlink()
            shutil.copy(case / "partners" / broken, self.partners / broken)
        return (
            f"{self.daemon.config / expected.file}:{expected.line}"
            if expected.line
            else str(self.daemon.config / expected.file)
        )

    async def arrives(self, *names: str) -> None:
        """What a partner gets now arrives here: the integrations work."""
        for integration, partner in (("acme", self.guesty), ("beta", self.other)):
            if names and integration not in names:
                continue
            new = partner.add()

            async def arrived(integration: str = integration, new: str = new) -> bool:
                return new in await self.rows.live(integration, "items")

            await self.daemon.until(arrived, seconds=30)

    async def reload(self) -> dict[str, Any]:
        status, report = await self.daemon.post("reload")
        assert status == 200
        return report

    async def gauge(self) -> float:
        return await self.daemon.metric(GAUGE)

    async def settings(self) -> dict[str, Any]:
        """What is in force, as far as status shows it."""
        found = await self.daemon.status()
        return {
            one["name"]: (
                one["enabled"],
                [resource["name"] for resource in one["resources"]],
                [(tier["name"], tier["stated"], tier["budget"]) for tier in (one["limits"] or {}).get("tiers", [])],
            )
            for one in found["integrations"]
        }


@pytest.fixture
async def two(tmp_path: Path, database: str, rows: Rows) -> AsyncIterator[Two]:
    async for found in started(tmp_path, database, rows):
        yield found


async def started(tmp_path: Path, database: str, rows: Rows, env: dict[str, str] | None = None) -> AsyncIterator[Two]:
    guesty, other = Growing(ACME_KEY), Growing(BETA_KEY)
    secret = tmp_path / "acme.key"
    secret.touch(mode=0o600)
    secret.write_text(ACME_KEY + "\n")
    files = {
        "guesty": growing_partner(await guesty.start(), "acme", {"file": str(secret)}),
        "other": growing_partner(await other.start(), "beta", {"env": "BETA_KEY"}),
    }
    daemon = Daemon(tmp_path, database, files, env={"BETA_KEY": BETA_KEY, **(env or {})})
    found = Two(daemon, rows, guesty, other)
    found.remember()
    try:
        await daemon.start()
        yield found
        await daemon.stop()
    finally:
        if daemon.process is not None and daemon.process.returncode is None:
            await daemon.kill()
        await guesty.stop()
        await other.stop()


@pytest.mark.timeout(240)
async def test_each_broken_configuration_as_a_reload_leaves_the_running_one_whole_and_is_reported_at_its_line(two: Two):
    await two.arrives()
    assert await two.gauge() == 1
    settings = await two.settings()
    assert settings["acme"][1] == settings["beta"][1] == ["items"]
    connections = (set(two.guesty.connections), set(two.other.connections))
    for number, case in enumerate(CASES):
        place = two.put(case)
        report = await two.reload()
        said = [*report["problems"], *(text for texts in report["kept"].values() for text in texts)]
        assert not report["ok"], case.name
        assert any(place in text for text in said), f"{case.name}: {place} is not in {said}"
        assert report["applied"] == [], case.name
        assert await two.gauge() == 0, case.name
        if number % 8 == 0:
            await two.arrives()
            assert await two.settings() == settings
            health = (await two.daemon.get("/health"))[0]
            assert health == 200
        two.restore()
        if number % 8 == 0:
            report = await two.reload()
            assert report["ok"], report
            assert await two.gauge() == 1
    await two.reload()
    assert await two.gauge() == 1
    await two.arrives()
    assert await two.settings() == settings
    assert (two.guesty.connections, two.other.connections) == connections, "nobody was connected anew"
    runs = await two.rows.connection.fetch("SELECT DISTINCT outcome FROM syncd.runs")
    assert {row["outcome"] for row in runs} <= {"done", "running"}


@pytest.mark.parametrize(
    "mistake", ["log: {level: info", "logg: {level: info}", "34-unknown-resource"], ids=["no YAML", "main", "partner"]
)
async def test_sighup_and_the_command_line_say_the_same_of_a_broken_configuration(two: Two, mistake: str):
    await two.arrives()
    if mistake.startswith("log"):
        main = two.daemon.config / "syncd.yaml"
        main.write_text(main.read_text() + mistake + "\n")
        last = len(main.read_text().splitlines())
        place = f"{main}:{last + 1 if mistake == 'log: {level: info' else last}"
    else:
        place = two.put(next(case for case in CASES if case.name == mistake))
    two.daemon.hup()

    async def told() -> bool:
        return await two.gauge() == 0

    await two.daemon.until(told)
    assert place.rpartition("/")[2] in two.daemon.log()
    assert (await two.daemon.status())["reload"]["ok"] is False, "status tells it, whoever asked for the reload"
    code, out, err = await two.daemon.cli("reload", "--wait")
    assert code == (78 if "syncd.yaml" in place else 1), out + err
    assert place.rpartition("/")[2] in out + err
    await two.arrives()
    two.restore()
    two.daemon.hup()

    async def healed() -> bool:
        return await two.gauge() == 1

    await two.daemon.until(healed)
    assert (await two.daemon.status())["reload"]["ok"] is True
    code, out, err = await two.daemon.cli("reload", "--wait")
    assert code == 0, out + err
    await two.arrives()


async def test_a_broken_partner_file_keeps_its_old_settings_while_anothers_change_applies(two: Two):
    await two.arrives()
    case = next(case for case in CASES if case.name == "42-bad-rate")
    place = two.put(case)
    changed = growing_partner(
        f"http://127.0.0.1:{two.other.port}/v1",
        "beta",
        {"env": "BETA_KEY"},
        resources={name: {"every": "1s", "strategy": "full"} for name in ("items", "extras")},
    )
    two.daemon.write_partner("other", changed)
    two.daemon.write_partner("fresh", {"driver": "rest", "base_ulr": "http://127.0.0.1"})
    used_before = await used(two, "beta")
    connections = set(two.guesty.connections)
    report = await two.reload()
    assert not report["ok"]
    assert report["applied"] == ["other"]
    assert sorted(report["kept"]) == ["fresh", "guesty"]
    assert report["idle"] == ["fresh"], "a new one never ran"
    [told] = [one for one in (await two.daemon.status())["conditions"] if one["code"] == "reload-failed"]
    assert told["reason"].endswith("guesty runs on with the settings of before, and fresh does not run")
    assert place in report["kept"]["guesty"][0]
    assert any("other.resources.extras" in line for line in report["changes"]), report["changes"]
    assert not any(line.startswith("guesty") for line in report["changes"]), report["changes"]
    await two.arrives()

    async def extras_too() -> bool:
        return set(await two.rows.live("beta", "extras")) == set(await two.rows.live("beta", "items"))

    await two.daemon.until(extras_too)
    assert await two.rows.count("acme", "extras") == 0
    assert await used(two, "beta") > used_before, "a partner that was swapped keeps its slots (R13)"
    assert two.guesty.connections == connections


async def test_tighter_limits_are_in_force_at_once_and_slots_in_use_count_against_them(two: Two):
    await two.arrives()
    before = await used(two, "acme")
    assert before > 0
    two.daemon.write_partner(
        "guesty",
        growing_partner(
            f"http://127.0.0.1:{two.guesty.port}/v1",
            "acme",
            ACME_KEY,
            limits={"tiers": ["1/s", "100000/h"], "share": 1.0},
        ),
    )
    report = await two.reload()
    assert report["ok"], report
    tiers = (await two.daemon.integration("acme"))["limits"]["tiers"]
    assert 1 in [tier["configured"] for tier in tiers]
    assert 1 not in [tier["stated"] for tier in tiers], "what the partner states stays known"
    assert await used(two, "acme") >= before
    await two.arrives()


async def test_a_new_address_or_database_is_said_to_need_a_restart_and_the_rest_applies(two: Two):
    await two.arrives()
    two.daemon.write_main(
        {"server": {"listen": "127.0.0.1:1", "admin": f"127.0.0.1:{two.daemon.admin_port}"}, "drain": "7s"}
    )
    report = await two.reload()
    assert report["ok"], report
    [line] = [line for line in report["changes"] if line.startswith("server.listen")]
    assert line.endswith("(in force after a restart)")
    [line] = [line for line in report["changes"] if line.startswith("drain")]
    assert "restart" not in line
    await two.arrives()


async def test_a_view_others_built_upon_stops_neither_a_reload_nor_a_start(two: Two):
    await two.arrives()
    await two.rows.connection.execute("CREATE VIEW public.theirs AS SELECT n FROM syncd.guesty_items")
    file = growing_partner(f"http://127.0.0.1:{two.guesty.port}/v1", "acme", ACME_KEY)
    items = file["rest"]["resources"]["items"]
    file["rest"] = {**file["rest"], "resources": {"items": {**items, "fields": {"m": "n"}}}}
    file["resources"] = {"items": file["resources"]["items"]}
    two.daemon.write_partner("guesty", file)
    assert (await two.reload())["ok"]
    await two.arrives()
    assert "views_not_refreshed" in two.daemon.log()
    assert await two.daemon.stop() == 0
    await two.daemon.start()
    await two.arrives()


async def used(two: Two, integration: str) -> float:
    """Slots in use of the hourly limit."""
    tiers = (await two.daemon.integration(integration))["limits"]["tiers"]
    return float(max(tier["used"] for tier in tiers if tier["stated"] == 100000))


async def test_a_partner_nobody_touched_keeps_its_connections_and_slots_over_many_reloads(two: Two):
    await two.arrives()
    connections, slots = set(two.other.connections), await used(two, "beta")
    for every in ("2s", "1s", "3s", "1s"):
        file = growing_partner(f"http://127.0.0.1:{two.guesty.port}/v1", "acme", ACME_KEY)
        file["resources"]["items"]["every"] = every
        two.daemon.write_partner("guesty", file)
        report = await two.reload()
        assert report["ok"], report
        assert report["applied"] == ["guesty"]
    await two.arrives()
    assert two.other.connections == connections
    assert await used(two, "beta") >= slots


async def test_a_changed_secret_file_is_used_from_sighup_on_after_one_cheap_call_proved_it(two: Two, tmp_path: Path):
    await two.arrives()
    new = "acme-key-rotated-333444"
    two.guesty.keys = {new}  # the partner has rotated it: the old one is dead
    (tmp_path / "acme.key").write_text(new + "\n")
    two.guesty.calls.clear()
    two.daemon.hup()

    async def in_use() -> bool:
        return two.guesty.shown["/v1/items", new] > 0

    await two.daemon.until(in_use)
    assert two.guesty.shown["/v1/me", new] == 1, "one cheap call"
    assert two.other.calls["/v1/me"] == 0, "nobody else's credential is tried"
    await two.arrives()
    reloaded = [line for line in two.daemon.log().splitlines() if "config_reloaded" in line][-1]
    assert "#" in reloaded, "the difference shows short hashes"
    assert new not in reloaded
    assert ACME_KEY not in reloaded
    assert await two.gauge() == 1


async def test_a_refused_new_credential_keeps_the_old_one_until_a_sound_one_is_there(two: Two, tmp_path: Path):
    await two.arrives()
    (tmp_path / "acme.key").write_text("mistyped-key-555\n")
    report = await two.reload()
    assert not report["ok"]
    assert "refused" in report["kept"]["guesty"][0]
    assert await two.gauge() == 0
    await two.arrives()
    assert two.guesty.shown["/v1/items", "mistyped-key-555"] == 0
    again = await two.reload()
    assert not again["ok"], "it is still not in force, so a second reload must not call it done"
    assert "refused" in again["kept"]["guesty"][0]
    await two.arrives()
    assert (await two.daemon.integration("acme"))["state"] == "healthy"
    code, out, err = await two.daemon.cli("reload", "--wait")
    assert code == 1
    assert "refused" in out + err
    two.guesty.keys.add("mistyped-key-555")  # the partner knows it now
    report = await two.reload()
    assert report["ok"], report
    assert report["applied"] == ["guesty"]
    assert await two.gauge() == 1
    await two.arrives()
    assert two.guesty.shown["/v1/items", "mistyped-key-555"] > 0


async def test_a_secret_rotated_while_its_partners_file_is_broken_is_used_once_the_file_is_mended(
    two: Two, tmp_path: Path
):
    await two.arrives()
    two.put(next(case for case in CASES if case.name == "40-yes-for-true"))
    (tmp_path / "acme.key").write_text("rotated-meanwhile-777\n")
    two.guesty.keys.add("rotated-meanwhile-777")
    assert not (await two.reload())["ok"]
    two.restore()
    report = await two.reload()
    assert report["ok"], report
    assert report["applied"] == ["guesty"]
    await two.arrives()
    assert two.guesty.shown["/v1/items", "rotated-meanwhile-777"] > 0


@pytest.mark.parametrize("trouble", ["missing", "readable by others"])
async def test_a_secret_file_that_cannot_be_used_keeps_the_old_one_and_says_which_command_helps(
    two: Two, tmp_path: Path, trouble: str
):
    await two.arrives()
    secret = tmp_path / "acme.key"
    if trouble == "missing":
        secret.unlink()
    else:
        secret.chmod(0o644)
    report = await two.reload()
    assert not report["ok"]
    assert ("install -m 600" if trouble == "missing" else "chmod 600") in report["kept"]["guesty"][0]
    assert await two.gauge() == 0
    await two.arrives()
    assert not (await two.reload())["ok"]


async def test_an_integration_switched_off_in_its_file_is_called_no_more_and_comes_back(two: Two):
    await two.arrives()
    off = growing_partner(f"http://127.0.0.1:{two.guesty.port}/v1", "acme", ACME_KEY)
    off["integrations"]["acme"]["enabled"] = False
    two.daemon.write_partner("guesty", off)
    assert (await two.reload())["ok"]
    calls = two.guesty.calls.total()
    await two.arrives("beta")
    await asyncio.sleep(1.5)
    assert two.guesty.calls.total() == calls
    acme = await two.daemon.integration("acme")
    assert acme["enabled"] is False
    assert "switched off" in acme["explanation"]["reason"]
    _, out, _ = await two.daemon.cli("status")
    assert "switched off" in out
    two.restore()
    assert (await two.reload())["ok"]
    await two.arrives()


async def test_the_environment_switches_an_integration_off_without_a_deploy(tmp_path: Path, database: str, rows: Rows):
    async for two in started(tmp_path, database, rows, {"SYNCD_INTEGRATION_ACME_ENABLED": "false"}):
        await two.arrives("beta")
        assert two.guesty.calls.total() == 0
        assert (await two.daemon.integration("acme"))["enabled"] is False
        assert await rows.count("acme", "items") == 0


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_check_refuses_it_with_78_and_the_right_line(case: Path):
    expected = Expected.of(case)
    result = CliRunner().invoke(cli, ["check", "--config", str(case)])
    assert result.exit_code == 78, result.output
    place = f"{expected.file}:{expected.line}:{expected.column}" if expected.line else expected.file
    assert place in result.output


@pytest.mark.parametrize(
    "name", ["02-unknown-section-key", "16-unclosed-brace", "29-misspelt-credential", "63-not-utf8"]
)
async def test_run_refuses_it_with_78_before_anything_is_opened(tmp_path: Path, name: str):
    case = next(case for case in CASES if case.name == name)
    expected = Expected.of(case)
    shutil.copytree(case, tmp_path / "config", dirs_exist_ok=True)
    daemon = Daemon(tmp_path, "postgresql://nobody@127.0.0.1:1/none", {})
    shutil.copytree(case, tmp_path / "config", dirs_exist_ok=True)
    code, out, err = await daemon.cli("run", "--config", str(tmp_path / "config"))
    assert code == 78, out + err
    assert f"{expected.file}:{expected.line}:{expected.column}" in err
    assert "daemon_started" not in err
    assert math.isnan(await metric_or_nan(daemon))


async def metric_or_nan(daemon: Daemon) -> float:
    """Nobody listens there."""
    try:
        return await daemon.metric(GAUGE)
    except OSError:
        return math.nan
