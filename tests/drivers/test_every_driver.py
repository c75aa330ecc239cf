"""Every driver that can be found plays its samples and keeps the promises all drivers make."""

import pytest

from syncd.testing.driver_suite import Check, every_check


@pytest.mark.parametrize("check", every_check(), ids=str)
def test_driver(check: Check) -> None:
    check()
