"""Look for credentials in the files git knows. Exit 1 with file:line of each find, never with the find itself.

`python .ci/scan.py` reads every tracked and new file, `python .ci/scan.py FILE...` those files (pre-commit does that).
A line that must hold something of that shape (a documented example, a planted fake) ends with `not-a-secret`.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

# c3ludGhldGlj is "synthetic" in base64: made-up webhook secrets in the drivers' samples begin with it.
SHAPES = {
    "a private key": r"-----BEGIN (?:[A-Z]+ )?PRIVATE KEY-----\s*\S",
    "an AWS access key": r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b",
    "a GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_\w{60,})\b",
    "a Slack token": r"\bxox[abprs]-[0-9A-Za-z-]{20,}",
    "a live Stripe key": r"\b[sr]k_live_[0-9A-Za-z]{16,}",
    "a Stripe webhook secret": r"\bwhsec_(?!c3ludGhldGlj)[0-9A-Za-z]{24,}",
    "a Google key": r"\bAIza[0-9A-Za-z_-]{35}\b",
    "a Twilio key": r"\bSK[0-9a-f]{32}\b",
    "a package index token": r"\bpypi-[A-Za-z0-9_-]{40,}",
    "a JSON Web Token": r"\beyJ[A-Za-z0-9_-]{15,}\.eyJ[A-Za-z0-9_-]{15,}\.[A-Za-z0-9_-]{20,}",
    "a password in a URL": r"\b(?:postgres(?:ql)?|https?|amqps?|redis)://[^\s:/@{}<>'\"]+:(?!unused|password|secret|planted|hunter2|pw|\.|\$|\{|<)[^\s/@{}<>'\"]{6,}@(?!localhost|127\.|example)",
}
EXCUSE = "not-a-secret"
SHAPE = re.compile("|".join(f"(?P<s{number}>{shape})" for number, shape in enumerate(SHAPES.values())))


def finds(paths: Iterable[Path]) -> Iterator[str]:
    names = list(SHAPES)
    for path in paths:
        try:
            text = path.read_text("utf-8")
        except (UnicodeDecodeError, OSError):
            continue  # pictures, links into nowhere
        for match in SHAPE.finditer(text):
            number = text.count("\n", 0, match.start()) + 1
            if EXCUSE not in text.splitlines()[number - 1]:
                assert match.lastgroup is not None
                yield f"{path}:{number}: looks like {names[int(match.lastgroup[1:])]}"


def known_files() -> list[Path]:
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, check=True).stdout
    return [Path(name.decode()) for name in listed.split(b"\0") if name]


if __name__ == "__main__":
    found = list(finds(map(Path, sys.argv[1:]) if len(sys.argv) > 1 else known_files()))
    if found:
        print(*found, f"Take it out and revoke it; or, if it is none, end the line with {EXCUSE}.", sep="\n")
        sys.exit(1)
