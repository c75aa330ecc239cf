"""Finds a driver by name: the folders beside this file, and what other packages register as `syncd.drivers`.

A driver is a package with a `driver.yaml`, a `driver.py` with one subclass of `Driver`, or both. A driver that cannot be
loaded is one error that names it, raised when that driver is asked for: it hurts no other.
"""

from __future__ import annotations

import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from syncd.config import PartnerConfig
from syncd.config.document import read
from syncd.config.facts import Facts, Finding
from syncd.errors import ConfigError, SyncdError
from syncd.kit import Driver, DriverSpec, RestDriver, Webhooks
from syncd.kit.reading import Trouble, parse, troubles

GROUP = "syncd.drivers"
_HERE = Path(__file__).parent


class DriverError(ConfigError):
    """A driver is unknown or cannot be loaded. `driver` is its name."""

    def __init__(self, driver: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.driver = driver


class DriverFaultError(SyncdError):
    """A driver's code failed where nothing of the kind may happen. What it was asked about is not to blame syncd for."""


@contextmanager
def asking(driver: str, question: str) -> Iterator[None]:
    """Whatever a driver raises inside that is no error of ours leaves as a DriverFaultError that says where; its text stays
    out of it, which may hold anything."""
    try:
        yield
    except SyncdError:
        raise
    except Exception as error:
        place = traceback.extract_tb(error.__traceback__)[-1]
        raise DriverFaultError(
            f"the driver {driver} failed when {question}: {type(error).__name__} in {place.name}, "
            f"line {place.lineno} of {place.filename}",
            hint="a fault of the driver: mend it, then restart syncd",
        ) from error


@dataclass(frozen=True, slots=True)
class Source:
    """Where a driver comes from, before anything of it is imported."""

    name: str
    module: str
    """The package, or the module, that holds it."""
    attribute: str = ""
    """The class in it, where the registration names one."""
    package: str = ""
    """The distribution that brought it; empty for our own."""

    def __str__(self) -> str:
        return f"{self.name} (from {self.package})" if self.package else self.name


def sources(registered: Iterable[EntryPoint] | None = None) -> dict[str, Source]:
    """Every driver that can be found, by name, sorted. Nothing is imported. Our own folders win over a registration."""
    found: dict[str, Source] = {}
    for entry in _registered(_installed()) if registered is None else registered:
        package = entry.dist.name if entry.dist is not None else ""
        found[entry.name] = Source(entry.name, entry.module, entry.attr or "", package)
    for folder in _HERE.iterdir():
        if (folder / "driver.yaml").is_file() or (folder / "driver.py").is_file():
            found[folder.name] = Source(folder.name, f"{__name__}.{folder.name}")
    return dict(sorted(found.items()))


@lru_cache(maxsize=1)
def _registered(installed: tuple[tuple[str, int], ...]) -> tuple[EntryPoint, ...]:
    """Of all packages: dozens of files are read for it, so once until one is installed or removed."""
    return tuple(entry_points(group=GROUP))


def _installed() -> tuple[tuple[str, int], ...]:
    """Where packages lie, and when one last came or went there."""
    found = []
    for place in sys.path:
        with suppress(OSError):
            found.append((place, Path(place).stat().st_mtime_ns))
    return tuple(found)


def names() -> list[str]:
    """The names of all drivers, sorted."""
    return list(sources())


def load(name: str, *, rest: Mapping[str, Any] | None = None, partner: str = "") -> Driver:
    """The driver of this name, made anew. `rest` is a whole description, for a driver that takes one.

    Raises DriverError naming the driver: unknown (with the nearest name), not importable, or badly described.
    """
    source = _source(name)
    kind, spec = _class_and_spec(source)
    try:
        if kind.needs_spec:
            if rest is None:
                raise DriverError(name, f"driver {name} needs the partner's description under `rest:`")
            return kind(parse({"name": partner or name, **rest}))
        if spec is None:
            raise DriverError(name, f"driver {source} has no driver.yaml")
        return kind(spec)
    except SyncdError as error:
        if isinstance(error, DriverError):
            raise
        raise DriverError(name, f"driver {source}: {error}", hint=error.hint) from None
    except Exception as error:
        raise DriverError(name, f"driver {source} cannot be made: {_said(error)}") from error


def of_integration(partner: PartnerConfig, name: str, usual: Driver) -> Driver:
    """The driver of one integration: its partner's, unless its file has webhook rules of its own. Raises DriverError."""
    hook = partner.integrations[name].webhook
    if hook is None or not hook.rules:
        return usual
    kind, spec = _class_and_spec(_source(partner.driver))
    if kind.needs_spec or spec is None:
        return load(partner.driver, rest=partner.rest_for(name), partner=partner.name)
    try:
        return kind(ruled(spec, hook.rules))
    except ValidationError as error:
        first = troubles(error, dict(hook.rules), Webhooks)[0]
        raise DriverError(partner.driver, f"webhook.rules of {name}: {first}", hint=first.help) from None


def ruled(spec: DriverSpec, rules: Mapping[str, Any]) -> DriverSpec:
    """A description with what an account's `webhook.rules` say in place of its own. Raises ValidationError."""
    stated = spec.webhooks.model_dump(by_alias=True, exclude_unset=True) if spec.webhooks is not None else {}
    return spec.model_copy(update={"webhooks": Webhooks.model_validate({**stated, **rules})})


def kind(name: str) -> type[Driver]:
    """The class of a driver. Raises DriverError."""
    return _class_and_spec(_source(name))[0]


def folder(name: str) -> Path:
    """The folder of a driver: its samples, its README, its simulator. Raises DriverError."""
    source = _source(name)
    found = find_spec(source.module)
    if found is None or found.origin is None:
        raise DriverError(name, f"driver {source} has no folder")
    return Path(found.origin).parent


def facts() -> dict[str, DriverFacts]:
    """What checking a configuration needs to know of every driver. Importing waits until a file names the driver."""
    return {name: DriverFacts(name) for name in names()}


@dataclass(frozen=True, slots=True)
class DriverFacts:
    """One driver, as far as configuration is concerned."""

    name: str

    def facts(self, options: Mapping[str, Any], rest: Mapping[str, Any] | None) -> Facts:
        """The facts under these options. Never raises: what is wrong is a finding."""
        try:
            kind, spec = _class_and_spec(_source(self.name))
            if kind.needs_spec:
                if rest is None:
                    return Facts()  # that it is missing is said where the file is checked
                given = {"name": "partner", **rest}
                try:
                    spec = DriverSpec.model_validate(given)
                except ValidationError as error:
                    return Facts(findings=tuple(_finding(trouble) for trouble in troubles(error, given)))
            driver = kind(spec) if spec is not None else None
        except SyncdError as error:
            return Facts(findings=(Finding(("driver",), str(error), error.hint),))
        except Exception as error:
            message = f"driver {self.name} cannot be made: {_said(error)}"
            return Facts(findings=(Finding(("driver",), message),))
        if driver is None:
            return Facts()
        try:
            return driver.facts(options)
        except Exception as error:  # of one file's options: the other partners' files are as sound as before
            # Its text may quote an option's value, and that may be a secret.
            message = f"driver {self.name} fails over these options: {type(error).__name__}"
            return Facts(base_url=driver.spec.base_url, findings=(Finding(("options",), message),))

    def rules(self, given: Mapping[str, Any]) -> Sequence[Finding]:
        """What is wrong with an account's `webhook.rules` over the driver's own. Never raises."""
        try:
            kind, spec = _class_and_spec(_source(self.name))
            if spec is not None and not kind.needs_spec:
                ruled(spec, given)
        except ValidationError as error:
            return tuple(
                Finding(trouble.path, trouble.message, trouble.help)
                for trouble in troubles(error, dict(given), Webhooks)
            )
        except SyncdError:  # said where the driver is named
            return ()
        return ()


def _finding(trouble: Trouble) -> Finding:
    return Finding(("rest", *trouble.path), trouble.message, trouble.help)


def _source(name: str) -> Source:
    known = sources()
    if name in known:
        return known[name]
    near = get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"there are: {', '.join(known)}"
    raise DriverError(name, f"there is no driver {name!r}", hint=hint)


@lru_cache(maxsize=256)
def _class_and_spec(source: Source) -> tuple[type[Driver], DriverSpec | None]:
    """Import a driver and read its description. Raises DriverError; a failure is tried anew the next time."""
    try:
        module = import_module(source.module)
        place = Path(inspect.getfile(module)).parent
        if source.attribute:
            kind = getattr(module, source.attribute)
        elif (place / "driver.py").is_file() and hasattr(module, "__path__"):
            kind = _only_driver(source, import_module(f"{source.module}.driver"))
        else:
            kind = RestDriver
    except DriverError:
        raise
    except Exception as error:
        raise DriverError(
            source.name, f"driver {source} cannot be imported: {_said(error)}", hint="other drivers are not affected"
        ) from error
    if not (inspect.isclass(kind) and issubclass(kind, Driver)):
        raise DriverError(source.name, f"driver {source}: {source.attribute} is no subclass of Driver")
    file = place / "driver.yaml"
    return kind, _read(source, file) if file.is_file() else None


def _only_driver(source: Source, module: Any) -> type[Driver]:
    own = [
        member
        for member in vars(module).values()
        if inspect.isclass(member) and issubclass(member, Driver) and member.__module__ == module.__name__
    ]
    # A module may build its driver in steps: the one nobody else here extends is meant.
    last = [kind for kind in own if not any(other is not kind and issubclass(other, kind) for other in own)]
    if len(last) != 1:
        raise DriverError(
            source.name, f"driver {source}: driver.py must define one subclass of Driver, not {len(last)}"
        )
    return last[0]


def _read(source: Source, file: Path) -> DriverSpec:
    document = read(file, f"{source.name}/driver.yaml")
    for problem in document.problems:
        raise DriverError(source.name, f"driver {source}: driver.yaml:{problem.line}: {problem.message}")
    data = document.data
    if not isinstance(data, dict):
        raise DriverError(source.name, f"driver {source}: driver.yaml is not a mapping")
    given = {"name": source.name, **data}
    try:
        return DriverSpec.model_validate(given)
    except ValidationError as error:
        first, *others = troubles(error, given)
        where = document.mark(first.path)
        more = f" (and {len(others)} more)" if others else ""
        raise DriverError(
            source.name,
            f"driver {source}: driver.yaml:{where.line}: {first}{more}",
            hint=first.help,
        ) from None


def _said(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
