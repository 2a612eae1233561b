"""Find mistakes in the arguments that the parser would report in a misleading way."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from features.errors import UserError

CLOSING = {"[": "]", "{": "}"}
MODEL_COMMANDS = ("predict", "export")


def check_arguments(arguments: Sequence[str]) -> None:
    """Check the arguments of the command line before they are parsed.

    Raises:
        UserError: The shell split the value of a `--set` at its blanks, or a config is in the place of a model.
    """
    for at, argument in enumerate(arguments):
        if argument == "--set" and at + 1 < len(arguments):
            _check_whole(arguments[at + 1], arguments[at + 2 :])
        elif argument.startswith("--set="):
            _check_whole(argument.removeprefix("--set="), arguments[at + 1 :])
    if len(arguments) == 2 and arguments[0] in MODEL_COMMANDS:  # an argument is missing, but which one is meant?
        from pipeline.config.mistaken_files import CONFIG_SUFFIXES

        path = Path(arguments[1])
        if path.suffix.lower() in CONFIG_SUFFIXES and path.is_file():
            from pipeline.predicting.locate import find_model

            find_model(path)


def _check_whole(written: str, following: Sequence[str]) -> None:
    """Raise if the brackets of a value are closed only by the arguments after it."""
    value = written.partition("=")[2].lstrip()
    if not value or value[0] not in CLOSING or not _is_open(value):
        return
    for count in range(1, len(following) + 1):
        whole = " ".join([written, *following[:count]])
        if following[count - 1].startswith("-"):
            return
        if not _is_open(whole.partition("=")[2]):
            raise UserError(
                f"--set {written}: the shell split the value at its blanks; quote it: --set {shlex.quote(whole)}"
            )


def _is_open(value: str) -> bool:
    return any(value.count(opening) > value.count(closing) for opening, closing in CLOSING.items())
