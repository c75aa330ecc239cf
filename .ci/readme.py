"""Run the commands of README.md as a reader would: every line that begins with `$ ` in a ```console block, in order.

Left out are only those that are CI itself (`make test`) or fetch the project (`git clone`, `cd`). `make demo` shows
an import until it has converged and ends by itself when nobody watches. Each command has a bound on its time.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

SECONDS = 300
NOT_AGAIN = ("make test", "git clone ", "cd ")


def commands(text: str) -> list[str]:
    blocks = re.findall(r"^```console\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [
        line[2:].split("  #")[0].strip() for block in blocks for line in block.splitlines() if line.startswith("$ ")
    ]


def main() -> int:
    found = commands(Path("README.md").read_text("utf-8"))
    if not found:
        print("README.md shows no command: that cannot be right")
        return 1
    for command in found:
        if command.startswith(NOT_AGAIN):
            continue
        began = time.monotonic()
        print(f"$ {command}", flush=True)
        try:
            done = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, timeout=SECONDS, check=False)
        except subprocess.TimeoutExpired:
            print(f"still running after {SECONDS} s: {command}")
            return 1
        if done.returncode != 0:
            print(f"exit {done.returncode} after {time.monotonic() - began:.0f} s: {command}")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
