"""The message about a publisher's package that is not installed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from features.errors import WeightsError


@contextmanager
def needs_package(name: str, extra: str) -> Iterator[None]:
    """Turn the failed import of a package into one line that says how to install it.

    Args:
        name: The backbone, for messages.
        extra: The optional dependencies that include the package.

    Raises:
        WeightsError: An import within the `with` block fails because a package is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        raise WeightsError(f"{name}: {error.name} is not installed; pip install 'audioheads[{extra}]'") from None
