"""Partners read from text as the loader reads them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from syncd import drivers
from syncd.config import Loaded, PartnerConfig, load
from syncd.planning import findings

SHOP = """\
driver: rest
base_url: https://api.shop.example
rest:
  auth: {kind: none}
  limits: {tiers: [600/min, 10/s], share: 1.0, concurrency: 3}
  page_size: 100
  resources:
    things:
      path: /things
      records: data
      updated: changed
      total: total
      pages: {kind: offset, param: offset, size: limit}
      since: {param: since, overlap: 5m}
      every: 15m
    notes: {path: "/things/{parent.id}/notes", parent: things, records: data}
    found:
      path: /search
      method: POST
      weight: 3
      records: data
      pages: {kind: cursor, param: after, next: next, in: body, size: limit}
    events: {path: /events, records: data, strategy: feed, updated: at, since: {param: since}, every: 5m}
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Loaded]:
    """`read(text)`: a configuration with that one partner, `shop`, checked with its forecast."""

    def loaded(text: str = "", *, base: str = SHOP, integrations: str = "integrations: {acme: {}}\n") -> Loaded:
        folder = tmp_path / "partners"
        folder.mkdir(exist_ok=True)
        (folder / "shop.yaml").write_text(base + text + (integrations if "integrations:" not in text else ""))
        return load(tmp_path, drivers=drivers.facts(), env={}, advise=findings)

    return loaded


@pytest.fixture
def shop(read: Callable[..., Loaded]) -> Callable[..., PartnerConfig]:
    """The same, sound, and only the partner."""

    def one(text: str = "") -> PartnerConfig:
        return read(text).require().partners["shop"]

    return one
