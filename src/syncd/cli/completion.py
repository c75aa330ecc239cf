"""`syncd completion`: what a shell needs to complete verbs, options and the names of the configuration.

The shell asks `syncd` itself at each Tab. Names come from the partners' files, read as they are (no check, no driver is
imported: a broken file must not take its names away), causes from the running daemon if it answers at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib import resources
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem, get_completion_class

from syncd.cli.app import App, Parameter, Target, common
from syncd.cli.output import result

VARIABLE = "_SYNCD_COMPLETE"
"""Set by the shell's script while it asks."""
CAUSES_SECONDS = 0.5
"""Longest that a daemon may take to name its causes: nobody waits for a Tab."""

Offers = Callable[[click.Context, str], Iterable[tuple[str, str]]]
"""What may stand here, each with a word of help, by the line so far and the word begun."""

WHERE = {
    "bash": "~/.local/share/bash-completion/completions/syncd",
    "zsh": "a file _syncd in a folder of $fpath",
    "fish": "~/.config/fish/completions/syncd.fish",
}


@click.command(short_help="What a shell needs to complete the line.")
@click.argument("shell", type=click.Choice(tuple(WHERE)))
@common()
def completion(app: App, shell: str) -> None:
    """Print the script by which SHELL completes verbs, options, integrations, resources, partners, causes and runbooks.

    bash: syncd completion bash > ~/.local/share/bash-completion/completions/syncd. zsh: into a file _syncd in a folder of
    $fpath. fish: into ~/.config/fish/completions/syncd.fish. The Debian package has put them in their places.
    """
    from syncd.cli.root import cli

    made = get_completion_class(shell)
    assert made is not None
    result(made(cli, {}, "syncd", VARIABLE).source().strip())


class Offered(Parameter):
    """A parameter's own type, which can also say what may stand there."""

    def __init__(self, of: click.ParamType[Any, Any], offers: Offers) -> None:
        self.name = of.name
        self._of, self._offers = of, offers

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self._of.convert(value, param, ctx)

    def shell_complete(self, ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
        found = sorted((name, help) for name, help in self._offers(ctx, incomplete) if name.startswith(incomplete))
        return [CompletionItem(name, help=help) for name, help in found]


def teach(command: click.Command) -> None:
    """Let the parameters of a verb, and of the verbs below it, say what may stand there."""
    if isinstance(command, click.Group):
        for below in command.commands.values():
            teach(below)
    for param in command.params:
        offers = targets if isinstance(param.type, Target) else _BY_PLACE.get((str(command.name), str(param.name)))
        offers = offers or _BY_NAME.get(str(param.name))
        if offers is not None and not isinstance(param.type, Offered | click.Choice):
            param.type = Offered(param.type, offers)


def integrations(ctx: click.Context, begun: str) -> Iterator[tuple[str, str]]:
    for partner, file in _files(ctx):
        for name in _below(file, "integrations"):
            yield name, partner


def targets(ctx: click.Context, begun: str) -> Iterator[tuple[str, str]]:
    """Integrations; once one is named, or no other can be meant, its resources as well."""
    wanted, slash, _ = begun.partition("/")
    found = [(name, partner) for name, partner in integrations(ctx, wanted) if name.startswith(wanted)]
    for name, partner in found:
        yield name, partner
        if slash or len(found) == 1:
            file = dict(_files(ctx)).get(partner, {})
            own = {*_below(file, "resources"), *_below(_below(file, "integrations").get(name), "resources")}
            for resource in own | set(_below(_driver(file, partner), "resources")):
                yield f"{name}/{resource}", partner


def subjects(ctx: click.Context, begun: str) -> Iterator[tuple[str, str]]:
    """Integrations and partners."""
    yield from integrations(ctx, begun)
    for partner, _ in _files(ctx):
        yield partner, "partner"


def runbooks(ctx: click.Context, begun: str) -> Iterator[tuple[str, str]]:
    from syncd.runbooks import pages

    for name in pages():
        yield name, ""


def credentials(ctx: click.Context, begun: str) -> Iterator[tuple[str, str]]:
    """The secrets of the integration that is named before."""
    wanted = str(ctx.params.get("integration"))
    for partner, file in _files(ctx):
        of = _below(_below(file, "integrations").get(wanted), "credentials")
        yield from ((name, partner) for name in of)


def causes(ctx: click.Context, begun: str) -> Iterator[tuple[str, str]]:
    """Open causes of dead letters and rejects, while a daemon runs."""
    from syncd.cli.link import Link

    try:
        told = Link.of(_directory(ctx)).get("dlq", seconds=CAUSES_SECONDS)
    except click.ClickException:
        return
    for each in told.get("causes", ()):
        yield str(each.get("cause", "")), f"{each.get('integration', '')}: {each.get('message', '')}"[:60]


def simulated(ctx: click.Context, begun: str) -> Iterator[tuple[str, str]]:
    for folder in resources.files("syncd").joinpath("drivers").iterdir():
        if folder.is_dir() and folder.joinpath("simulator.py").is_file():
            yield folder.name, ""


_BY_NAME: Mapping[str, Offers] = {"integration": integrations, "cause": causes}
_BY_PLACE: Mapping[tuple[str, str], Offers] = {
    ("status", "name"): subjects,
    ("runbook", "name"): runbooks,
    ("show", "target"): causes,
    ("set", "name"): credentials,
    ("rotate", "name"): credentials,
    ("sim", "driver"): simulated,
    ("send", "cause"): lambda ctx, begun: (),  # of `push send`: words of one's own
}
"""By verb and parameter, where the parameter's name alone does not tell."""


def _directory(ctx: click.Context) -> Path:
    return App(config=ctx.params.get("config")).config_directory


def _files(ctx: click.Context) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """The partners' files that can be read at all, by partner."""
    import yaml

    directory = _directory(ctx)
    for path in sorted((directory if directory.is_dir() else directory.parent).glob("partners/*.yaml")):
        try:
            found = yaml.load(path.read_bytes(), Loader=yaml.CSafeLoader)
        except (OSError, ValueError, yaml.YAMLError):
            continue
        if isinstance(found, dict):
            yield path.stem, found


def _driver(file: Mapping[str, Any], partner: str) -> object:
    """What a driver of ours declares; one of another package would have to be imported, which takes too long here."""
    import yaml

    name = str(file.get("driver", partner))
    declared = resources.files("syncd").joinpath("drivers", name, "driver.yaml")
    if not name.isidentifier() or not declared.is_file():
        return file.get("spec")
    return yaml.load(declared.read_bytes(), Loader=yaml.CSafeLoader)


def _below(found: object, key: str) -> Mapping[str, Any]:
    """The mapping below a key, or an empty one: files under an editor are of any shape."""
    below = found.get(key) if isinstance(found, dict) else None
    return {str(name): one for name, one in below.items()} if isinstance(below, dict) else {}
