"""The JSON schema of a config, with which editors complete keys and mark mistakes."""

from __future__ import annotations

import json
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, models_json_schema
from pydantic_core.core_schema import IsInstanceSchema

from pipeline.config.experiment import Config
from pipeline.config.options_table import descriptions, option_classes, sections
from pipeline.config.schema import BackgroundSection

SCHEMA_FILE = "audioheads.schema.json"
SCHEMA_LINE = f"# yaml-language-server: $schema={SCHEMA_FILE}"  # read by editors that use that language server
DIALECT = "https://json-schema.org/draft/2020-12/schema"


class _Generator(GenerateJsonSchema):
    """Allows anything where a config holds options whose class depends on their name."""

    def is_instance_schema(self, schema: IsInstanceSchema) -> JsonSchemaValue:
        return {}


def config_schema() -> dict[str, Any]:
    """Return the JSON schema of a config file."""
    by_section = option_classes()
    classes = list(dict.fromkeys(one for named in by_section.values() for one in named.values()))
    own = [found for _, found in sections()]
    references, definitions = models_json_schema(
        [(one, "validation") for one in [*own, *classes]], schema_generator=_Generator, title="audioheads config"
    )
    reference_of = {one: found["$ref"] for (one, _), found in references.items()}
    bodies = {one: definitions["$defs"][reference.rpartition("/")[2]] for one, reference in reference_of.items()}
    for one in [*own, *classes]:
        for name, text in descriptions(one).items():
            if name in bodies[one]["properties"]:
                bodies[one]["properties"][name].setdefault("description", text)
    choices = {}
    for section, named in by_section.items():
        key = "kind" if section == "dataset" else "name"
        for one in dict.fromkeys(named.values()):
            bodies[one]["properties"][key] = {"enum": [name for name, other in named.items() if other is one]}
            bodies[one]["required"] = [key]  # presets give the others
        choices[section] = {"anyOf": [{"$ref": reference_of[one]} for one in dict.fromkeys(named.values())]}
    top = bodies[Config]
    top["properties"]["dataset"] |= choices["dataset"]
    top["properties"]["heads"]["items"] = choices["heads"]
    tracking = top["properties"]["tracking"]
    tracking["items"] = {"anyOf": [{"type": "string"}, tracking["items"]]}
    # Any classifier of torchvision and any backbone that can be trained, so only the common ones are described.
    top["properties"]["finetune"]["items"] = {"anyOf": [*choices["finetune"]["anyOf"], {"type": "object"}]}
    paths = [{"type": "string"}, {"type": "array", "items": {"type": "string"}, "minItems": 1}]
    top["properties"]["background"]["anyOf"] += paths
    bodies[BackgroundSection]["properties"]["root"] = {
        "anyOf": paths,
        "description": bodies[BackgroundSection]["properties"]["root"]["description"],
    }
    features = next(one for key, one in sections() if key == "features")
    bodies[features]["properties"]["backbones"]["items"] = choices["features.backbones"]
    bodies[features].pop("required", None)
    top["required"] = ["dataset"]
    return {"$schema": DIALECT, **top, "$defs": definitions["$defs"]}


def schema_text() -> str:
    """Return the schema as JSON text."""
    return json.dumps(config_schema(), indent=1, sort_keys=True) + "\n"
