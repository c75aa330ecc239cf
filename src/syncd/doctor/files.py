"""Secrets as they are kept, and files that a commit could take along. Reads modes and names; values only to compare them."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from syncd.doctor.facts import EnvFile, SecretFact
from syncd.errors import SyncdError
from syncd.redaction import redact
from syncd.secrets import Ref, Vault
from syncd.surroundings import user_of

GIT_SECONDS = 10.0
MOST_FILES = 1000
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


def work_tree(directory: Path) -> str:
    """The git work tree a directory lies in; empty: none. Found without git, which may be missing, or refuse another's."""
    place = directory.resolve()
    return next((str(each) for each in (place, *place.parents) if (each / ".git").exists()), "")


def git_silent(tree: str) -> str:
    """Why git says nothing of this work tree; empty: it does."""
    return "" if not tree else _asked(Path(tree), "rev-parse", "--show-toplevel").error


def loose_files(tree: str, directory: Path, more: Iterable[str]) -> list[EnvFile]:
    """Files named as environments and keys are: all of the work tree that a commit has or would take, those below the
    configuration, and `more` of them."""
    found: dict[str, None] = dict.fromkeys(_taken_along(tree) if tree else ())
    places = {directory.resolve(), *([Path(tree)] if tree else [])}
    for place in sorted(places):
        for pattern in _LOOSE:
            candidates = place.rglob(pattern) if place == directory.resolve() else place.glob(pattern)
            for path in candidates:
                if path.is_file() and not path.name.endswith(_EXAMPLES):
                    found[str(path)] = None
    for path_text in more:
        if Path(path_text).is_file():
            found[str(Path(path_text).resolve())] = None
    return _looked_at(list(found)[:MOST_FILES])


def _taken_along(tree: str) -> list[str]:
    """Of the whole work tree: what is committed, or is neither committed nor ignored."""
    wanted = [f":(glob)**/{pattern}" for pattern in _LOOSE if pattern != "environment"]
    listed = _asked(Path(tree), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *wanted)
    names = [name for name in listed.out.split("\0") if name and not name.endswith(_EXAMPLES)]
    return [str(Path(tree) / name) for name in names if (Path(tree) / name).is_file()]


def _looked_at(paths: Sequence[str]) -> list[EnvFile]:
    """What git says of each, asked once a work tree."""
    trees: dict[str, list[str]] = {}
    homes = {folder: work_tree(folder) for folder in {Path(path).parent for path in paths}}
    for path in paths:
        trees.setdefault(homes[Path(path).parent], []).append(path)
    told: dict[str, EnvFile] = {}
    for tree, mine in trees.items():
        if not tree:
            told |= {path: _file(path) for path in mine}
            continue
        silent = git_silent(tree)
        tracked = _named(tree, _asked(Path(tree), "--literal-pathspecs", "ls-files", "-z", "--", *mine))
        ignored = _named(tree, _asked(Path(tree), "check-ignore", "-z", "--stdin", said="\0".join(mine)))
        for path in mine:
            told[path] = replace(
                _file(path),
                work_tree=tree,
                unseen=silent,
                tracked=path in tracked,
                ignored=bool(silent) or path in ignored,
            )
    return [told[path] for path in paths]


def _named(tree: str, listed: _Said) -> set[str]:
    return {str(Path(tree) / name) for name in listed.out.split("\0") if name}


def _file(path: str) -> EnvFile:
    try:
        mode = Path(path).stat().st_mode & 0o777
    except OSError:
        mode = None
    names = frozenset(_NAME.findall(_text(Path(path)))) if _sets_variables(path) else frozenset()
    return EnvFile(path, names=names, mode=mode)


def _sets_variables(path: str) -> bool:
    name = Path(path).name
    return name.startswith(".env") or name.endswith(".env") or name == "environment"


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")[: 1024 * 1024]
    except OSError:
        return ""


def hook(tree: str) -> tuple[str, bool]:
    """Which hook looks for secrets before a commit (empty: none is seen), and whether it is installed in this clone."""
    if not tree:
        return "", False
    told = _asked(Path(tree), "rev-parse", "--git-path", "hooks/pre-commit")
    installed = Path(tree) / (told.out.strip() or ".git/hooks/pre-commit")
    for place in (installed, Path(tree) / ".pre-commit-config.yaml"):
        text = _text(place)
        known = next((name for name in _KNOWN_HOOKS if name in text), "")
        if known:
            shown = place.relative_to(tree) if place.is_relative_to(tree) else place
            return f"{known} in {shown}", installed.exists()
    return "", False


@dataclass(frozen=True, slots=True)
class _Said:
    out: str = ""
    error: str = ""


def _asked(directory: Path, *words: str, said: str = "") -> _Said:
    """What git says; or why it says nothing. That it finds nothing is no error."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(  # noqa: S603 - our own words, no shell
            ["git", "-C", str(directory), "-c", "core.fsmonitor=false", *words],  # noqa: S607 - by PATH, as its user has it
            env={**clean, "GIT_OPTIONAL_LOCKS": "0", "LC_ALL": "C"},
            input=said,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=GIT_SECONDS,
            check=False,
        )
    except FileNotFoundError:
        return _Said(error="git is not installed here")
    except (OSError, subprocess.TimeoutExpired) as failed:
        return _Said(error=f"git does not answer ({type(failed).__name__})")
    if done.returncode in (0, 1):
        return _Said(out=done.stdout)
    first = (done.stderr.strip().splitlines() or [f"exit {done.returncode}"])[0]
    return _Said(error="it is another user's, and git does not open it" if "dubious ownership" in first else first)
