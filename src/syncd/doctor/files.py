"""Secrets as they are kept, and files that a commit could take along. Reads modes and names; values only to compare them."""

from __future__ import annotations

import hashlib
import os
import pwd
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path

from syncd.doctor.facts import EnvFile, SecretFact
from syncd.errors import SyncdError
from syncd.redaction import redact
from syncd.secrets import Ref, Vault

GIT_SECONDS = 10.0
MOST_FILES = 50
_NAME = re.compile(r"^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=", re.MULTILINE)
_LOOSE = (".env", ".env.*", "*.env", "*.key", "environment")
_EXAMPLES = (".example", ".sample", ".template", ".dist")
_KNOWN_HOOKS = ("gitleaks", "detect-secrets", "trufflehog", "ggshield", "detect-private-key")


def secrets(references: Iterable[tuple[str, str, Ref]], vault: Vault, mark_key: bytes) -> list[SecretFact]:
    """Each of (place, integration, reference) as it is kept. `mark_key` makes marks of no use outside this run."""
    return [_secret(place, integration, ref, vault, mark_key) for place, integration, ref in references]


def _secret(place: str, integration: str, ref: Ref, vault: Vault, mark_key: bytes) -> SecretFact:
    kind = next((name for name in ("env", "file", "credential") if getattr(ref, name) is not None), "literal")
    path, mode, owner, error, hint, mark, leaks = "", None, "", "", "", "", False
    try:
        if kind == "file":
            path = str(vault.path(ref))
            status = Path(path).stat()
            mode, owner = status.st_mode & 0o777, user_of(status.st_uid)
    except (SyncdError, OSError):
        pass  # what is wrong is said by resolving it
    try:
        value = vault.resolve(ref).reveal()
        mark = hashlib.blake2b(value.encode("utf-8", "surrogatepass"), key=mark_key, digest_size=8).hexdigest()
        leaks = value in str(redact(f"Authorization failed for {value} at the partner"))
    except SyncdError as failed:
        error, hint = str(failed), failed.hint
    return SecretFact(
        place=place,
        integration=integration,
        kind=kind,
        text=ref.text,
        error=error,
        hint=hint,
        path=path,
        mode=mode,
        owner=owner,
        mark=mark,
        leaks=leaks,
    )


def user_of(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def work_tree(directory: Path) -> str:
    """The git work tree a directory lies in; empty: none, or no git here."""
    return _git(directory, "rev-parse", "--show-toplevel").strip()


def loose_files(tree: str, directory: Path, more: Iterable[str]) -> list[EnvFile]:
    """Files named as environments and keys are, in the work tree's root and below the configuration, and `more` of them."""
    places = {directory.resolve(), *([Path(tree).resolve()] if tree else [])}
    found: dict[str, None] = {}
    for place in sorted(places):
        for pattern in _LOOSE:
            candidates = place.rglob(pattern) if place == directory.resolve() else place.glob(pattern)
            for path in candidates:
                if path.is_file() and not path.name.endswith(_EXAMPLES):
                    found[str(path)] = None
    for path_text in more:
        if Path(path_text).is_file():
            found[str(Path(path_text).resolve())] = None
    return [_loose(path) for path in list(found)[:MOST_FILES]]


def _loose(path: str) -> EnvFile:
    folder = Path(path).parent
    tree = work_tree(folder)
    names = frozenset(_NAME.findall(_text(Path(path)))) if _sets_variables(path) else frozenset()
    if not tree:
        return EnvFile(path, names=names)
    tracked = bool(_git(folder, "ls-files", "--", path).strip())
    ignored = bool(_git(folder, "check-ignore", "--", path).strip())
    return EnvFile(path, tree, ignored, tracked, names)


def _sets_variables(path: str) -> bool:
    name = Path(path).name
    return name.startswith(".env") or name.endswith(".env") or name == "environment"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[: 1024 * 1024]
    except OSError:
        return ""


def hook(tree: str) -> str:
    """Which hook looks for secrets before a commit; empty: none is seen."""
    if not tree:
        return ""
    for place in (Path(tree) / ".pre-commit-config.yaml", Path(tree) / ".git" / "hooks" / "pre-commit"):
        text = _text(place)
        known = next((name for name in _KNOWN_HOOKS if name in text), "")
        if known:
            installed = (Path(tree) / ".git" / "hooks" / "pre-commit").exists()
            return f"{known} in {place.relative_to(tree)}{'' if installed else ' (run: pre-commit install)'}"
    return ""


def _git(directory: Path, *words: str) -> str:
    """What git says; empty where it says no, or is not there."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            ["git", "-C", str(directory), *words],  # noqa: S607 - by PATH, as its user has it
            env={**clean, "GIT_OPTIONAL_LOCKS": "0"},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
