"""Facts in file names: read label, group, fold and split from paths by a pattern."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator

from features.datasets.listing import AUDIO_SUFFIXES
from features.errors import ManifestError

FIELDS = ("label", "group", "fold", "split")
SHOWN = 5
_FIELD = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")
_SUFFIX = "(?:" + "|".join(re.escape(suffix) for suffix in AUDIO_SUFFIXES) + ")"


@dataclass(frozen=True)
class NamePattern:
    """A compiled pattern.

    Attributes:
        text: The pattern as written.
        regex: The expression that is searched in a path.
        fields: The fields that it reads, some of `FIELDS`.
    """

    text: str
    regex: re.Pattern[str]
    fields: tuple[str, ...]

    def read(self, path: str) -> dict[str, str] | None:
        """Return the fields of one path with forward slashes; None if the pattern does not match."""
        match = self.regex.search(path)
        if match is None:
            return None
        found = {name: match[name] for name in self.fields}
        return found if all(found.values()) else None

    def read_all(self, paths: Iterable[str]) -> tuple[list[dict[str, str] | None], list[str]]:
        """Return the fields of each path, and the paths that do not match."""
        paths = list(paths)
        found = [self.read(path) for path in paths]
        return found, [path for path, fields in zip(paths, found, strict=True) if fields is None]

    def mismatch(self, where: object, unmatched: list[str], total: int) -> str:
        """Say which files do not match."""
        shown = ", ".join(unmatched[:SHOWN])
        more = f" and {len(unmatched) - SHOWN} more" if len(unmatched) > SHOWN else ""
        return f"{where}: dataset.pattern {self.text!r} does not match {len(unmatched)} of {total} files: {shown}{more}"


def parse_pattern(text: str) -> NamePattern:
    r"""Compile a pattern such as `{group}_{label}_{}.wav`, or a regular expression with groups `(?P<label>…)`.

    `{label}`, `{group}`, `{fold}` and `{split}` read a field, `{}` matches anything. A field does not contain `/`
    and is as short as possible; the last one of a part takes what is left. `{label:2}` has two characters. The pattern
    covers the last parts of a path, as many as it has. Without an audio extension, it covers names of any audio
    extension.

    Raises:
        ManifestError: The pattern has no field, an unknown one, or one twice, or is not a regular expression.
    """
    if "(?P<" in text:
        try:
            regex = re.compile(text)
        except re.error as error:
            raise ManifestError(f"dataset.pattern {text!r} is not a regular expression: {error}") from None
        names = list(regex.groupindex)
    else:
        regex, names = _compiled(text)
    unknown = [name for name in names if name not in FIELDS]
    if unknown:
        raise ManifestError(
            f"dataset.pattern {text!r} has the field {unknown[0]!r}; use {', '.join(FIELDS)}, or {{}} for anything"
        )
    if not names:
        raise ManifestError(f"dataset.pattern {text!r} has no field; write some of {{{'}, {'.join(FIELDS)}}}")
    return NamePattern(text, regex, tuple(names))


def _compiled(text: str) -> tuple[re.Pattern[str], list[str]]:
    """Translate the short form to a regular expression; return it with the names of its fields."""
    parts, names, at = [], [], 0
    for match in _FIELD.finditer(text):
        parts.append(_literal(text, text[at : match.start()]))
        name, width = match[1].strip(), match[2]
        if width is not None and not re.fullmatch("[1-9][0-9]?", width):
            raise ManifestError(
                f"dataset.pattern {text!r}: {match[0]} should have a number of characters after the colon"
            )
        if name in names:
            raise ManifestError(f"dataset.pattern {text!r} has the field {name!r} twice")
        body = f"[^/]{{{width}}}" if width else "[^/]+?"
        parts.append(f"(?P<{name}>{body})" if name in FIELDS else f"(?:{body})")
        names.extend([name] if name else [])
        at = match.end()
    parts.append(_literal(text, text[at:]))
    ending = "" if text.lower().endswith(AUDIO_SUFFIXES) or (text.endswith("}") and text.endswith(".{}")) else _SUFFIX
    return re.compile(f"(?:^|/){''.join(parts)}{'(?i:' + ending + ')' if ending else ''}$"), names


def _literal(pattern: str, text: str) -> str:
    if "{" in text or "}" in text:
        raise ManifestError(f"dataset.pattern {pattern!r} has a brace that is not part of a field such as {{label}}")
    lowered = text.lower()
    suffix = next((one for one in AUDIO_SUFFIXES if lowered.endswith(one)), "")
    stem = text[: len(text) - len(suffix)]
    return re.escape(stem) + (f"(?i:{re.escape(suffix)})" if suffix else "")


def _checked(text: str) -> str:
    try:
        parse_pattern(text)
    except ManifestError as error:
        raise ValueError(str(error).removeprefix("dataset.pattern ")) from None
    return text


PatternText = Annotated[str, AfterValidator(_checked)]
"""A pattern as an option of a kind."""
