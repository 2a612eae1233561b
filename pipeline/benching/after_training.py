"""Measure the trained models of a run once, for the columns `latency_ms`, `realtime_factor` and `size_mb`."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from features import backbones
from features.errors import first_line
from features.inference.worker import computing_as_planned
from heads.finetuning.processes import is_main_process
from pipeline.benching.clips import read_bench_clips
from pipeline.benching.figures import MB, machine_note
from pipeline.benching.sizes import backbone_bytes, fits_bytes
from pipeline.benching.timing import Latency, time_clips
from pipeline.benching.torch_model import SharedBackbone
from pipeline.config.config import Config
from pipeline.config.schema import BenchSection
from pipeline.console import Console
from pipeline.predicting.locate import choose, find_model
from pipeline.predicting.predictor import Predictor
from pipeline.results.device_costs import read_device_costs, write_device_costs
from pipeline.results.expected_fits import expected_fits
from pipeline.results.run_folder import FIT_FILE, fit_folder
from pipeline.results.run_lock import locked
from pipeline.results.table import counted

MOST_S = 10.0  # seconds of measurements per backbone, after which no further clip is begun
DEVICE = "cpu"


def measure_run(config: Config, console: Console) -> None:
    """Measure each trained model that was not measured with these settings yet.

    One fit of a model is measured, as its score is that of single fits. Heads on one backbone share its runs: the time
    of a clip is that of the backbone and of the head. A model that cannot be measured is named in one line, and its
    columns stay empty.

    Args:
        config: The experiment; nothing is measured if its `bench` is null.
        console: Prints what was measured.

    Raises:
        RunError: A file in the run folder cannot be written.
    """
    if config.bench is None or not is_main_process():
        return
    with locked([config.run_dir], console.note):
        pending: dict[str, list[Path]] = defaultdict(list)
        for model, head, _ in expected_fits(config):
            folder = fit_folder(config.run_dir, model, head)
            known = read_device_costs(folder).get("settings")
            if (folder / FIT_FILE).is_file() and known != config.bench.model_dump():
                pending[model].append(folder)
        for model, folders in pending.items():
            try:
                latencies = _measure(config, config.bench, folders)
            except Exception as error:  # of any library; the models themselves are trained and stay usable
                console.note(f"bench {model}: not measured: {first_line(error)}")
                continue
            fastest = min(latency.median_ms for latency in latencies)
            console.note(
                f"bench {model}: {counted(len(folders), 'model')}, from {fastest:.3g} ms per clip{_busy(folders)}"
            )


def _measure(config: Config, settings: BenchSection, folders: Sequence[Path]) -> list[Latency]:
    """Measure models on one backbone, keep their figures, and return their latencies."""
    with tempfile.TemporaryDirectory(prefix="audioheads-") as scratch, computing_as_planned(settings.threads):
        predictors = [_one_fit(folder, _trusted(config)) for folder in folders]
        spec = predictors[0].spec
        clips = read_bench_clips(
            config.run_dir, (), Path(scratch), spec.sample_rate, spec.max_duration_s, settings.clips
        )
        machine = machine_note(DEVICE, settings.threads)
        shared = SharedBackbone(predictors)
        latencies = time_clips(shared.times, clips.waveforms, clips.sample_rate, n_clips=settings.clips, most_s=MOST_S)
        backbone = backbone_bytes(predictors[0])
    for folder, predictor, latency in zip(folders, predictors, latencies, strict=True):
        own = fits_bytes(predictor)
        costs: dict[str, Any] = {
            "latency_ms": latency.median_ms,
            "realtime_factor": latency.realtime_factor,
            "size_mb": None if backbone is None else (backbone + own) / MB,
            "latency": asdict(latency),
            "sizes": {"backbone": backbone, "head": own},
            "clips": clips.what,
            "precision": predictor.settings.precision,
            "machine": machine,
        }
        write_device_costs(folder, settings.model_dump(), costs)
    return latencies


def _busy(folders: Sequence[Path]) -> str:
    """Return a remark if the load of the machine exceeded its cores during the measurement."""
    load = read_device_costs(folders[0])["machine"]["load"]
    return (
        f" (probably too high: the machine was busy, with a load of {load:.1f} per core)"
        if load is not None and load > 1
        else ""
    )


def _one_fit(folder: Path, trusted: Sequence[str]) -> Predictor:
    """Load the first fit of a model."""
    model, _ = choose(find_model(folder))
    return Predictor(replace(model, fits=model.fits[:1]), device=DEVICE, trusted=trusted)


def _trusted(config: Config) -> list[str]:
    """Return the import paths of the code that the config names, which its author trusts."""
    code = [backbones.code_of(options.model_dump()) for options in config.features.backbones]
    code += [getattr(head, "estimator", None) for head in config.heads]
    return [path for path in code if path is not None]
