"""A device that fails in the middle of a run: one line, and the finished blocks are kept."""

import pytest
import torch

from features.errors import ConfigError
from features.system.device_errors import device_failure, is_device_failure
from pipeline.cli.exit_codes import explain
from tests.features.toys import NAMES, Toy, rows_of

LOST = "CUDA error: unspecified launch failure\nCUDA kernel errors might be asynchronously reported"


@pytest.mark.parametrize("kind", [torch.AcceleratorError, RuntimeError])
def test_the_message_is_one_line_with_what_to_do(kind):
    message, code = explain(kind(LOST))
    assert code == 1
    assert message == (
        "the device failed (CUDA error: unspecified launch failure); finished work is kept, "
        "run the same command again; if it fails again, use --device cpu"
    )


def test_it_is_found_behind_other_errors():
    try:
        try:
            raise torch.AcceleratorError(LOST)
        except RuntimeError as error:
            raise ValueError("the encoder fails") from error
    except ValueError as error:
        assert device_failure(error) == "CUDA error: unspecified launch failure"


@pytest.mark.parametrize(
    "error", [RuntimeError("mat1 and mat2 shapes cannot be multiplied"), ConfigError("CUDA error: x")]
)
def test_other_errors_are_not_failures_of_a_device(error):
    assert not is_device_failure(error)


def test_blocks_finished_before_it_are_not_computed_again(seven):
    class Failing(Toy):
        batches = 0

        def forward(self, waveforms, lengths):
            Failing.batches += 1
            if Failing.batches == 3:
                raise torch.AcceleratorError(LOST)
            return super().forward(waveforms, lengths)

    seven.backbone = Failing
    manifest = seven.manifest(*NAMES)
    with pytest.raises(RuntimeError, match="unspecified launch failure"):
        seven.run(manifest, block_rows=1)
    seven.backbone, before = Toy, Failing.batches
    summary = seven.run(manifest, block_rows=1)
    assert set(rows_of(summary.path)) == set(NAMES)
    assert before == 3
    assert summary.computed < len(NAMES), "the first blocks are kept"
