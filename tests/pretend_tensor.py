"""A tensor on the pretend CUDA device of `tests.pretend_cuda`: Python sees `cuda:0`, the memory is that of the CPU.

Autograd sees the hidden device, as its engine asks the driver for streams of a CUDA device.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

if TYPE_CHECKING:
    from tests.pretend_cuda import PretendCuda

aten = torch.ops.aten
WAITS = {
    aten._local_scalar_dense.default: "item",
    aten.is_nonzero.default: "item",
    aten.equal.default: "equal",
    aten.nonzero.default: "nonzero",
    aten.masked_select.default: "nonzero",
    aten._unique2.default: "unique",
    aten.unique_consecutive.default: "unique",
    aten.unique_dim.default: "unique",
    aten.repeat_interleave.Tensor: "repeat_interleave",
    aten._linalg_check_errors.default: "linalg",
}
_local = threading.local()


class PretendTensor(Tensor):
    """A tensor on the pretend device; `hidden` is the same memory as a CPU tensor."""

    hidden: Tensor
    ready: tuple[Any, int] | None  # the stream that copies it here, and the stream's count of copies so far
    owner: ClassVar[PretendCuda | None] = None
    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]

    @classmethod
    def of(cls, hidden: Tensor) -> PretendTensor:
        """Return `hidden` as a tensor of the device."""
        keys = torch.device("cuda:0")
        tensor = Tensor._make_subclass(cls, hidden, False, dispatch_device=True, device_for_backend_keys=keys)
        tensor.hidden, tensor.ready = hidden, None
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert cls.owner is not None, "a tensor outlived its pretend device"
        given = kwargs or {}
        return func.decompose(*args, **given) if is_composed(func) else cls.owner.run(func, *args, **given)

    # What Python asks, whatever autograd sees.
    device = property(lambda self: torch.device("cuda:0"))  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_cpu = property(lambda self: False)  # type: ignore[assignment]

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        return self.detach().cpu().numpy()

    def __array__(self, *given: Any, **named: Any) -> Any:
        return self.numpy()

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def cpu(self, *given: Any, **named: Any) -> Tensor:
        return self.to("cpu")

    def record_stream(self, stream: Any) -> None:
        """Nothing reuses the memory early."""

    def cuda(self, *given: Any, **named: Any) -> Tensor:
        return self

    def to(self, *given: Any, **named: Any) -> Tensor:
        device, dtype, non_blocking, memory_format = torch._C._nn._parse_to(*_parsable(given), **_parsable(named))
        copy = named.get("copy", False)
        if device is None or device.type == "cuda":
            if not copy and memory_format is None and dtype in (None, self.dtype):
                return self
            return torch.ops.aten._to_copy.default(self, dtype=dtype, memory_format=memory_format)
        how = {"dtype": dtype, "device": device, "non_blocking": non_blocking, "memory_format": memory_format}
        return torch.ops.aten._to_copy.default(self, **how)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.detach().cpu().__reduce_ex__(protocol)  # files of checkpoints hold plain tensors

    def __repr__(self, **given: Any) -> str:
        return f"PretendTensor({tuple(self.shape)}, {self.dtype})"


def _parsable(given: Any) -> Any:
    """Return arguments of `Tensor.to` with other tensors replaced by what is taken from them."""
    if isinstance(given, dict):
        return {name: value for name, value in given.items() if name not in ("copy", "other")}
    if given and isinstance(given[0], Tensor):
        return (given[0].device, given[0].dtype, *given[1:])
    return given


@cache
def is_composed(func: Any) -> bool:
    """Whether an operation is made of others; in inference mode, nothing has taken it apart before it gets here."""
    composed = torch._C.DispatchKey.CompositeImplicitAutograd
    plain = func.namespace == "prim" or func in WAITS
    return not plain and torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), composed)


def seen_by_autograd() -> bool:
    """Whether C++ asks for the device to record an operation, to run backward, or for a kernel that we replace."""
    recording = torch.is_grad_enabled() and not torch.is_inference_mode_enabled()
    return recording or torch._C._current_graph_task_id() != -1 or getattr(_local, "as_cpu", False)


@contextlib.contextmanager
def seen_as_cpu() -> Iterator[None]:
    """Let torch choose the kernels of a CPU."""
    before = getattr(_local, "as_cpu", False)
    _local.as_cpu = True
    try:
        yield
    finally:
        _local.as_cpu = before
