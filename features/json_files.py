"""Read JSON objects that may be damaged or written by somebody else: every error names the file and the key."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from features.errors import AudioheadsError, UserError, first_line

ADVICE = "the file is damaged or was not written by this program"


class JsonObject(dict[str, Any]):
    """An object of a JSON file. A missing key raises an error that names the file, also in the objects inside it."""

    where: str = ""
    advice: str = ADVICE
    error: type[AudioheadsError] = UserError

    def __missing__(self, key: str) -> Any:
        """Raise the error for a missing key."""
        raise self.error(f"{self.where}: has no key {key!r}; {self.advice}")


def parse_object(
    text: str | bytes,
    where: str,
    *,
    schema: Any = None,
    error: type[AudioheadsError] = UserError,
    advice: str = ADVICE,
) -> JsonObject:
    """Parse a JSON object.

    Args:
        text: The JSON.
        where: The file, for messages.
        schema: A pydantic model or a type that its values must fit; None for any.
        error: The exception to raise.
        advice: The end of each message.

    Raises:
        AudioheadsError: It is not valid JSON, not an object, or does not fit the schema; the message names the key.
            The returned object raises it, too, if a missing key is read.
    """

    def made(pairs: list[tuple[str, Any]]) -> JsonObject:
        found = JsonObject(pairs)
        found.where, found.advice, found.error = where, advice, error
        return found

    try:
        value = json.loads(text, object_pairs_hook=made)
    except (ValueError, RecursionError) as wrong:
        raise error(f"{where}: not valid JSON ({first_line(wrong)}); {advice}") from None
    if not isinstance(value, JsonObject):
        raise error(f"{where}: should contain a JSON object, contains a {type(value).__name__}; {advice}")
    if schema is not None:
        check_schema(value, where, schema, error, advice)
    return value


def check_schema(
    value: object, where: str, schema: Any, error: type[AudioheadsError] = UserError, advice: str = ADVICE
) -> None:
    """Check that a value fits a pydantic model or a type.

    Raises:
        AudioheadsError: It does not; the message names the key.
    """
    from pydantic import TypeAdapter, ValidationError

    try:
        TypeAdapter(schema).validate_python(value, strict=True)
    except ValidationError as wrong:
        first = wrong.errors(include_url=False, include_input=False)[0]
        key = ".".join(map(str, first["loc"])) or "the object"
        raise error(f"{where}: {key}: {first['msg'][:200]}; {advice}") from None


def read_object(path: Path, **how: Any) -> JsonObject:
    """Read a JSON file that contains an object; the arguments and errors are those of `parse_object`.

    Raises:
        OSError: The file cannot be read.
    """
    return parse_object(path.read_bytes(), str(path), **how)


def try_object(path: Path, schema: Any = None) -> JsonObject | None:
    """Read a JSON object that can be made again: None if the file is missing or does not fit."""
    try:
        return read_object(path, schema=schema)
    except (OSError, AudioheadsError):
        return None
