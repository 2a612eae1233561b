"""Whether compiling a network is worth its time, and doing it so that a failure costs a line and nothing else."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable

import torch

from features.backbones.base import Backbone


def compile_network(backbone: Backbone, note: Callable[[str], None]) -> float:
    """Compile a backbone's network once and try it; where that fails it goes on as it was.

    Args:
        backbone: One that was compiled before is left alone.
        note: Told when it cannot be compiled.

    Returns:
        Seconds it took.
    """
    if backbone.compiled is not None:
        return 0.0
    started = time.perf_counter()
    spec = backbone.spec
    longest = max(spec.min_samples, min(spec.max_samples, spec.sample_rate))
    lengths = torch.tensor([longest, max(spec.min_samples, longest * 3 // 4)])
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # torch warns of compilers and devices that it does not need
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            backbone.compiled = backbone.compile()
            if backbone.compiled:
                backbone.embed_batch(torch.zeros(2, longest), lengths)
    except Exception as error:  # compilers and what they call raise anything
        backbone.compiled = False
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        note(f"cannot be compiled here ({reason}); going on without")
    finally:
        logging.disable(disabled)
    return time.perf_counter() - started
