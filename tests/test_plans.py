"""Which resources an integration syncs, once the files' settings lie over what its driver says."""

from __future__ import annotations

from typing import Any

import pytest

from syncd import drivers
from syncd.config import PartnerConfig
from syncd.errors import ConfigError
from syncd.plans import resource_plans


def planned(**resources: dict[str, Any]) -> set[str]:
    given = {"driver": "maintainx", "resources": resources, "integrations": {"acme": {"credentials": {}}}}
    return set(resource_plans(drivers.load("maintainx"), PartnerConfig.model_validate(given), "acme"))


def test_what_only_its_driver_has_on_goes_off_with_what_it_is_listed_below() -> None:
    assert planned() - planned(vendors={"enabled": False}) == {"vendors", "vendor_details"}


def test_what_a_file_asks_for_below_what_it_switches_off_is_a_mistake() -> None:
    with pytest.raises(ConfigError, match="vendor_details is listed below vendors, which is switched off"):
        planned(vendors={"enabled": False}, vendor_details={"enabled": True})
