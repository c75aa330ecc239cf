"""A driver for the tests alone that kills its process over records named in the environment, and how it is registered.

`SYNCD_TEST_DEADLY` holds ids; `SYNCD_TEST_DEADLY_AT` is where the driver dies of one: `record` (reading the answer),
`classify` (judging it), `normalize` (reading a record of a listing), `frame` (reading a page of a resource of this name),
`events` (reading a delivery), `check` or `pushed` (before and after a push). In all else it is the plain partner's.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import yaml

from syncd.errors import PartnerError
from syncd.kit import Change, Delivery, Event, Item, Raw, Resource, Response, RestDriver

ROOT = Path(__file__).resolve().parents[2]


class Deadly(RestDriver):
    def classify(self, response: Response, now: datetime) -> PartnerError | None:
        self._reach("classify", response.text)
        return super().classify(response, now)

    def record(self, resource: Resource, response: Response) -> Raw:
        raw = super().record(resource, response)
        self._reach("record", raw["id"])
        return raw

    def fields(self, resource: Resource, raw: Raw, adapter: str = "") -> dict[str, Any]:
        self._reach("normalize", str(raw["id"]))
        return super().fields(resource, raw, adapter)

    def items(self, resource: Resource, response: Response) -> list[Item]:
        self._reach("frame", resource.name)
        return super().items(resource, response)

    def events(self, delivery: Delivery) -> list[Event]:
        self._reach("events", delivery.body.decode())
        return super().events(delivery)

    def check(self, resource: Resource, change: Change, stored: Mapping[str, Any] | None) -> None:
        self._reach("check", str(change.external_id))
        super().check(resource, change, stored)

    def pushed(self, resource: Resource, change: Change, response: Response) -> Item | None:
        self._reach("pushed", str(change.external_id))
        return super().pushed(resource, change, response)

    def _reach(self, where: str, text: str) -> None:
        if os.environ.get("SYNCD_TEST_DEADLY_AT", "record") != where or '"items"' in text:
            return
        if any(external_id in text for external_id in os.environ.get("SYNCD_TEST_DEADLY", "").split()):
            os.kill(os.getpid(), signal.SIGKILL)


def registered(folder: Path, description: Mapping[str, Any], *ids: str, at: str = "record") -> Mapping[str, str]:
    """The environment of a daemon that knows this driver as `deadly`."""
    env = packaged(folder, "deadly", "tests.whole.deadly:Deadly", description)
    return {**env, "SYNCD_TEST_DEADLY": " ".join(ids), "SYNCD_TEST_DEADLY_AT": at}


def packaged(folder: Path, name: str, kind: str, description: Mapping[str, Any]) -> dict[str, str]:
    """The environment of a daemon that knows a driver of the tests: a package of its own, found by its entry point."""
    module, _, attribute = kind.partition(":")
    info, package = folder / f"{name}-1.0.dist-info", folder / f"{name}_driver"
    for made in (info, package):
        made.mkdir(parents=True, exist_ok=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[syncd.drivers]\n{name} = {name}_driver:{attribute}\n")
    (package / "__init__.py").write_text(f"from {module} import {attribute}\n")
    (package / "driver.yaml").write_text(yaml.safe_dump(dict(description)))
    return {"PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT), str(folder)])}
