"""A bundle for syncd's own makers: files with a manifest that says what each is, what was taken out, and what is missing."""

from __future__ import annotations

import gzip
import io
import json
import os
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import orjson

from syncd.support.redacted import clean, document, without_secrets

BUNDLE_SCHEMA: Final = "syncd.bundle/1"
MOST_BYTES: Final = 16 * 1024 * 1024
"""Of one file in it; of a longer one the end is kept."""


@dataclass(frozen=True, slots=True)
class Part:
    """One file of the bundle."""

    name: str
    about: str
    """What it is."""
    without: str
    """What was taken out of it."""
    text: str = ""
    missing: str = ""
    """Why it is not there, where it is not."""


def as_json(value: Any) -> str:
    """A document of ours, cleaned and indented."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_UTC_Z
    whole = json.loads(orjson.dumps(value, default=str, option=options))
    return json.dumps(document(whole), indent=2, ensure_ascii=False) + "\n"


def finished(parts: Sequence[Part], renamed: Callable[[str], str] = str) -> dict[str, bytes]:
    """Names and contents, searched for secrets once more as a whole, and the manifest."""
    files: dict[str, bytes] = {}
    for part in parts:
        if not part.missing:
            files[renamed(part.name)] = renamed(without_secrets(part.text)).encode("utf-8", "replace")[-MOST_BYTES:]
    listed = [
        {
            "file": renamed(part.name),
            "about": part.about,
            "taken_out": part.without,
            "missing": renamed(clean(part.missing)) or None,
            "bytes": len(files.get(renamed(part.name), b"")),
        }
        for part in parts
    ]
    manifest = {"schema": BUNDLE_SCHEMA, "files": listed}
    return {"MANIFEST.json": (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode(), **files}


def write(path: Path, files: dict[str, bytes], at: datetime) -> int:
    """A .tar.gz that only its owner may read; its size in bytes. Raises OSError, FileExistsError for one that is there."""
    packed = io.BytesIO()
    with (
        gzip.GzipFile(fileobj=packed, mode="wb", mtime=int(at.timestamp())) as zipped,
        tarfile.open(fileobj=zipped, mode="w") as tar,
    ):
        for name, content in files.items():
            entry = tarfile.TarInfo(f"syncd-bundle/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(at.timestamp())
            tar.addfile(entry, io.BytesIO(content))
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as out:
            out.write(packed.getvalue())
    except OSError:
        path.unlink(missing_ok=True)  # half of one would only keep the next one from being written
        raise
    return len(packed.getvalue())
