"""Photos of a simulator that can be fetched: links to made-up hosts lead to itself, and it answers with a picture.

Only `syncd sim` does so: tests and the demo compare what is stored with the truth, whose links lead nowhere.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

from syncd.testing.base import Simulator

PATH: Final = "/_files/"
_LINK: Final = re.compile(rb"https://[a-z0-9]+\.example\.test/(?=[^\"\s]*\.jpg)")
_PICTURE: Final = bytes.fromhex(
    "ffd8ffe000104a46494600010100000100010000ffdb004300" + "10" * 64 + "ffc0000b080001000101011100"
    "ffc4001400010000000000000000000000000000000affc40014100100000000000000000000000000000000ffda0008010100003f00d2cf20ffd9"
)
"""A JPEG of one grey point."""


def serve_files(simulator: Simulator) -> None:
    """From now on; before it listens."""
    origin = b""

    def led_here(body: bytes) -> bytes:
        return _LINK.sub(origin + PATH.encode(), body) if origin else body

    @web.middleware
    async def answered(request: web.Request, handler: Handler) -> web.StreamResponse:
        nonlocal origin
        origin = f"http://{request.host}".encode()
        if request.path.startswith(PATH):
            return _picture(request)
        response = await handler(request)
        if not isinstance(response, web.Response) or response.prepared or "Content-Encoding" in response.headers:
            return response
        if isinstance(response.body, bytes):
            response.body = led_here(response.body)
        return response

    simulator.app.middlewares.append(answered)
    simulator.deliveries.rewrite = led_here


def _picture(request: web.Request) -> web.Response:
    """Every path has a picture of its own, which never changes. It is no call of the API: nothing counts it."""
    mark = hashlib.sha256(request.path.encode()).hexdigest()[:16]
    tag = f'"{mark}"'
    if request.headers.get("If-None-Match") == tag:
        return web.Response(status=304, headers={"ETag": tag})
    return web.Response(body=_PICTURE + mark.encode(), content_type="image/jpeg", headers={"ETag": tag})
