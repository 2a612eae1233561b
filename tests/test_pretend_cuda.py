"""The pretend device keeps the rules of CUDA: what would fail or wait there fails or is counted here."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from features.inference.device_transfer import ToDevice, ToHost
from tests.conftest import pytest_runtest_setup
from tests.pretend_cuda import PretendCuda


@pytest.fixture
def device():
    with PretendCuda() as device:
        yield device


def on_device(*shape):
    return torch.ones(*shape).to("cuda")


def test_tensors_say_where_they_are_and_have_the_values_of_a_cpu(device):
    values = torch.randn(3, 4)
    moved = values.to("cuda")
    assert (moved.device, moved.is_cuda) == (torch.device("cuda:0"), True)
    assert torch.zeros(2, device="cuda").device == torch.tensor([1, 2], device="cuda:0").device == moved.device
    assert torch.equal((moved @ moved.T).cpu(), values @ values.T)
    assert moved.half().cpu().dtype == torch.float16
    with pytest.raises(TypeError, match=r"use Tensor\.cpu|Use Tensor\.cpu"):
        moved.numpy()
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        torch.zeros(2, device="cuda:1")


@pytest.mark.parametrize(
    "mix",
    [
        lambda there, here: there + here,
        lambda there, here: here @ there,
        lambda there, here: torch.cat([there, here]),
        lambda there, here: torch.nn.functional.linear(there, here),
        lambda there, here: there.masked_fill(here > 0, 0.0),
        lambda there, here: there.index_select(0, torch.tensor([0])),
    ],
)
def test_mixed_devices_are_refused(device, mix):
    with pytest.raises(RuntimeError, match="same device"):
        mix(on_device(3, 3), torch.ones(3, 3))


def test_a_number_and_an_index_may_be_on_the_cpu(device):
    there = on_device(3)
    assert (there * torch.tensor(2.0)).tolist() == [2, 2, 2]
    device.reset()
    there[[0, 2]]
    assert device.waits == {"copy to the device": 1} or device.waits == {"index from the host": 1}


@pytest.mark.parametrize(
    "wait",
    [
        lambda there: there.sum().item(),
        lambda there: float(there[0]),
        lambda there: bool((there > 0).all()),
        lambda there: there.tolist(),
        lambda there: there.cpu(),
        lambda there: there.to("cpu"),
        lambda there: there[there > 0],
        lambda there: there.nonzero(),
        lambda there: there.unique(),
        lambda there: torch.ones(2).to("cuda"),
        lambda there: torch.tensor([1.0], device="cuda"),
        lambda there: torch.empty(3).copy_(there),
        lambda there: there.copy_(torch.ones(3)),
        lambda there: torch.cuda.synchronize(),
        lambda there: torch.cuda.current_stream().synchronize(),
        lambda there: torch.cuda.current_stream().record_event().synchronize(),
    ],
)
@pytest.mark.parametrize("recording", [False, True])
def test_what_makes_the_host_wait_is_counted(device, wait, recording):
    there = on_device(3)
    device.reset()
    with torch.inference_mode(not recording):
        wait(there)
    assert sum(device.waits.values()) == 1


def test_what_does_not_wait_is_not_counted(device):
    there, pinned = on_device(3), torch.ones(3, pin_memory=True)
    device.reset()
    moved = pinned.to("cuda", non_blocking=True)
    (moved + there).softmax(0).cumsum(0).to("cpu", non_blocking=True)
    torch.arange(3, device="cuda").lt(torch.tensor([2]).to("cuda", non_blocking=True))
    assert not device.waits
    assert pinned.is_pinned() and pinned[1:].is_pinned() and not torch.ones(3).is_pinned()


def test_large_copies_from_ordinary_memory_are_counted(device):
    torch.ones(10_000).to("cuda", non_blocking=True)
    assert device.pageable == 0, "small ones are staged"
    torch.ones(20_000, pin_memory=True)[:19_000].to("cuda", non_blocking=True)
    assert device.pageable == 0
    torch.ones(20_000).to("cuda", non_blocking=True)
    assert device.pageable == 1


def test_an_asynchronous_copy_is_garbage_until_something_waits(device):
    other = on_device(2)
    sent = ToHost({"values": on_device(3)})
    late = other.to("cpu", non_blocking=True)
    assert sent._host["values"].isnan().all()
    assert sent.wait()["values"].tolist() == [1, 1, 1]
    assert late.isnan().all(), "it was queued after the event"
    torch.cuda.synchronize()
    assert late.tolist() == [1, 1]


def test_a_copy_on_another_stream_is_used_only_after_a_wait(device):
    batch = torch.ones(3, pin_memory=True)
    assert ToDevice(torch.device("cuda"))(batch).sum().item() == 3
    with torch.cuda.stream(torch.cuda.Stream()):
        moved = batch.to("cuda", non_blocking=True)
    with pytest.raises(RuntimeError, match="before its copy on another stream"):
        moved + 1


def test_memory_is_counted_and_runs_out(device):
    device.memory = 1000
    kept = on_device(100)
    assert (torch.cuda.memory_allocated(), torch.cuda.mem_get_info()) == (400, (600, 1000))
    view, small = kept[10:], kept + 1
    assert torch.cuda.memory_allocated() == 800, "a view has no memory of its own"
    with pytest.raises(torch.OutOfMemoryError, match="CUDA out of memory"):
        kept * 2
    del small
    assert (torch.cuda.memory_allocated(), torch.cuda.max_memory_allocated()) == (400, 800)
    torch.cuda.reset_peak_memory_stats()
    assert torch.cuda.max_memory_allocated() == 400
    del kept, view
    assert torch.cuda.memory_allocated() == 0


def test_float32_products_in_tf32_are_counted(device):
    network = torch.nn.Conv1d(1, 1, 3).to("cuda")
    network(on_device(1, 1, 5))
    assert device.shortcuts == {"convolution": 1}, "cuDNN uses TF32 unless told not to"
    on_device(3, 3) @ on_device(3, 3)
    assert device.shortcuts == {"convolution": 1}
    with torch.backends.cudnn.flags(enabled=False):
        network(on_device(1, 1, 5))
    assert device.shortcuts == {"convolution": 1}, "without cuDNN it is a product of matrices"
    network(on_device(1, 1, 5))
    assert device.shortcuts == {"convolution": 2}


@pytest.mark.parametrize(
    "network",
    [
        torch.nn.Linear(6, 6),
        torch.nn.Sequential(torch.nn.Conv1d(4, 4, 3, padding=1), torch.nn.BatchNorm1d(4), torch.nn.Dropout(0.0)),
        torch.nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True),
        torch.nn.GRU(6, 6, batch_first=True, bidirectional=True),
    ],
    ids=lambda network: type(network).__name__,
)
def test_networks_train_as_on_a_cpu(device, network):
    there = copy.deepcopy(network).to("cuda")
    inputs = torch.randn(2, 4, 6)
    gradients = []
    for one, given in ((network, inputs), (there, inputs.to("cuda"))):
        optimizer = torch.optim.AdamW(one.parameters(), lr=0.1)
        outputs = one(given)
        (outputs[0] if isinstance(outputs, tuple) else outputs).square().sum().backward()
        gradients.append([parameter.grad.cpu() for parameter in one.parameters()])
        optimizer.step()
    for found, expected in zip(*reversed(gradients), strict=True):
        torch.testing.assert_close(found, expected)
    for found, expected in zip(there.state_dict().values(), network.state_dict().values(), strict=True):
        assert found.is_cuda
        torch.testing.assert_close(found.cpu(), expected)
    with torch.inference_mode():
        there.eval()(inputs.to("cuda"))


def test_files_hold_plain_tensors(device, tmp_path):
    torch.save({"weight": on_device(3)}, tmp_path / "state.pt")
    assert type(torch.load(tmp_path / "state.pt", weights_only=True)["weight"]) is torch.Tensor


def test_nothing_is_left_behind():
    available = torch.cuda.is_available()
    with PretendCuda():
        assert torch.cuda.is_available()
        with PretendCuda() as inner:
            assert on_device(1).device.type == "cuda" and inner.ran == 0
    assert torch.cuda.is_available() == available
    assert not torch.__future__.get_overwrite_module_params_on_conversion()
    assert torch.backends.cudnn.enabled


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
@pytest.mark.parametrize(("required", "outcome"), [("0", pytest.skip.Exception), ("1", pytest.fail.Exception)])
def test_a_test_that_needs_a_gpu_is_skipped_unless_one_is_required(required, outcome, request, monkeypatch):
    monkeypatch.setenv("AUDIOHEADS_REQUIRE_CUDA", required)
    pytest_runtest_setup(request.node)
    request.node.add_marker("gpu")
    with pytest.raises(outcome, match="no CUDA device"):
        pytest_runtest_setup(request.node)


def test_threads_use_the_device_too(device):
    there = on_device(2)
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: (there + torch.ones(2).to("cuda")).cpu().tolist()).result() == [2, 2]
