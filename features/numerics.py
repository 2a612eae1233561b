"""Full float32 products and convolutions, whatever the process and its environment have allowed."""

from __future__ import annotations

import contextlib
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

_lock = threading.Lock()
_entered = 0
_restore: list[Callable[[], None]] = []


@contextlib.contextmanager
def full_float32() -> Iterator[None]:
    """Compute float32 products and convolutions in float32: no TF32 on a GPU and no bfloat16 on a CPU.

    Libraries, user code and the environment variable `TORCH_ALLOW_TF32_CUBLAS_OVERRIDE` can allow these shortcuts. The
    settings belong to the process, so threads share them: the first to enter changes them, the last to leave restores
    them. Products in another type, such as those under autocast, are not affected.
    """
    global _entered
    with _lock:
        if not _entered:
            with _quietly():
                _restore[:] = _pin()
        _entered += 1
    try:
        yield
    finally:
        with _lock:
            _entered -= 1
            if not _entered:
                with _quietly():
                    for restore in _restore:
                        restore()


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Hide the warning of some versions of torch that the older interface will disappear."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Please use the new API settings to control TF32")
        yield


def _pin() -> list[Callable[[], None]]:
    """Change the settings; return functions that restore them, to be called in this order.

    torch has two interfaces to the same settings. Both are set: readers of the older one raise an error if the two
    disagree, and because the older one only clears the setting for convolutions, which then follow the global one.
    """
    import torch

    restore: list[Callable[[], None]] = []
    cuda, cudnn, mkldnn = torch.backends.cuda, torch.backends.cudnn, torch.backends.mkldnn
    parts = [(cuda, cudnn, "matmul"), *((cudnn, cudnn, name) for name in ("conv", "rnn"))]
    parts += [(mkldnn, mkldnn, name) for name in ("matmul", "conv", "rnn")]
    newer = []
    for module, backend, name in parts:
        part = getattr(module, name, None)
        if part is not None and hasattr(part, "fp32_precision"):  # since torch 2.9
            own, inherited = part.fp32_precision, backend.fp32_precision
            newer.append((part, "none" if own == inherited else own))
    with suppress(RuntimeError):  # the two interfaces disagree already; the newer one has the values in effect
        restore.append(partial(torch.set_float32_matmul_precision, torch.get_float32_matmul_precision()))
    with suppress(RuntimeError):
        restore.append(partial(setattr, cudnn, "allow_tf32", cudnn.allow_tf32))
    restore += [partial(setattr, part, "fp32_precision", before) for part, before in newer]
    torch.set_float32_matmul_precision("highest")
    cudnn.allow_tf32 = False
    for part, _ in newer:
        part.fp32_precision = "ieee"
    return restore
