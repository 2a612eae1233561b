"""Compile a backbone's network; if that fails, the run continues without compilation."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable

import torch

from features.backbones.base import Backbone


def compile_network(backbone: Backbone, note: Callable[[str], None]) -> float:
    """Compile a backbone's network and run it once; if that fails, it stays uncompiled.

    Args:
        backbone: The backbone; nothing is done if it was compiled before.
        note: Called with the reason if it cannot be compiled.

    Returns:
        Seconds spent.
    """
    if backbone.compiled is not None:
        return 0.0
    started = time.perf_counter()
    spec = backbone.spec
    longest = max(spec.min_samples, min(spec.max_samples, spec.sample_rate))
    lengths = torch.tensor([longest, max(spec.min_samples, longest * 3 // 4)])
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # torch warns about compilers and devices that it does not need
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            backbone.compiled = backbone.compile()
            if backbone.compiled:
                backbone.embed_batch(torch.zeros(2, longest), lengths)
    except Exception as error:  # compilers can raise any exception
        backbone.compiled = False
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        note(f"cannot be compiled here ({reason}); continuing without compilation")
    finally:
        logging.disable(disabled)
    return time.perf_counter() - started
