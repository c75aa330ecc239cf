"""`syncd dryrun` as a person runs it: beside the daemon and without one, writing samples and nothing else."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from syncd.testing.driver_suite import partner_checks
from tests.whole.conftest import only, partner
from tests.whole.daemon import Daemon, Rows
from tests.whole.test_drift import imported, written


async def test_rows_are_compared_samples_saved_and_played_and_nothing_is_written(
    tmp_path: Path, database: str, plain: Any, rows: Rows
) -> None:
    simulator, control = plain(things=300)
    described = partner(simulator.base_url, resources=only("things", every="1h"))
    daemon = Daemon(tmp_path, database, {"plain": described})

    # A fresh database and no daemon: the schema is made, since limits are kept in it; all is new.
    code, out, err = await daemon.cli("dryrun", "acme/things", "--limit", "4", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert (found["schema"], found["counts"], found["calls"]) == ("syncd.dryrun/1", {"added": 4}, 1)
    assert await rows.count("acme", "things") == 0

    async with daemon:
        await imported(daemon, rows)
        await rows.connection.execute(
            "UPDATE syncd.records SET content_hash = 'x', data = data || '{\"name\": \"other\"}' WHERE external_id = $1",
            found["records"][0]["id"],
        )
        before = await written(rows)
        code, out, err = await daemon.cli("dryrun", "acme/things", "--limit", "150", "--save")
        assert code == 0, err
        assert "149 unchanged" in out
        assert "1 would change" in out
        assert "name: text, 5 long -> text," in out
        assert "nothing was written" in out
        assert await written(rows) == before
        again = await daemon.cli("dryrun", "acme/things", "--save")
        assert again[0] == 2
        assert "is there already" in again[2]
    assert (await control.stats())["violations"] == 0

    saved = sorted(path.name for path in (daemon.config / "partners" / "plain" / "samples").iterdir())
    assert saved == ["things.live.json", "things.live.pages.json"]
    names = []
    for check in partner_checks(daemon.config, "plain"):
        check()
        names.append(str(check))
    assert {"plain-record-things-live", "plain-pages-things-live", "plain-record-things-live-distorted"} <= set(names)
