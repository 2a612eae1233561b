"""The ONNX graphs of a trained model, and what an example has to know about them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from features.errors import UserError
from heads.models.options import EndToEndOptions
from pipeline.exporting.onnx_examples import FEATURES, WAVEFORM, WINDOWS
from pipeline.exporting.onnx_files import export_graph, noise
from pipeline.exporting.torch_graphs import EndToEndGraph, Heads, Networks, Whole
from pipeline.finetune.windows import fit_windows
from pipeline.predicting.fitted import FramesInMemory, HeadEnsemble, NetworkEnsemble
from pipeline.predicting.predictor import Predictor

MODEL_FILE, HEAD_FILE, FRONTEND_FILE = "model.onnx", "head.onnx", "frontend.onnx"


@dataclass(frozen=True)
class Graphs:
    """The written graphs.

    Attributes:
        input: Input of `model.onnx`: `waveform` (1, T) or `windows` (n, F, D); or `features` if there is only
            `head.onnx`.
        example: Code of the example.
        about: Additional keys of `config.json`.
        limits: Sentences about limits for the model card.
    """

    input: str
    example: str
    about: dict[str, Any]
    limits: tuple[str, ...]


def write_head_graphs(fitted: HeadEnsemble, predictor: Predictor, target: Path, note: Callable[[str], None]) -> Graphs:
    """Write `head.onnx`, and `model.onnx` if the backbone has a graph, which ends after the last layer that is read.

    Args:
        fitted: The heads.
        predictor: The model that they belong to.
        target: Folder for the files.
        note: Called with one line if the backbone has no graph.

    Raises:
        UserError: The head has no graph, or torch cannot export it.
    """
    spec = predictor.spec
    heads = Heads(fitted, spec.layers)
    frames = fitted.frame_layers is not None
    width = spec.dim if frames else spec.dim * len(fitted.heads[0].pooling)
    example = torch.zeros(1, len(heads.layers), 7, width) if frames else torch.zeros(2, len(heads.layers), width)
    export_graph(heads, example, [2] if frames else [0], target / HEAD_FILE, ("features", "outputs"))
    about: dict[str, Any] = {
        "features": {
            "layers": heads.layers,
            "pooling": list(fitted.heads[0].pooling),
            "shape": ["1", "layers", "frames", "dimensions"] if frames else ["n", "layers", "dimensions"],
            "dim": width,
        }
    }
    positions = [list(spec.layers).index(layer) for layer in heads.layers]
    graph = predictor.backbone.graph(n_layers=max(positions) + 1)
    limits = (f"`{HEAD_FILE}` takes the raw features that `config.json` describes.",)
    if graph is None:
        note(f"export: {spec.name} ({spec.family}) has no torch graph, so only the head is exported: features in")
        return Graphs("features", FEATURES, about, limits)
    whole = Whole(graph, heads, fitted.heads[0].pooling, positions)
    sound = noise(max(spec.sample_rate, 2 * spec.min_samples)).to(predictor.backbone.device)
    export_graph(whole, sound, [1], target / MODEL_FILE, ("waveform", "outputs"))
    longest = f"Clips longer than {spec.max_duration_s:g} s are rejected by the example; cut them."
    about |= {
        "model": MODEL_FILE,
        "min_samples": spec.min_samples,
        "max_samples": spec.max_samples,
        "window_samples": None,
    }
    return Graphs("waveform", WAVEFORM, about, (*limits, longest))


def write_network_graphs(fitted: NetworkEnsemble, predictor: Predictor, target: Path) -> Graphs:
    """Write `model.onnx` for windows, and the graph that computes windows from a waveform.

    Args:
        fitted: The networks.
        predictor: The model that they belong to.
        target: Folder for the files.

    Raises:
        UserError: The model has no graph, or it is calibrated: its map applies to the mean over the windows, which are
            not in the graph.
    """
    if any(calibrator is not None for calibrator in fitted.calibrators):
        raise UserError(
            f"--format onnx: {predictor.model.title} is trained end to end and calibrated, and the graph ends before "
            "windows are averaged; use --format audioheads, or `calibrate: none`"
        )
    length, spec = fitted.window_frames, predictor.spec
    if isinstance(fitted.options, EndToEndOptions):
        assert fitted.source.spec is not None
        shortest = fitted.source.spec.min_samples
        sound = noise(max(length, shortest))
        export_graph(EndToEndGraph(fitted), sound, [1], target / MODEL_FILE, ("waveform", "outputs"))
        about: dict[str, Any] = {
            "model": MODEL_FILE,
            "min_samples": shortest,
            "max_samples": None,
            "window_samples": length,
        }
        return Graphs(
            "waveform", WAVEFORM, about, ("Longer clips are processed in windows, whose outputs are averaged.",)
        )
    network = fitted.networks[0]
    statistics = network.mean.cpu(), network.deviation.cpu()
    dim = len(statistics[0])
    windows = fit_windows(fitted.options, None, FramesInMemory([np.zeros((1, dim), np.float32)]), length, statistics)
    width = max(length, windows.shortest)
    graph = Networks(fitted)
    try:
        export_graph(graph, torch.zeros(2, width, dim), [0], target / MODEL_FILE, ("windows", "outputs"))
    except UserError:  # some recurrent layers can only be exported for one window at a time
        export_graph(graph, torch.zeros(1, width, dim), [], target / MODEL_FILE, ("windows", "outputs"))
    frontend = predictor.backbone.graph()
    if frontend is not None:
        second = torch.zeros(1, spec.sample_rate, device=predictor.backbone.device)
        export_graph(frontend, second, [1], target / FRONTEND_FILE, ("waveform", "frames"))
    fill = torch.as_tensor(windows.fill).float().expand(dim).tolist()
    about = {
        "model": MODEL_FILE,
        "frontend": None if frontend is None else FRONTEND_FILE,
        "window_frames": length,
        "width": width,
        "fill": fill,
    }
    return Graphs("windows", WINDOWS, about, ("Longer clips are processed in windows, whose outputs are averaged.",))
