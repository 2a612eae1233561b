"""Fitted estimators as bytes, by skops: read back without unpickling, and only what is trusted."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterable, Mapping
from io import BytesIO
from pathlib import PurePosixPath
from typing import Any, Literal
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

import numpy as np

from features.errors import ConfigError, WeightsError

Trusted = tuple[str, ...] | Literal["all"]
COMPILED = (".so", ".pyd")


class EstimatorState(dict[str, np.ndarray]):
    """A head's state that says which types in it may be built; the file it is saved to never does.

    Attributes:
        trusted: Their names, beside those trusted anyway; `all` for what this process itself fitted.
    """

    def __init__(self, state: Mapping[str, np.ndarray], trusted: Trusted = ()) -> None:
        """Take over a state."""
        super().__init__(state)
        self.trusted: Trusted = trusted


def check_skops() -> None:
    """Raise where skops is not installed.

    Raises:
        ConfigError: It is not.
    """
    try:
        import skops.io  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"estimator: it is saved with skops ({error}); pip install skops") from error


def to_bytes(estimator: Any) -> bytes:
    """A fitted estimator as skops' zip file; equal estimators give equal bytes.

    Raises:
        TypeError: skops cannot save it.
    """
    from skops.io import dumps

    # skops names parts by their address in memory, and the archive holds the time of day.
    with ZipFile(BytesIO(dumps(estimator))) as made:
        schema = json.loads(made.read("schema.json"))
        numbers: dict[Any, int] = {}
        files: dict[str, str] = {}
        names = set(made.namelist())

        def renamed(node: Any) -> Any:
            if isinstance(node, list):
                return [renamed(item) for item in node]
            if isinstance(node, dict):
                return {
                    key: numbers.setdefault(value, len(numbers)) if key == "__id__" else renamed(value)
                    for key, value in node.items()
                }
            if isinstance(node, str) and node in names:
                return files.setdefault(node, f"{len(files)}{PurePosixPath(node).suffix}")
            return node

        parts = {"schema.json": json.dumps(renamed(schema)).encode()}
        parts |= {new: made.read(old) for old, new in files.items()}
    buffer = BytesIO()
    with ZipFile(buffer, "w", ZIP_DEFLATED, compresslevel=1) as file:
        for name, content in parts.items():
            file.writestr(ZipInfo(name), content, compress_type=ZIP_DEFLATED)
    return buffer.getvalue()


def from_bytes(data: bytes, trusted: Trusted = ()) -> Any:
    """The estimator in `to_bytes`.

    Trusted without being named is what skops trusts (scikit-learn's estimators, numpy's and scipy's
    arrays and functions) and scikit-learn's classes that are written in Python. Its compiled ones,
    trees above all, read memory where the file tells them to, so a crafted file could crash the
    process; they and other packages' types have to be named.

    Args:
        data: Of `to_bytes`.
        trusted: More types, by full name; `all`: whatever there is.

    Raises:
        WeightsError: A type that is not trusted or cannot be imported; damaged data.
    """
    from skops import io

    try:
        found = io.get_untrusted_types(data=data)
        unknown = [] if trusted == "all" else [name for name in found if name not in trusted and not _harmless(name)]
        if unknown:
            raise WeightsError(
                f"holds {', '.join(unknown)}, which a crafted file could misuse; if the file is your own, name "
                f"{'them' if len(unknown) > 1 else 'it'}: load_head(path, trusted={unknown})"
            )
        return io.loads(data, trusted=found)
    except WeightsError:
        raise
    except ImportError as error:
        raise WeightsError(f"the estimator's package is not installed ({error})") from error
    except Exception as error:
        raise WeightsError(f"no estimator can be read from it ({type(error).__name__}: {error})") from error


def as_array(data: bytes) -> np.ndarray:
    """Bytes as safetensors hold them, shape (n,) uint8."""
    return np.frombuffer(data, dtype=np.uint8)


def checked_state(state: Mapping[str, np.ndarray], trusted: Iterable[str]) -> EstimatorState:
    """The state of a file, its estimator built once to see that it can be.

    Raises:
        WeightsError: As `from_bytes`.
    """
    allowed = tuple(trusted)
    from_bytes(state["estimator"].tobytes(), allowed)
    return EstimatorState(state, allowed)


def _harmless(name: str) -> bool:
    """Whether a type is a class of scikit-learn's that is written in Python."""
    module_name, _, class_name = name.rpartition(".")
    if module_name.partition(".")[0] != "sklearn":
        return False
    try:
        found = getattr(importlib.import_module(module_name), class_name, None)
    except ImportError:
        return False
    if not isinstance(found, type) or found.__module__ != module_name:
        return False
    return not str(getattr(sys.modules[module_name], "__file__", COMPILED[0])).endswith(COMPILED)
