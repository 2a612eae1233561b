"""The torch modules of calibration maps compute what the maps do."""

import numpy as np
import pytest
import torch

from heads.evaluation.decisions.calibrators import METHODS, fit_calibrator
from pipeline.exporting.calibration_graph import CalibrationGraph
from tests.heads.evaluation.decisions.test_calibrators import TASKS, clips


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("off", [0.5, 4.0])
def test_a_graph_maps_like_the_map(method, task, off):
    probabilities, targets = clips(task, off, n=2000)
    probabilities[:4] = np.eye(4, dtype=np.float32)  # zeros and ones
    fitted = fit_calibrator(method, probabilities, targets, task)
    mapped = CalibrationGraph(fitted, task)(torch.from_numpy(probabilities)).numpy()
    assert mapped.dtype == np.float32
    assert np.abs(mapped - fitted(probabilities, task)).max() < 2e-6
