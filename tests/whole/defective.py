"""A driver for the tests alone that has defects while files of their names lie in the folder that `SYNCD_TEST_DEFECTS` names:
`ends` (it raises what ends the worker that runs it), `blocks` (it keeps the one thread for seconds)."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

from syncd.kit import Item, Resource, Response, RestDriver

BLOCKS_SECONDS = 4.0


class Defective(RestDriver):
    def items(self, resource: Resource, response: Response) -> list[Item]:
        if self._has("ends"):
            raise asyncio.CancelledError  # as a library does that thinks it is alone
        if self._has("blocks"):
            time.sleep(BLOCKS_SECONDS)
        return super().items(resource, response)

    @staticmethod
    def _has(defect: str) -> bool:
        return (Path(os.environ["SYNCD_TEST_DEFECTS"]) / defect).exists()
