"""A CUDA device that exists in this process only: tensors say `cuda:0`, are computed on the CPU, and obey CUDA's rules.

    with PretendCuda() as device:
        backbone = load(options, "cuda")
        ...
        assert device.waits == {"event": 1}

- An operation on tensors of both devices is an error.
- What makes the host wait for the device is counted: `item`, copies that are not asynchronous, shapes that depend on
  values (`nonzero`, boolean indices), and synchronisation of events, streams and the device.
- An asynchronous copy to the host holds garbage until something has waited for it. What was copied on another stream
  cannot be used before the current stream waits for that stream.
- Large copies to the device from memory that is not pinned are counted, as are float32 products while TF32 is allowed.
- Memory is counted and limited; beyond the limit, operations raise `torch.OutOfMemoryError`. The first product takes a
  workspace and keeps it, as cuBLAS does.

The dispatch mode intercepts every operation, also in threads that are started meanwhile.
Tensors are in `tests.pretend_tensor`.
Attention runs torch's math kernel and recurrent networks run as on a CPU: other kernels ask the driver, too.
"""

from __future__ import annotations

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter, tree_map_only

from tests.pretend_tensor import WAITS, PretendTensor, is_composed, seen_as_cpu, seen_by_autograd

aten = torch.ops.aten
GIB = 2**30
WORKSPACE_BYTES = 2**23
PAGEABLE_BYTES = 2**16  # a driver stages smaller copies without waiting
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default}
PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "addbmm", "mv", "addmv", "dot", "convolution", "convolution_backward"}


class _Claim:
    """Memory of one storage; it is given back when the storage is freed."""

    def __init__(self, device: PretendCuda, size: int) -> None:
        self.device, self.size = device, size
        device.allocated += size
        device.peak = max(device.peak, device.allocated)

    def __del__(self) -> None:
        self.device.allocated -= self.size


class PretendCuda(TorchDispatchMode):
    """The device, while its `with` block runs.

    Attributes:
        memory: Bytes that its tensors may have together.
        share: The part of them that this process may use.
        allocated: Bytes that they have.
        peak: The most they had since `torch.cuda.reset_peak_memory_stats`.
        waits: Reason -> how often the host waited for the device.
        pageable: Number of large copies to the device from memory that is not pinned.
        shortcuts: Names of float32 products that were computed while TF32 was allowed.
        ran: Number of operations on the device.
        uses_cudnn: Whether convolutions use cuDNN, as they do outside of `torch.backends.cudnn.flags(enabled=False)`.
    """

    def __init__(self, memory: int = 16 * GIB) -> None:
        """Make a device with this much memory, in bytes."""
        super().__init__()
        self.memory, self.share = memory, 1.0
        self.allocated = self.peak = self.pageable = self.ran = 0
        self.uses_cudnn = True
        self.waits: Counter[str] = Counter()
        self.shortcuts: Counter[str] = Counter()
        self.default_stream: Any = None
        self._workspace: _Claim | None = None
        self._arriving: list[Callable[[], None]] = []
        self._arrived = 0
        self._lock = threading.RLock()
        self._entered: list[contextlib.ExitStack] = []

    def __enter__(self) -> PretendCuda:
        from tests.pretend_cuda_api import standing_in

        torch._C._ensureCUDADeviceGuardSet()  # torch asks its guard which device `cuda` without a number is
        with contextlib.ExitStack() as stack:
            stack.enter_context(standing_in(self))
            stack.enter_context(sdpa_kernel(SDPBackend.MATH))
            stack.callback(setattr, PretendTensor, "owner", PretendTensor.owner)
            PretendTensor.owner = self
            lifting = torch._C._only_lift_cpu_tensors()
            stack.callback(torch._C._set_only_lift_cpu_tensors, lifting)
            torch._C._set_only_lift_cpu_tensors(True)  # torch.tensor(…, device="cuda") makes a CPU tensor and copies it
            super().__enter__()
            stack.push(super().__exit__)
            self._entered.append(stack.pop_all())
        return self

    def __exit__(self, *error: Any) -> None:
        self._entered.pop().__exit__(*error)

    @contextlib.contextmanager
    def in_thread(self) -> Iterator[None]:
        """Use the device in a thread that another thread has started."""
        torch._C._set_only_lift_cpu_tensors(True)
        TorchDispatchMode.__enter__(self)
        try:
            yield
        finally:
            TorchDispatchMode.__exit__(self, None, None, None)

    def reset(self) -> None:
        """Forget what was counted, but not the memory."""
        self.waits.clear()
        self.shortcuts.clear()
        self.pageable = self.ran = 0

    def wait(self, why: str, copies: int | None = None) -> None:
        """Count that the host waits, and finish the first asynchronous copies to the host; None: all so far."""
        with self._lock:
            self.waits[why] += 1
            count = len(self._arriving) if copies is None else max(0, copies - self._arrived)
            done, self._arriving = self._arriving[:count], self._arriving[count:]
            self._arrived += len(done)
        for finish in done:
            finish()

    @property
    def copies(self) -> int:
        """Number of asynchronous copies to the host that were ever started."""
        return self._arrived + len(self._arriving)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if not is_composed(func):
            return self.run(func, *args, **(kwargs or {}))
        TorchDispatchMode.__enter__(self)  # it is off while it handles an operation
        try:
            return func.decompose(*args, **(kwargs or {}))
        finally:
            TorchDispatchMode.__exit__(self, None, None, None)

    def run(self, func: Any, *args: Any, **kwargs: Any) -> Any:
        """Run an operation on the hidden tensors."""
        if func is torch.ops.prim.device.default:
            return torch.device("cpu") if seen_by_autograd() else torch.device("cuda:0")
        if func in (aten.is_pinned.default, aten._pin_memory.default, aten.pin_memory.default):
            return self._pin(func, *args)
        there = [value for value in tree_iter((args, kwargs)) if isinstance(value, PretendTensor)]
        target = kwargs.get("device")
        target = None if target is None else torch.device(target)
        if target is not None and target.type == "cuda":
            if target.index not in (None, 0):
                raise RuntimeError("CUDA error: invalid device ordinal")
            kwargs = {**kwargs, "device": torch.device("cpu")}
            if not there and func is aten._to_copy.default:
                return self._to_device(args[0], func(*args, **kwargs), kwargs.get("non_blocking", False))
            return self._made(func, args, {**kwargs, "pin_memory": False} if "pin_memory" in kwargs else kwargs, there)
        if not there:
            return self._on_host(func, args, kwargs)
        self._check_ready(there)
        if func is aten._to_copy.default and target is not None:
            return self._to_host(args[0], kwargs)
        if func is aten.copy_.default and not all(isinstance(one, PretendTensor) for one in args[:2]):
            return self._copy(*args, **kwargs)
        if func is aten.record_stream.default:
            return None
        self._check_devices(func, args, kwargs)
        return self._made(func, args, kwargs, there)

    def _made(self, func: Any, args: Any, kwargs: dict[str, Any], there: list[PretendTensor]) -> Any:
        """Run an operation of the device; its results are on the device."""
        self.ran += 1
        if func in WAITS:
            self.wait(WAITS[func])
        elif func in INDEXING and any(one is not None and one.dtype in (torch.bool, torch.uint8) for one in args[1]):
            self.wait("boolean index")
        hidden = tree_map_only(PretendTensor, lambda tensor: tensor.hidden, (args, kwargs))
        self._count_product(func, hidden[0])
        with seen_as_cpu():
            result = func(*hidden[0], **hidden[1])
        if torch.Tag.inplace_view in func.tags:  # such as transpose_, which changes the shape of the tensor itself
            with torch._C._DisableTorchDispatch(), torch._C._AutoDispatchBelowAutograd():
                func(*args, **kwargs)
        known = {id(tensor.hidden): tensor for tensor in there}
        return tree_map_only(Tensor, lambda one: known[id(one)] if id(one) in known else self._claimed(one), result)

    def _claimed(self, hidden: Tensor) -> PretendTensor:
        """Return a result as a tensor of the device, if there is memory for it."""
        storage: Any = hidden.untyped_storage()
        if not hasattr(storage, "_claim"):
            storage._claim = self._claim(storage.nbytes())
        return PretendTensor.of(hidden)

    def _claim(self, size: int) -> _Claim:
        """Take memory, if there is enough."""
        if self.allocated + size > self.share * self.memory:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {size / 2**20:.2f} MiB")
        return _Claim(self, size)

    def _on_host(self, func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        """Run an operation of the CPU; pinned memory is ordinary memory with a mark."""
        pinned = kwargs.get("pin_memory")
        result = func(*args, **({**kwargs, "pin_memory": False} if pinned else kwargs))
        if pinned:
            result.untyped_storage()._is_pinned = True
        if isinstance(result, Tensor) and torch._C._current_graph_task_id() != -1:
            result.untyped_storage()._by_autograd = True  # type: ignore[attr-defined]
        return result

    def _pin(self, func: Any, tensor: Tensor, *_: Any) -> Any:
        storage: Any = tensor.untyped_storage()
        if func is aten.is_pinned.default:
            return getattr(storage, "_is_pinned", False)
        if getattr(storage, "_is_pinned", False):
            return tensor
        if isinstance(tensor, PretendTensor):
            raise RuntimeError("cannot pin 'cuda' only dense CPU tensors can be pinned")
        copy = tensor.clone()
        copy.untyped_storage()._is_pinned = True  # type: ignore[attr-defined]
        return copy

    def _to_device(self, source: Tensor, copied: Tensor, non_blocking: bool) -> PretendTensor:
        """Copy to the device on the current stream."""
        self._count_upload(source, non_blocking)
        moved = self._claimed(copied)
        if non_blocking:
            stream = torch.cuda.current_stream()
            stream.copies += 1
            moved.ready = (stream, stream.copies)
        return moved

    def _count_upload(self, source: Tensor, non_blocking: bool) -> None:
        if not non_blocking:
            self.wait("copy to the device")
        if source.nbytes > PAGEABLE_BYTES and not getattr(source.untyped_storage(), "_is_pinned", False):
            self.pageable += 1

    def _to_host(self, source: PretendTensor, kwargs: dict[str, Any]) -> Tensor:
        """Copy to the host; asynchronously into pinned memory."""
        plain = {name: value for name, value in kwargs.items() if name != "pin_memory"}
        result = aten._to_copy.default(source.hidden, **plain)
        if not kwargs.get("non_blocking"):
            self.wait("copy to the host")
            return result
        self._arrive_later(result, result.clone())
        result.untyped_storage()._is_pinned = True
        return result

    def _arrive_later(self, target: Tensor, values: Tensor) -> None:
        """Fill `target` with garbage until the copy is finished."""
        target.fill_(torch.nan if values.is_floating_point() else True if values.dtype == torch.bool else 123_456)
        self._arriving.append(lambda: target.copy_(values))

    def _copy(self, target: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
        """Copy between the devices into an existing tensor."""
        if isinstance(target, PretendTensor):
            self._count_upload(source, non_blocking)
            target.hidden.copy_(source)
        elif non_blocking and getattr(target.untyped_storage(), "_is_pinned", False):
            assert isinstance(source, PretendTensor)
            self._arrive_later(target, source.hidden.to(target.dtype).expand_as(target).clone())
        else:
            assert isinstance(source, PretendTensor)
            self.wait("copy to the host")
            target.copy_(source.hidden)
        return target

    def _check_ready(self, tensors: list[PretendTensor]) -> None:
        """Raise an error if a tensor is still being copied here on another stream."""
        current = torch.cuda.current_stream()
        for tensor in tensors:
            if tensor.ready is not None and not current.follows(*tensor.ready):
                raise RuntimeError("a tensor is used before its copy on another stream has finished")

    def _check_devices(self, func: Any, args: Any, kwargs: dict[str, Any]) -> None:
        """Raise an error if an operation mixes devices; numbers and indices on the CPU are allowed, as in CUDA."""
        for value in tree_iter((args, kwargs)):
            if not isinstance(value, Tensor) or isinstance(value, PretendTensor):
                continue
            if hasattr(value.untyped_storage(), "_by_autograd"):  # zeros, for what has no gradient
                continue
            if func in INDEXING and value is not args[0]:
                self.wait("index from the host")
            elif value.ndim:
                raise RuntimeError(
                    "Expected all tensors to be on the same device, but found at least two devices, cuda:0 and cpu! "
                    f"(when running {func})"
                )

    def _count_product(self, func: Any, args: Any) -> None:
        """Take the workspace of products, and count float32 products that a GPU would compute in TF32."""
        name = func._schema.name.removeprefix("aten::")
        if name not in PRODUCTS:
            return
        if self._workspace is None:
            self._workspace = self._claim(WORKSPACE_BYTES)
        if any(isinstance(one, Tensor) and one.dtype == torch.float32 for one in args):
            by_cudnn = name.startswith("conv") and self.uses_cudnn  # other convolutions are products of matrices
            part = torch.backends.cudnn.conv if by_cudnn else torch.backends.cuda.matmul
            if part.fp32_precision == "tf32":
                self.shortcuts[name] += 1
