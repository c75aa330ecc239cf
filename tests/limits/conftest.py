"""What the tests of limits share."""

from collections.abc import Iterator

import coverage
import pytest


@pytest.fixture(autouse=True)
def untraced(request: pytest.FixtureRequest) -> Iterator[None]:
    """Campaigns run without the tracer: it trebles their time, and what they pass through other tests measure."""
    tracer = coverage.Coverage.current() if "histories" in request.module.__name__ else None
    if tracer is None:
        yield
        return
    tracer.stop()
    yield
    tracer.start()
