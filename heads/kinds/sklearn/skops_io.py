"""Serialise fitted estimators with skops. Reading does not unpickle and builds only trusted types."""

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
    """A head's state with the types in it that may be built. The list is never saved to a file.

    Attributes:
        trusted: Names of types trusted in addition to the default ones; `all` for estimators fitted in this process.
    """

    def __init__(self, state: Mapping[str, np.ndarray], trusted: Trusted = ()) -> None:
        """Copy a state.

        Args:
            state: The arrays by name.
            trusted: See the attribute.
        """
        super().__init__(state)
        self.trusted: Trusted = trusted


def check_skops() -> None:
    """Check that skops is installed.

    Raises:
        ConfigError: skops is not installed.
    """
    try:
        import skops.io  # noqa: F401
    except ImportError as error:
        raise ConfigError(f"estimator: saving it needs skops ({error}); pip install skops") from error


def to_bytes(estimator: Any) -> bytes:
    """Serialise a fitted estimator to skops' zip format; equal estimators give equal bytes.

    Raises:
        TypeError: skops cannot save the estimator.
    """
    from skops.io import dumps

    # skops names parts by memory address, and the archive contains timestamps; both are replaced.
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
    """Read the estimator that `to_bytes` wrote.

    Trusted by default are the types that skops trusts (scikit-learn's estimators, numpy's and scipy's arrays
    and functions), and scikit-learn's classes written in Python. Its compiled classes, such as trees, read
    memory at positions given in the file, so a crafted file could crash the process. These and the types of
    other packages have to be listed in `trusted`.

    Args:
        data: From `to_bytes`.
        trusted: Additional types, by full name; `all`: all types in the file.

    Raises:
        WeightsError: A type is not trusted or cannot be imported, or the data are damaged.
    """
    from skops import io

    try:
        found = io.get_untrusted_types(data=data)
        unknown = [] if trusted == "all" else [name for name in found if name not in trusted and not _harmless(name)]
        if unknown:
            raise WeightsError(
                f"contains {', '.join(unknown)}, which a crafted file could misuse; if the file is your own, allow "
                f"{'them' if len(unknown) > 1 else 'it'}: load_head(path, trusted={unknown})"
            )
        return io.loads(data, trusted=found)
    except WeightsError:
        raise
    except ImportError as error:
        raise WeightsError(f"the estimator's package is not installed ({error})") from error
    except Exception as error:
        raise WeightsError(f"the estimator cannot be read ({type(error).__name__}: {error})") from error


def as_array(data: bytes) -> np.ndarray:
    """Return bytes as an array for safetensors, shape (n,) uint8."""
    return np.frombuffer(data, dtype=np.uint8)


def checked_state(state: Mapping[str, np.ndarray], trusted: Iterable[str]) -> EstimatorState:
    """Return the state of a file, after checking that its estimator can be built.

    Raises:
        WeightsError: As `from_bytes`.
    """
    allowed = tuple(trusted)
    from_bytes(state["estimator"].tobytes(), allowed)
    return EstimatorState(state, allowed)


def _harmless(name: str) -> bool:
    """Return whether a type is a scikit-learn class written in Python."""
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
