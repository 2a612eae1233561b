"""Readers of labelled corpora: a table of kinds, each a module that is imported on first use.

A kind's module defines `Options`, the pydantic model of its `dataset:` section, and
`index(root, ...) -> Manifest`. If the corpus has to be fetched, the module also defines `SOURCE`, where to get it.
To add a corpus, write such a file and add one line to `KINDS`.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Mapping
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from features.errors import ConfigError, ManifestError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from features.datasets.options import DatasetOptions
    from features.manifest import Manifest

_log = logging.getLogger(__name__)

KINDS: dict[str, str] = {
    "folder": "features.datasets.folder",
    "csv": "features.datasets.tabular",
    "jsonl": "features.datasets.tabular",
    "parquet": "features.datasets.tabular",
    "esc50": "features.datasets.esc50",
    "urbansound8k": "features.datasets.urbansound8k",
    "gtzan": "features.datasets.gtzan",
    "fsdd": "features.datasets.fsdd",
    "speech_commands": "features.datasets.speech_commands",
    "ravdess": "features.datasets.ravdess",
    "voxceleb1": "features.datasets.voxceleb1",
    "synthetic": "features.datasets.synthetic",
    "audiofolder": "features.datasets.layouts.audiofolder",
    "huggingface": "features.datasets.layouts.huggingface",
    "kaldi": "features.datasets.layouts.kaldi",
    "webdataset": "features.datasets.layouts.webdataset",
    "audacity": "features.datasets.layouts.audacity",
    "raven": "features.datasets.layouts.raven",
}
TABULAR = ("csv", "jsonl", "parquet")


def load_manifest(options: Mapping[str, Any]) -> Manifest:
    """List the clips of one corpus.

    Args:
        options: The `dataset:` section: `kind`, `root`, optionally `name`, and the kind's own keys
            (see `options_class`), and what to keep of it (see `features.datasets.choosing`).

    Returns:
        The chosen clips, sorted by id.

    Raises:
        ConfigError: An unknown kind, or an option that the kind does not have or cannot take.
        ManifestError: The corpus is missing, has another layout, or its table is invalid.
    """
    from pydantic import ValidationError

    from features.datasets.choosing.choice import KEYS, Choice

    kind = options.get("kind")
    model = options_class(kind)
    try:
        parsed = model.model_validate(dict(options))
    except ValidationError as error:
        raise ConfigError(_first_problem(error, model)) from None
    choice = Choice.of(parsed.model_dump(include=set(KEYS)))
    fields = parsed.model_dump(exclude=set(KEYS))
    if kind not in TABULAR:
        del fields["kind"]
    elif choice.where:
        fields["where"] = choice.where
    root = fields.pop("root").expanduser()
    try:
        manifest = choice.apply(_module(kind).index(root, **fields))
    except OSError as error:
        raise ManifestError(f"{error.filename or root}: {error.strerror or error}") from error
    for sentence in manifest.choices:
        _log.info("%s: %s", manifest.name, sentence)
    return manifest


def check_root(options: DatasetOptions) -> None:
    """Check that a corpus exists at its configured root. No file is read, and pandas is not imported.

    Raises:
        ManifestError: The folder or file is missing; the message states where to get it.
    """
    root = options.root.expanduser()
    try:
        if options.kind in TABULAR:
            from features.datasets.tabular import existing_file

            existing_file(root)
        elif source := getattr(_module(options.kind), "SOURCE", None):  # a generated corpus has no source
            from features.datasets.listing import existing_folder

            getattr(_module(options.kind), "existing_root", existing_folder)(root, source)
    except OSError as error:
        raise ManifestError(f"{error.filename or root}: {error.strerror or error}") from error


def options_class(kind: object) -> type[BaseModel]:
    """Return the pydantic model of one kind's `dataset:` section.

    Raises:
        ConfigError: `kind` is not one of `KINDS`.
    """
    return _module(kind).Options


def _module(kind: object) -> ModuleType:
    if not isinstance(kind, str) or kind not in KINDS:
        close = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f", did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"dataset.kind: unknown kind {kind!r}{hint} (the kinds: {', '.join(KINDS)})")
    return import_module(KINDS[kind])


def _first_problem(error: Any, model: type[BaseModel]) -> str:
    """Describe pydantic's first error in one line."""
    problem = error.errors()[0]
    key = ".".join(["dataset", *map(str, problem["loc"])])
    if problem["type"] == "extra_forbidden":
        return f"{key}: unknown key; this kind takes {', '.join(model.model_fields)}"
    if problem["type"] == "missing":
        return f"{key}: missing"
    return f"{key}: {problem['msg']}, not {problem['input']!r}"
