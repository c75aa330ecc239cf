"""What the tests of limits share."""

from collections.abc import Iterator

import coverage
import pytest

CAMPAIGNS = ("histories", "test_adaptive", "test_exact")


@pytest.fixture(autouse=True)
def untraced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Campaigns run without the tracer: it trebles their time, and what they pass through other tests measure."""
    campaign = any(name in request.module.__name__ for name in CAMPAIGNS)
    tracer = coverage.Coverage.current() if campaign else None
    if tracer is None:
        yield
        return
    tracer.stop()
    yield
    tracer.start()
