"""What `torch.cuda` answers while a pretend device is in use: streams, events, memory figures and properties."""

from __future__ import annotations

import contextlib
import threading
import time
import weakref
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any
from unittest import mock

import torch

from tests.pretend_tensor import seen_as_cpu

if TYPE_CHECKING:
    from tests.pretend_cuda import PretendCuda

NAME = "Pretend GPU"


class Stream:
    """A queue of work, which is done at once; it knows which copies of other streams it has waited for."""

    device_type = 1
    cuda_stream = 0

    _device: PretendCuda

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.device = torch.device("cuda:0")
        self.copies = 0
        self._seen: weakref.WeakKeyDictionary[Stream, int] = weakref.WeakKeyDictionary()

    def wait_stream(self, other: Stream) -> None:
        """Let later work here follow what is queued there; the host does not wait."""
        self._seen[other] = other.copies

    def wait_event(self, event: Event) -> None:
        """Let later work here follow the event."""
        if event.stream is not None:
            self._seen[event.stream] = event.copied

    def follows(self, other: Stream, copies: int) -> bool:
        """Whether work here may use what the first `copies` copies of another stream brought."""
        return other is self or self._seen.get(other, 0) >= copies

    def record_event(self, event: Event | None = None) -> Event:
        event = torch.cuda.Event() if event is None else event
        event.record(self)
        return event

    def synchronize(self) -> None:
        self._device.wait("stream")

    def query(self) -> bool:
        return True


class Event:
    """A point in a stream."""

    _device: PretendCuda

    def __init__(self, enable_timing: bool = False, **_: bool) -> None:
        self._timed = enable_timing
        self.stream: Stream | None = None
        self.copied = self._copies = 0
        self._at = 0.0

    def record(self, stream: Stream | None = None) -> None:
        self.stream = torch.cuda.current_stream() if stream is None else stream
        self.copied, self._copies = self.stream.copies, self._device.copies
        self._at = time.perf_counter()

    def wait(self, stream: Stream | None = None) -> None:
        (torch.cuda.current_stream() if stream is None else stream).wait_event(self)

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        """Wait for the copies to the host that were queued before this event."""
        self._device.wait("event", self._copies)

    def elapsed_time(self, end: Event) -> float:
        assert self._timed and end._timed, "both events need enable_timing=True"
        return 1000 * (end._at - self._at)


class Generator(torch.Generator):
    """Random numbers for a device, drawn on the CPU."""

    place: torch.device

    def __new__(cls, device: Any = "cpu") -> Generator:
        made = super().__new__(cls, "cpu")
        made.place = torch.device(device)
        return made

    @property
    def device(self) -> torch.device:
        """The device that the numbers are for."""
        return torch.device("cuda:0") if self.place.type == "cuda" else self.place


class Properties:
    """Some of what torch knows about a GPU."""

    name = NAME
    major, minor = 9, 0
    multi_processor_count = 1
    gcnArchName = ""  # noqa: N815

    def __init__(self, memory: int) -> None:
        self.total_memory = memory


@contextlib.contextmanager
def standing_in(device: PretendCuda) -> Iterator[None]:
    """Replace the functions of `torch.cuda` that ask the driver."""
    streams, events = (type(kind.__name__, (kind,), {"_device": device}) for kind in (Stream, Event))
    default = device.default_stream = device.default_stream or streams()
    current = [default]

    @contextlib.contextmanager
    def stream(chosen: Stream | None) -> Iterator[None]:
        current.append(current[-1] if chosen is None else chosen)
        try:
            yield
        finally:
            current.pop()

    def reset_peak(_: Any = None) -> None:
        device.peak = device.allocated

    def gru(*given: Any) -> Any:
        with seen_as_cpu():
            return recurrent(*given)

    def run(thread: threading.Thread) -> None:
        with device.in_thread():
            started(thread)

    started = threading.Thread.run

    def one_hot(tensor: torch.Tensor, num_classes: int = -1) -> torch.Tensor:
        with torch.no_grad():  # whole numbers have no gradients; else its parts are made on the device autograd sees
            return encoded(tensor, num_classes)

    @contextlib.contextmanager
    def flags(enabled: bool = False, *others: Any, **more: Any) -> Iterator[None]:
        before, device.uses_cudnn = device.uses_cudnn, enabled
        try:
            with flagged(False, *others, **more):
                yield
        finally:
            device.uses_cudnn = before

    flagged = torch.backends.cudnn.flags
    recurrent, encoded = torch._VF.gru, torch.nn.functional.one_hot
    answers: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: True,
        "_lazy_init": lambda: None,
        "_lazy_call": lambda call, **_: None,
        "device_count": lambda: 1,
        "current_device": lambda: 0,
        "set_device": lambda _: None,
        "get_device_name": lambda _=None: NAME,
        "get_device_capability": lambda _=None: (9, 0),
        "get_device_properties": lambda _=None: Properties(device.memory),
        "is_bf16_supported": lambda including_emulation=True: True,
        "mem_get_info": lambda _=None: (device.memory - device.allocated, device.memory),
        "memory_allocated": lambda _=None: device.allocated,
        "max_memory_allocated": lambda _=None: device.peak,
        "memory_reserved": lambda _=None: device.allocated,
        "max_memory_reserved": lambda _=None: device.peak,
        "reset_peak_memory_stats": reset_peak,
        "empty_cache": lambda: None,
        "set_per_process_memory_fraction": lambda share, _=None: setattr(device, "share", share),
        "synchronize": lambda _=None: device.wait("device"),
        "Stream": streams,
        "Event": events,
        "current_stream": lambda _=None: current[-1],
        "default_stream": lambda _=None: default,
        "stream": stream,
        "device": lambda _: contextlib.nullcontext(),
        "is_current_stream_capturing": lambda: False,
        "manual_seed": lambda _: None,
        "manual_seed_all": lambda _: None,
        "get_rng_state": lambda _=None: torch.zeros(0, dtype=torch.uint8),
        "get_rng_state_all": list,
        "set_rng_state": lambda *_: None,
        "set_rng_state_all": lambda _: None,
    }
    cudnn, overwrite = torch.backends.cudnn.enabled, torch.__future__.get_overwrite_module_params_on_conversion()
    with contextlib.ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, answer))
        stack.enter_context(mock.patch.object(threading.Thread, "run", run))
        stack.enter_context(mock.patch.object(torch, "Generator", Generator))
        stack.enter_context(mock.patch.object(torch._VF, "gru", gru))
        stack.enter_context(mock.patch.object(torch.nn.functional, "one_hot", one_hot))
        stack.enter_context(mock.patch.object(torch.backends.cudnn, "flags", flags))
        stack.callback(setattr, torch.backends.cudnn, "enabled", cudnn)
        torch.backends.cudnn.enabled = False  # it decides how recurrent networks keep their weights
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, overwrite)
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        yield
