"""`syncd contract` as a person runs it: without a daemon, beside one, with drift in the status, and with a document."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.whole.conftest import PLAIN, only, partner
from tests.whole.daemon import Daemon, Rows
from tests.whole.test_drift import imported, written

DOCUMENT = {
    "openapi": "3.0.3",
    "servers": [{"url": "https://plain.example/v1"}],
    "paths": {
        "/things": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {
            "properties": {"items": {"items": {"properties": {"number": {"type": "string"}}}}}}}}}}}},
    },
}  # fmt: skip


async def test_what_a_partner_answers_is_compared_and_told(
    tmp_path: Path, database: str, plain: Any, rows: Rows
) -> None:
    simulator, control = plain(things=60)
    described = partner(simulator.base_url, resources=only("things", every="1h"))
    daemon = Daemon(tmp_path, database, {"plain": described})

    code, out, err = await daemon.cli("contract", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["schema"] == "syncd.contract/1"
    (one,) = found["integrations"]
    assert (one["integration"], one["ok"], one["resources"][0]["records"]) == ("acme", True, 20)

    samples = daemon.config / "partners" / "plain" / "samples"
    samples.mkdir(parents=True)
    raw = {"id": "t1", "updated_at": "2026-11-01T08:00:00Z", "name": "x", "number": "one", "colour": "red"}
    (samples / "things.plain.json").write_text(json.dumps({"raw": raw, "id": "t1", "data": {}}))
    (tmp_path / "plain.json").write_text(json.dumps(DOCUMENT))
    fields = {"name": "name", "number": {"from": "number", "as": "integer"}, "colour": "colour"}
    things = {**PLAIN["resources"]["things"], "fields": fields}
    changed = {**described, "rest": {**PLAIN, "resources": {**PLAIN["resources"], "things": things}}}
    daemon.write_partner("plain", changed)
    async with daemon:
        await imported(daemon, rows)
        before = await written(rows)
        code, out, err = await daemon.cli("contract", "acme", "--spec", str(tmp_path / "plain.json"))
        assert code == 1, err
        assert "! things: number: expected text, got number (retyped)" in out
        assert "? things: colour: in none of 20 records, and in every sample" in out, "it was never there: a remark"
        assert "items[].number: expected string, found a whole number (published)" in out
        assert (await daemon.integration("acme"))["explanation"] is None, "another document is nobody else's business"

        assert (await daemon.cli("contract", "acme"))[0] == 1
        told = await daemon.integration("acme")
        assert (told["state"], told["explanation"]["code"]) == ("degraded", "contract-drift")
        assert (await daemon.cli("runbook", "contract-drift"))[0] == 0
        assert await written(rows) == before

        daemon.write_partner("plain", {**described, "contract": {"spec": "nowhere.json"}})
        assert (await daemon.cli("reload", "--wait"))[0] == 0
        code, out, err = await daemon.cli("contract", "acme")
        assert code == 1, "mapping and samples are compared all the same"
        assert "? things: contract.spec:" in out and "nowhere.json" in out
        daemon.write_partner("plain", described)
        (samples / "things.plain.json").write_text(json.dumps({"raw": {**raw, "number": 1}, "id": "t1", "data": {}}))
        assert (await daemon.cli("reload", "--wait"))[0] == 0
        assert (await daemon.cli("contract", "acme/things"))[0] == 0
        assert (await daemon.cli("contract", "acme"))[0] == 0
        assert (await daemon.integration("acme"))["state"] == "healthy"
    assert (await control.stats())["violations"] == 0
    assert daemon.log().count("contract_drifted") == 1
    assert daemon.log().count("contract_healed") == 1
