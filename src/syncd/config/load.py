"""Reading the configuration: every file, every mistake at once, and a partial result for a reload.

A broken partner file never hides the others: `Loaded` says which are broken, and `keeping(old)` is the configuration a
running daemon goes on with.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from syncd.config.across import check_across
from syncd.config.checks import check_files, check_main, check_mode, check_partner
from syncd.config.document import Document, read
from syncd.config.facts import DriverFacts, Finding
from syncd.config.models import Config
from syncd.config.partner import PartnerConfig
from syncd.config.problems import ConfigProblems, Problem
from syncd.config.settings import NAME_HELP, NAME_PATTERN
from syncd.config.switches import Switches
from syncd.config.wording import note_all, type_name

MAIN_FILE = Path("syncd.yaml")
_NAME = re.compile(NAME_PATTERN)
M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a directory of configuration amounts to."""

    config: Config | None
    """The main file with every sound partner; None when the main file itself is broken."""
    problems: tuple[Problem, ...]
    broken_partners: frozenset[str]
    """Partners whose file exists and cannot be used."""

    @property
    def errors(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "error")

    @property
    def warnings(self) -> tuple[Problem, ...]:
        return tuple(problem for problem in self.problems if problem.severity == "warning")

    def require(self) -> Config:
        """The configuration, if nothing at all is wrong with it. Raises ConfigProblems (exit code 78) otherwise."""
        if self.errors or self.config is None:
            raise ConfigProblems(self.problems)
        return self.config

    def keeping(self, old: Config) -> Config:
        """What a daemon that runs `old` goes on with: broken partners keep their old settings, the rest is new.

        A broken main file changes nothing at all. A sound partner whose integration names clash with a kept one keeps
        its old settings too. While a file of an unknown name is broken, no partner is removed.
        """
        if self.config is None:
            return old
        kept = {name: old.partners[name] for name in self.broken_partners if name in old.partners}
        if self.broken_partners - kept.keys():
            # A broken file of a new name may be a known one renamed: nobody is taken away on that ground.
            kept |= {name: found for name, found in old.partners.items() if name not in self.config.partners}
        fresh = dict(self.config.partners)
        while True:
            taken = {key for partner in kept.values() for key in partner.integrations}
            clashing = [name for name, partner in fresh.items() if taken & set(partner.integrations)]
            if not clashing:
                break
            for name in clashing:
                del fresh[name]
                if name in old.partners:
                    kept[name] = old.partners[name]
        if self.config.mode != "development":
            kept = {name: _calm(found) for name, found in kept.items()}
        partners = dict(sorted({**fresh, **kept}.items()))
        return self.config.model_copy(update={"partners": partners})


def _calm(partner: PartnerConfig) -> PartnerConfig:
    """The partner without faults on purpose: what is kept of an earlier configuration obeys the mode of this one."""
    if all(found.chaos is None for found in partner.integrations.values()):
        return partner
    integrations = {
        name: found.model_copy(update={"chaos": None}) if found.chaos is not None else found
        for name, found in partner.integrations.items()
    }
    return partner.model_copy(update={"integrations": integrations})


def main_file(path: Path) -> Path:
    """The main file of a configuration that was named by its directory, or by that file."""
    return path / MAIN_FILE if os.path.isdir(path) else path  # noqa: PTH112 - false, not an error, for what is barred


def barred(path: Path) -> Problem | None:
    """Why this user cannot look into a configuration; None where it can, be there something or not.

    A folder that cannot be listed is no empty one: whoever took it for that would stop every integration.
    """
    file = main_file(path)
    looks: tuple[tuple[Path, Callable[[Path], object]], ...] = ((file, os.stat), (file.parent / "partners", os.listdir))
    for place, look in looks:
        try:
            look(place)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            help = f"as the service's user: sudo -u syncd syncd ...; who may: ls -ld {_shown(place.parent)} {_shown(place)}"
            return Problem("error", f"cannot be read by this user: {error.strerror}", _shown(place), help=help)
    return None


def load(
    path: Path,
    *,
    drivers: Mapping[str, DriverFacts] | None,
    env: Mapping[str, str],
    strict: bool = False,
    advise: Callable[[PartnerConfig], Iterable[Finding]] | None = None,
) -> Loaded:
    """Read `path` (a directory, or its syncd.yaml) and the files in `partners/` beside it. Their content never raises.

    `drivers` may be None where none are at hand: then nothing is checked against them. `env` holds the kill switches
    and the default for `state_directory`; references are not resolved here. `strict` makes literal secrets errors.
    `advise` tells of a sound partner what is legal and will not work; each finding becomes a warning.
    """
    if (problem := barred(path)) is not None:
        return Loaded(None, (problem,), frozenset())
    main_path = main_file(path)
    directory = main_path.parent
    if main_path.exists() or not (directory / "partners").is_dir():
        main = read(main_path, _shown(main_path))
    else:
        # Partners alone are a configuration too: the main file has a default for everything.
        main = Document(_shown(main_path))
    switches = Switches(env)
    if main.has(("partners",)):
        main.problem(
            ("partners",), "unknown key 'partners'", help="each partner has its file: partners/<name>.yaml", key=True
        )
    config = _validate(main, Config)
    if config is not None:
        check_main(main, config, strict=strict)
        config = _settle(config, directory, env)

    documents: dict[str, Document] = {}
    partners: dict[str, PartnerConfig] = {}
    others: list[Problem] = []
    for file in sorted((directory / "partners").glob("*")):
        if file.suffix == ".yaml" and not file.name.startswith("."):
            documents[file.stem] = document = read(file, _shown(file), file.stem)
            partner = _read_partner(document, file.stem, drivers, strict, switches)
            if partner is not None:
                check_files(document, partner, directory)
            if partner is not None and check_mode(document, partner, config):
                partners[file.stem] = partner
        elif file.suffix == ".yml":
            others.append(Problem("warning", "not read: partner files end in .yaml", _shown(file)))
    if not documents:
        others.append(_no_partner(directory / "partners"))
    broken = {name for name in documents if name not in partners or _has_errors(documents[name])}
    sound = {name: switches.apply(found) for name, found in partners.items() if name not in broken}
    broken |= check_across(documents, sound, drivers)
    sound = {name: found for name, found in sound.items() if name not in broken}
    if advise is not None:
        for name, found in sound.items():
            for finding in advise(found):
                documents[name].problem(finding.path, finding.message, help=finding.help, severity="warning")
    problems = [*main.problems, *(problem for document in documents.values() for problem in document.problems), *others]
    problems += switches.problems(known={*partners, *broken}, partners=partners.values())
    if config is not None and not _has_errors(main):
        whole: Config | None = config.model_copy(update={"partners": sound})
    else:
        whole = None
    return Loaded(whole, tuple(problems), frozenset(broken))


def _no_partner(folder: Path) -> Problem:
    """A configuration without a partner is sound, and what to do next is not to be guessed."""
    examples = sorted(file.name.partition(".")[0] for file in folder.glob("*.yaml.example"))
    if not examples:
        help = "each partner has its file there: docs/configuration.md shows a first one"
    else:
        first = "stripe" if "stripe" in examples else examples[0]
        copy = f"cp {_shown(folder)}/{first}.yaml.example {_shown(folder)}/{first}.yaml"
        help = f"copy an example and put its credentials in place: {copy} ({', '.join(examples)})"
    return Problem("warning", "no partner has a file: nothing will be synced", _shown(folder), help=help)


def _read_partner(
    document: Document, name: str, drivers: Mapping[str, DriverFacts] | None, strict: bool, switches: Switches
) -> PartnerConfig | None:
    if not _NAME.fullmatch(name):
        document.note(f"{name!r} cannot be a partner's name", None, f"rename the file: {NAME_HELP}")
    if document.root is None and document.problems:
        return None
    for path in [(), *(("integrations", key) for key in _keys(document.data, "integrations"))]:
        if document.has((*path, "name")):
            help = "an integration's name is the key above it" if path else "a partner's name is its file's name"
            document.problem((*path, "name"), "unknown key 'name'", help=help, key=True)
    partner = _validate(document, PartnerConfig)
    if partner is None:
        return None
    named = {key: found.model_copy(update={"name": key}) for key, found in partner.integrations.items()}
    partner = partner.model_copy(update={"name": name, "integrations": named})
    if drivers is not None and partner.driver in drivers:
        partner = partner.counted(drivers[partner.driver].facts(partner.options, partner.rest).counted_by)
    # What is asked is whether it will run; the switches are laid over it for good once all files are read.
    check_partner(document, switches.apply(partner), drivers, strict=strict)
    return partner


def _validate(document: Document, model: type[M]) -> M | None:
    """The document as a model; its mistakes are noted. What is sound of a file with mistakes comes back too, so that
    the checks after this one find the rest of them in the same run. None: nothing can be made of it."""
    data = document.data
    if data is None and document.problems:
        return None
    if data is not None and not isinstance(data, dict):
        document.problem((), f"expected a mapping, found {type_name(data)}", help="driver: ..., integrations: ...")
        return None
    data = data or {}
    try:
        return model.model_validate(data)
    except ValidationError as error:
        note_all(document, error, model)
        for found in error.errors(include_url=False, include_input=False, include_context=False):
            _cut_out(data, found["loc"])
    try:
        return model.model_validate(data)
    except ValidationError:
        return None


def _cut_out(data: Any, loc: tuple[str | int, ...]) -> None:
    """Take the place of a mistake out of the data, so that what is left can be checked."""
    if "credentials" in loc[:-1]:
        # Not taken out: a credential that is wrong is not also missing.
        end = loc.index("credentials") + 2
        loc, replacement = loc[:end], {"env": "MISTAKEN"}
    else:
        replacement = None
    loc = tuple(step for step in loc if step != "[key]")
    for step in loc[:-1]:
        try:
            data = data[step]
        except (KeyError, IndexError, TypeError):
            return
    if isinstance(data, dict) and loc and loc[-1] in data:
        if replacement:
            data[loc[-1]] = replacement
        else:
            del data[loc[-1]]


def _keys(data: Any, name: str) -> list[str]:
    """The keys of the mapping below a key, if it is one."""
    below = data.get(name) if isinstance(data, dict) else None
    return [key for key, value in below.items() if isinstance(value, dict)] if isinstance(below, dict) else []


def _settle(config: Config, directory: Path, env: Mapping[str, str]) -> Config:
    """Relative paths start from the main file; the state directory's default depends on who runs us."""
    secrets = config.secrets
    if secrets.directory is not None:
        secrets = secrets.model_copy(update={"directory": (directory / secrets.directory).absolute()})
    if "state_directory" in config.model_fields_set:
        state = (directory / config.state_directory).absolute()
    elif given := env.get("STATE_DIRECTORY"):
        state = Path(given.partition(":")[0])
    elif os.geteuid() == 0 or not env.get("HOME"):
        state = Path("/var/lib/syncd")
    else:
        state = Path(env.get("XDG_STATE_HOME") or f"{env['HOME']}/.local/state") / "syncd"
    return config.model_copy(update={"secrets": secrets, "state_directory": state})


def _has_errors(document: Document) -> bool:
    return any(problem.severity == "error" for problem in document.problems)


def _shown(path: Path) -> str:
    """Relative to where the person stands, if it lies below."""
    try:
        return str(path.absolute().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
