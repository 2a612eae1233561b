"""The HDF5 cache of embeddings: read, write, merge and verify its files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from features.store.table import EmbeddingTable, open_table
    from features.store.verify import verify_table

__all__ = ["EmbeddingTable", "open_table", "verify_table"]


def __getattr__(name: str) -> Any:
    """Import a public name on first use, which keeps importing a module of this package cheap."""
    if name in __all__:
        from features.store import table, verify

        return getattr(verify if name == "verify_table" else table, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
