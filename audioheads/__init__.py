"""Frozen audio backbones, cached embeddings and small heads, from Python.

    import audioheads as ah

    ah.compare("my-sounds/", backbones=["mfcc", "wav2vec2-nano"], heads=["linear"]).table
    ah.Embedder("wav2vec2-nano", cache="cache").transform(["a.wav", "b.flac"])
    ah.Predictor("runs/my-sounds/models/wav2vec2-nano/linear").predict("new.wav")

Names are imported when they are first used, so that importing this package takes a few milliseconds.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from audioheads.cache import Cache, open_cache
    from audioheads.comparison import Results, compare
    from audioheads.embedder import Embedder
    from audioheads.manifests import read_manifest
    from audioheads.predictor import Predictor
    from features.backbones import load as load_backbone
    from pipeline.config.config import load_config, make_config

__version__ = "0.1.0"
__all__ = [
    "Cache",
    "Embedder",
    "Predictor",
    "Results",
    "compare",
    "load_backbone",
    "load_config",
    "make_config",
    "open_cache",
    "read_manifest",
]

_FOUND_IN = {
    "Cache": ("audioheads.cache", "Cache"),
    "Embedder": ("audioheads.embedder", "Embedder"),
    "Predictor": ("audioheads.predictor", "Predictor"),
    "Results": ("audioheads.comparison", "Results"),
    "compare": ("audioheads.comparison", "compare"),
    "load_backbone": ("features.backbones", "load"),
    "load_config": ("pipeline.config.config", "load_config"),
    "make_config": ("pipeline.config.config", "make_config"),
    "open_cache": ("audioheads.cache", "open_cache"),
    "read_manifest": ("audioheads.manifests", "read_manifest"),
}


def __getattr__(name: str) -> Any:
    """Import a public name on first use."""
    if name not in _FOUND_IN:
        raise AttributeError(f"module 'audioheads' has no attribute {name!r}; it has {', '.join(__all__)}")
    from audioheads.shadowing import check_own_packages

    check_own_packages()
    module, attribute = _FOUND_IN[name]
    found = getattr(import_module(module), attribute)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    """List the public names."""
    return sorted([*__all__, "__version__"])
