"""The simulator, the tests, and driver.py where a description is not enough."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from syncd.scaffold.choices import Choices
from syncd.scaffold.place import Place
from syncd.scaffold.yaml_text import hooks_of
from syncd.testing.stated import Paging, Rows


def class_name(name: str) -> str:
    """`acme_pms` is AcmePms."""
    return "".join(part.capitalize() for part in name.split("_"))


def simulator_py(choices: Choices, base_path: str, day: str) -> str:
    """What behaves as the partner's documentation says."""
    kind = class_name(choices.name)
    proof = _call("Proof", {"kind": choices.proof.kind}, choices.proof, ("header", "query", "prefix", "token_path"))
    needs = ["Paging", "Proof", "Rows", "StatedSimulator", "example"]
    hooks = ""
    if choices.webhooks != "none":
        needs.insert(4, "Webhooks")
        said = ", ".join(f"{key}={_quoted(value)}" for key, value in hooks_of(choices).items())
        hooks = f"    hooks = Webhooks({said})\n"
    if all(found.rows.paging.kind == "none" for found in choices.resources):
        needs.remove("Paging")
    rows = "\n".join(_rows(found.rows) for found in choices.resources)
    return f'''\
"""{choices.title} as its documentation says it behaves; begun on {day}, and as true as what is stated here.

Whoever finds an oddity says it here, with its source and date, and overrides the method of `testing/base.py` it takes.
"""

from __future__ import annotations

from typing import Any

from syncd.clock import Clock
from syncd.testing.base import Simulator
from syncd.testing.stated import {", ".join(needs)}


class {kind}Simulator(StatedSimulator):
    """Options: as of `StatedSimulator`."""

    name = "{choices.name}"
    base_path = {_quoted(base_path)}
    proof = {proof}
    rates = ("10/s",)  # an assumption
    seats = 8
{hooks}    rows = (
{rows}
    )


def create(*, clock: Clock | None = None, **options: Any) -> Simulator:
    """A simulated account. Raises TypeError for unknown options."""
    return {kind}Simulator(clock=clock, **options)
'''


def _rows(rows: Rows) -> str:
    lines = [f"            {_quoted(rows.name)},", f"            {_quoted(rows.path)},"]
    plain = Rows("", "")
    for each in fields(Rows):
        if each.name in {"name", "path", "like", "paging"}:
            continue
        value = getattr(rows, each.name)
        if value != getattr(plain, each.name):
            lines.append(f"            {each.name}={_quoted(value)},")
    if rows.paging.kind != "none":
        lines.append(f"            paging={_paging(rows.paging)},")
    lines.append(f"            like=example(__file__, {_quoted(rows.name)}),")
    return "\n".join(["        Rows(", *lines, "        ),"])


def _paging(paging: Paging) -> str:
    return _call(
        "Paging", {"kind": paging.kind}, paging, tuple(each.name for each in fields(Paging) if each.name != "kind")
    )


def _call(name: str, first: dict[str, Any], value: Any, keys: tuple[str, ...]) -> str:
    plain = type(value)(**first)
    said = [_quoted(one) for one in first.values()]
    said += [f"{key}={_quoted(getattr(value, key))}" for key in keys if getattr(value, key) != getattr(plain, key)]
    return f"{name}({', '.join(said)})"


def _quoted(value: Any) -> str:
    """As the formatter writes it."""
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def driver_py(choices: Choices) -> str:
    """Calls that are signed."""
    return f'''\
"""What the description of {choices.title} cannot say: how its calls are signed."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime

from syncd.kit import RestDriver, Signable, Signature


class {class_name(choices.name)}(RestDriver):
    """Signs time, method and path, until it is known what the partner wants signed."""

    def sign(self, request: Signable, secrets: Mapping[str, str], now: datetime) -> Signature:
        stamp = str(int(now.timestamp()))
        text = f"{{stamp}}{{request.method}}{{request.path}}"
        seal = hmac.new(secrets["secret"].encode(), text.encode(), hashlib.sha256).hexdigest()
        return Signature(headers={{"X-Timestamp": stamp, "X-Signature": seal}})
'''


def test_py(choices: Choices, place: Place) -> str:
    """The suite all drivers keep (in a package; a checkout has it for all), and a walk through the simulator."""
    name = choices.name
    suite = f'''

@pytest.mark.parametrize("check", checks("{name}"), ids=str)
def test_it_keeps_what_every_driver_promises(check: Check) -> None:
    check()
'''
    head = "import asyncio\n\nimport pytest\n" if place.package else "import asyncio\n"
    ours = "from syncd import drivers\n"
    if place.package:
        ours += "from syncd.testing.driver_suite import Check, checks\n"
        ours += f"from syncd.testing.walking import walked\n\nfrom {place.module}.simulator import create\n"
    else:
        ours += f"from {place.module}.simulator import create\nfrom syncd.testing.walking import walked\n"
    few = any(found.rows.parent for found in choices.resources) or len(choices.resources) > 3
    records = 5 if few else 60
    return f'''\
"""{choices.title}: what its driver brings from its simulator."""

from __future__ import annotations

{head}
{ours}{suite if place.package else ""}

def test_every_listing_is_brought_whole_within_the_limits() -> None:
    simulator = create(records={records})
    found = asyncio.run(walked(drivers.load("{name}"), simulator))
    assert found
    for resource, records in found.items():
        assert set(records) == set(simulator.truth(resource))
'''


def pyproject(choices: Choices, place: Place) -> str:
    """A package whose folder is registered as a driver."""
    return f'''\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "syncd-{choices.name.replace("_", "-")}"
version = "0.1.0"
description = "syncd speaks to {choices.title.replace('"', "'")}."
requires-python = ">=3.11"
dependencies = ["syncd"]

[project.optional-dependencies]
test = ["pytest"]

[project.entry-points."syncd.drivers"]
{choices.name} = "{place.module}"

[tool.hatch.build.targets.wheel]
packages = ["{place.module}"]
'''
