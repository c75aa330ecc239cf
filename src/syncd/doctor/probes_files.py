"""Probes of files that hold secrets: what a commit would take along, which hook would stop it, who else may read them."""

from __future__ import annotations

from collections.abc import Sequence

from syncd.doctor.facts import Facts, Subject
from syncd.doctor.model import Answer, beside, failed, later, manual, passed, warned

OPEN = 0o027
"""The group of the service may read what systemd reads for it, as the documents have it; nobody else, and none may write."""


def env_ignored(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """No .env, key or secret file that a commit would take along."""
    loose = [one for one in facts.env_files if one.work_tree and (one.tracked or not one.ignored)]
    if loose:
        one = loose[0]
        state = "is committed to" if one.tracked else "is not ignored by"
        do = (
            f"git rm --cached {one.path}; and rotate what it holds"
            if one.tracked
            else f"echo '{_pattern(one.path)}' >> {one.work_tree}/.gitignore"
        )
        return failed(f"{one.path} {state} the repository {one.work_tree}", do)
    unseen = next((one for one in facts.env_files if one.unseen), None)
    if facts.git_silent or unseen is not None:
        tree = facts.work_tree if facts.git_silent or unseen is None else unseen.work_tree
        why = facts.git_silent or (unseen.unseen if unseen is not None else "")
        return later(f"what a commit to {tree} would take along is not known: {why}", f"git -C {tree} status --ignored")
    inside = [one for one in facts.env_files if one.work_tree]
    if inside:
        return passed(f"{len(inside)} in a work tree, all ignored: {_name(inside[0].path)}")
    if facts.work_tree:
        return passed(f"{facts.work_tree} holds no .env, key or secret file")
    looked = f"{len(facts.env_files)} such files looked at, none" if facts.env_files else f"{facts.directory} is not"
    return passed(f"{looked} in a git work tree")


def variables_closed(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """A file that sets a variable in which a secret comes is as secret as it."""
    wanted = {one.text.strip("{}").removeprefix("env: ") for one in facts.secrets if one.kind == "env"}
    if not wanted:
        return beside("no secret comes from the environment")
    holders = [one for one in facts.env_files if wanted & one.names]
    for one in holders:
        if one.mode is not None and one.mode & OPEN:
            name = sorted(wanted & one.names)[0]
            return failed(
                f"{one.path} sets {name} and has mode {one.mode:04o}: others may read it", f"chmod 600 {one.path}"
            )
    if not holders:
        return manual(
            f"{', '.join(sorted(wanted)[:3])}: no file that can be seen from here sets it", "ls -l where it is set"
        )
    return passed(f"{', '.join(one.path for one in holders[:3])}: nobody else may read it")


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _pattern(path: str) -> str:
    name = _name(path)
    return "*.key" if name.endswith(".key") else ".env*" if name.startswith(".env") else name


def secret_hook(facts: Facts, subjects: Sequence[Subject]) -> Answer:
    """A hook that keeps secrets out of commits, where the configuration is in a repository."""
    if not facts.work_tree:
        return beside(f"{facts.directory} is in no git work tree")
    if facts.git_silent:
        return later(f"{facts.work_tree}: {facts.git_silent}", "run doctor as its owner")
    if facts.hook and not facts.hook_installed:
        return warned(f"{facts.hook}, and it is not installed in this clone", "pre-commit install")
    if facts.hook:
        return passed(facts.hook)
    return failed(
        f"{facts.work_tree} has no hook that looks for secrets",
        "add gitleaks to .pre-commit-config.yaml; pre-commit install",
    )
