"""Runs inside the environment of `make conformance`: one tool's own code, given every answer of the table.

    python conformance/strangers.py [--real] TOOL BASE_URL ROW...

For each row it makes one call of the tool, configured as its documentation begins, and prints a line of JSON: the sleeps
the tool asked for (they are recorded and skipped: sleeping is replaced before the tool is imported, and the clock goes on
as if it had slept; with --real nothing is replaced), and how the call ended. Knows nothing of what is expected.
"""

from __future__ import annotations

import asyncio
import importlib.metadata
import json
import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

from sleeping import SLEEPS, StuckError, new_row, patch

ROW_SECONDS = 30
"""Real time one call may take."""

Fetch = Callable[[str], Any]
TOOLS: dict[str, tuple[str, str, Callable[[], Fetch]]] = {}
"""Name -> distribution, how it is configured, what makes its call."""


def tool(name: str, distribution: str, how: str) -> Callable[[Callable[[], Fetch]], Callable[[], Fetch]]:
    def keep(make: Callable[[], Fetch]) -> Callable[[], Fetch]:
        TOOLS[name] = (distribution, how, make)
        return make

    return keep


# Sync engines.


@tool("dlt", "dlt", "RESTClient(base_url).get(path): its own session with retries, as it comes")
def _dlt() -> Fetch:
    from dlt.sources.helpers.rest_client import RESTClient

    def fetch(url: str) -> Any:
        base, _, path = url.rpartition("/")
        return RESTClient(base_url=base).get(path).raise_for_status()

    return fetch


def _airbyte_requester(strategies: list[dict[str, Any]]) -> Fetch:
    from airbyte_cdk.sources.declarative.models.declarative_component_schema import HttpRequester
    from airbyte_cdk.sources.declarative.parsers.model_to_component_factory import ModelToComponentFactory

    def fetch(url: str) -> Any:
        base, _, path = url.rpartition("/")
        described: dict[str, Any] = {
            "type": "HttpRequester",
            "url_base": base,
            "path": f"/{path}",
            "http_method": "GET",
        }
        if strategies:
            described["error_handler"] = {"type": "DefaultErrorHandler", "backoff_strategies": strategies}
        factory = ModelToComponentFactory()
        requester = factory.create_component(HttpRequester, described, {}, name="stream", decoder=None)
        return requester.send_request()

    return fetch


@tool("airbyte-cdk", "airbyte-cdk", "a declarative HttpRequester without an error handler of its own")
def _airbyte() -> Fetch:
    return _airbyte_requester([])


@tool(
    "airbyte-cdk, told",
    "airbyte-cdk",
    "the same with WaitTimeFromHeader of Retry-After, then ExponentialBackoffStrategy",
)
def _airbyte_told() -> Fetch:
    return _airbyte_requester(
        [{"type": "WaitTimeFromHeader", "header": "Retry-After"}, {"type": "ExponentialBackoffStrategy"}]
    )


@tool("singer-sdk", "singer-sdk", "a RESTStream of a tap, as generated")
def _singer() -> Fetch:
    import requests
    from singer_sdk import Tap
    from singer_sdk.streams import RESTStream

    class Things(RESTStream):  # type: ignore[type-arg]
        name = "things"
        path = "/"
        url_base = "http://127.0.0.1"
        schema = {"properties": {"id": {"type": "integer"}}}  # noqa: RUF012

    class Thing(Tap):
        name = "tap-thing"
        config_jsonschema = {"properties": {}}  # noqa: RUF012

        def discover_streams(self) -> list[Any]:
            return [Things(self)]

    stream = Thing(config={}).discover_streams()[0]

    def fetch(url: str) -> Any:
        prepared = requests.Request("GET", url).prepare()
        return stream.request_decorator(stream._request)(prepared, None)

    return fetch


# HTTP clients that try again.


@tool(
    "requests + urllib3",
    "urllib3",
    "requests with HTTPAdapter(max_retries=Retry(5, status_forcelist=[429, 503], backoff_factor=1))",
)
def _urllib3() -> Fetch:
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    session = requests.Session()
    session.mount("http://", HTTPAdapter(max_retries=Retry(5, status_forcelist=[429, 503], backoff_factor=1)))
    return lambda url: session.get(url, timeout=10).raise_for_status()


@tool("httpx-retries", "httpx-retries", "httpx.Client(transport=RetryTransport())")
def _httpx_retries() -> Fetch:
    import httpx
    from httpx_retries import RetryTransport

    client = httpx.Client(transport=RetryTransport())
    return lambda url: client.get(url).raise_for_status()


@tool("aiohttp-retry", "aiohttp-retry", "RetryClient(retry_options=ExponentialRetry(attempts=5, statuses={429, 503}))")
def _aiohttp_retry() -> Fetch:
    from aiohttp_retry import ExponentialRetry, RetryClient

    async def call(url: str) -> Any:
        options = ExponentialRetry(attempts=5, statuses={429, 503})
        async with RetryClient(retry_options=options) as client, client.get(url) as response:
            response.raise_for_status()
            return await response.read()

    return lambda url: asyncio.run(call(url))


@tool("stripe", "stripe", "StripeClient(key, max_network_retries=2).v1.customers.list()")
def _stripe() -> Fetch:
    import stripe

    def fetch(url: str) -> Any:
        client = stripe.StripeClient("sk_test_x", base_addresses={"api": url}, max_network_retries=2)
        return client.v1.customers.list()

    return fetch


# Things that repeat a function.


@tool(
    "tenacity",
    "tenacity",
    "@retry(wait=wait_exponential(), stop=stop_after_attempt(5)) on httpx.get and raise_for_status",
)
def _tenacity() -> Fetch:
    import httpx
    from tenacity import retry, stop_after_attempt, wait_exponential

    return retry(wait=wait_exponential(), stop=stop_after_attempt(5))(lambda url: httpx.get(url).raise_for_status())


@tool("stamina", "stamina", "@stamina.retry(on=httpx.HTTPError) on httpx.get and raise_for_status")
def _stamina() -> Fetch:
    import httpx
    import stamina

    @stamina.retry(on=httpx.HTTPError)
    def fetch(url: str) -> Any:
        return httpx.get(url).raise_for_status()

    return fetch


@tool(
    "backoff",
    "backoff",
    "@backoff.on_exception(backoff.expo, httpx.HTTPError, max_tries=5) on httpx.get and raise_for_status",
)
def _backoff() -> Fetch:
    import backoff
    import httpx

    @backoff.on_exception(backoff.expo, httpx.HTTPError, max_tries=5)
    def fetch(url: str) -> Any:
        return httpx.get(url).raise_for_status()

    return fetch


# Limiters and breakers: they are not made to try again, and a 429 tells them nothing.


@tool(
    "aiolimiter",
    "aiolimiter",
    "AsyncLimiter(10, 1) around two calls of httpx, the second whatever the first one answered",
)
def _aiolimiter() -> Fetch:
    import httpx
    from aiolimiter import AsyncLimiter

    async def call(url: str) -> Any:
        limiter = AsyncLimiter(10, 1)
        async with httpx.AsyncClient() as client:
            for _ in range(2):
                async with limiter:
                    response = await client.get(url)
        return response.raise_for_status()

    return lambda url: asyncio.run(call(url))


@tool(
    "pybreaker",
    "pybreaker",
    "CircuitBreaker() around httpx.get and raise_for_status; a second call after the first one's error",
)
def _pybreaker() -> Fetch:
    import httpx
    import pybreaker

    def fetch(url: str) -> Any:
        breaker = pybreaker.CircuitBreaker()
        try:
            return breaker.call(lambda: httpx.get(url).raise_for_status())
        except httpx.HTTPStatusError:
            return breaker.call(lambda: httpx.get(url).raise_for_status())

    return fetch


def main() -> None:
    """One tool, all rows; the first line tells its version."""
    real = sys.argv[1] == "--real"
    name, base_url, *rows = sys.argv[2 if real else 1 :]
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what tools print is not ours to parse
    logging.disable(logging.CRITICAL)
    if not real:
        patch()
    distribution, how, make = TOOLS[name]
    fetch = make()
    version = importlib.metadata.version(distribution)
    out.write(json.dumps({"tool": name, "distribution": distribution, "version": version, "how": how}) + "\n")

    def stuck(*_: Any) -> None:
        raise StuckError("took too long")

    signal.signal(signal.SIGALRM, stuck)
    key = name.replace(" ", "").replace(",", "-").replace("+", "-")
    for row in rows:
        new_row()
        error = None
        signal.alarm(ROW_SECONDS)
        try:
            fetch(f"{base_url}/{key}/{row}")
        except StuckError as trouble:
            error = f"StuckError: {trouble}"
        except BaseException as trouble:
            error = _named(trouble)
        finally:
            signal.alarm(0)
        out.write(json.dumps({"row": row, "path": f"/{key}/{row}", "sleeps": SLEEPS[:], "error": error}) + "\n")


def _named(error: BaseException) -> str:
    """The kind of error; of one that a tool only wraps, the innermost."""
    names = [type(error).__name__]
    while (inner := error.__cause__ or error.__context__) is not None and len(names) < 6:
        names.append(type(inner).__name__)
        error = inner
    return " < ".join(names)


if __name__ == "__main__":
    main()
