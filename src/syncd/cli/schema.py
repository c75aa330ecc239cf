"""`syncd schema`: JSON Schema of the YAML files, for editors and for check-jsonschema."""

from __future__ import annotations

import click

from syncd.cli.app import App, common
from syncd.cli.output import result

KINDS = ("syncd", "partner", "driver")


@click.command(short_help="Print the JSON Schema of a YAML file.")
@click.argument("kind", type=click.Choice(KINDS), default="partner")
@common()
def schema(app: App, kind: str) -> None:
    """Print the JSON Schema of a file: `syncd` (syncd.yaml), `partner` (partners/*.yaml) or `driver` (driver.yaml).

    In a file: # yaml-language-server: $schema=PATH
    """
    import json

    if kind == "driver":
        from syncd.kit import DriverSpec

        found = DriverSpec.model_json_schema(by_alias=True)
    else:
        from syncd.config.schema import json_schema

        found = json_schema("syncd" if kind == "syncd" else "partner")
    result(json.dumps(found, indent=2, ensure_ascii=False))
