"""A config file for the user to edit, with the JSON schema that editors read."""

from __future__ import annotations

from pathlib import Path

from pipeline.config.json_schema import SCHEMA_FILE, SCHEMA_LINE, schema_text
from pipeline.results.run_folder import write_text


def write_config(path: Path, text: str) -> None:
    """Write a config whose first line names the JSON schema, and the schema to the same folder.

    An existing schema is overwritten: it only depends on the version of the program.

    Args:
        path: The config; a missing folder is created.
        text: The YAML text without the line that names the schema.

    Raises:
        RunError: A file cannot be written.
    """
    write_text(path.parent / SCHEMA_FILE, schema_text())
    write_text(path, f"{SCHEMA_LINE}\n{text}")
