"""A process that measures one model and nothing else, so that its memory is that of the model and its libraries.

`python -m pipeline.benching.process REQUEST ANSWER` reads and writes the files of `pipeline.benching.request`.
"""

from __future__ import annotations

import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from features.child_process import module_command, module_environment
from features.errors import AudioheadsError, RunError, first_line
from features.system.machine import peak_memory_bytes
from pipeline.benching.request import Answer, Request
from pipeline.benching.timing import Seconds, measured, time_clips


def measure(request: Request) -> Answer:
    """Run a measurement in a process of its own and return its answer.

    Raises:
        RunError: The process was ended from outside, such as for lack of memory, or the model cannot be measured.
    """
    threads = str(request.threads)
    with tempfile.TemporaryDirectory(prefix="audioheads-") as scratch:
        asked, answered = Path(scratch) / "request.json", Path(scratch) / "answer.json"
        request.write(asked)
        ended = subprocess.run(
            module_command("pipeline.benching.process", str(asked), str(answered)),
            env=module_environment(OMP_NUM_THREADS=threads, OPENBLAS_NUM_THREADS=threads, MKL_NUM_THREADS=threads),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            check=False,
        )
        if not answered.exists():
            reason = ended.stderr.decode(errors="replace").strip().rpartition("\n")[2]
            raise RunError(f"{request.model}: the process that measured it ended early ({ended.returncode}, {reason})")
        answer = Answer.read(answered)
    if answer.error:
        raise RunError(answer.error)
    return answer


def main() -> None:
    """Measure and write the answer."""
    asked, answered = map(Path, sys.argv[1:])
    request = Request.read(asked)
    try:
        answer = _onnx(request) if request.graph else _torch(request)
    except AudioheadsError as error:
        answer = Answer(error=str(error))
    except Exception as error:  # of a library; the parent prints one line
        answer = Answer(error=f"{request.model}: {type(error).__name__}: {first_line(error)}")
    answer.write(answered)


def _waveforms(request: Request) -> list[np.ndarray]:
    with np.load(request.clips) as stored:
        return [stored[name] for name in stored.files]


def _torch(request: Request) -> Answer:
    import torch

    from features.inference.worker import computing_as_planned
    from pipeline.benching.torch_model import SharedBackbone
    from pipeline.predicting.command import FitChoice
    from pipeline.predicting.locate import choose, find_model
    from pipeline.predicting.predictor import Predictor

    choice = FitChoice(**{**request.choice, "trusted": tuple(request.choice["trusted"])})
    model, _ = choose(find_model(Path(request.model)), choice.fold, choice.seed, choice.ensemble)
    with computing_as_planned(request.threads):
        predictor = Predictor(model, device=request.device, trusted=choice.trusted, weights=choice.weights)
        shared = SharedBackbone([predictor])
        (latency,) = time_clips(shared.times, _waveforms(request), request.sample_rate, n_clips=request.n_clips)
    device = shared.backbone.device
    there = torch.cuda.max_memory_allocated(device) if device.type == "cuda" else None
    return Answer(latency, peak_memory_bytes(), there)


def _onnx(request: Request) -> Answer:
    scores = runpy.run_path(os.fspath(Path(request.model) / "example.py")).get("scores")
    if scores is None:
        raise RunError(f"{request.model}: was exported by an older version; export it again")

    def times(waveform: np.ndarray) -> list[Seconds]:
        return [measured(lambda: scores(waveform, request.graph, request.threads))[1]]

    (latency,) = time_clips(times, _waveforms(request), request.sample_rate, n_clips=request.n_clips)
    return Answer(latency, peak_memory_bytes())


if __name__ == "__main__":
    main()
