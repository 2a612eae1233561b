"""The configuration of an experiment: reading, checking and overriding it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.config.config import Config, dump_config, load_config

__all__ = ["Config", "dump_config", "load_config"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used, so that importing a module of this package stays cheap."""
    if name in __all__:
        from pipeline.config import config

        return getattr(config, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
