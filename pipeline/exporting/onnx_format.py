"""Export a trained model as ONNX graphs, with an example that needs no torch; the example is run as a check."""

from __future__ import annotations

import contextlib
import io
import logging
import runpy
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from features.errors import UserError
from features.manifest import Manifest
from features.planning.progress import NoProgress
from features.store.content_keys import clip_contents
from features.store.writer import CacheRows
from heads.models.options import EndToEndOptions
from pipeline.exporting.audioheads_format import about_export
from pipeline.exporting.int8 import INT8_FILE, write_int8
from pipeline.exporting.model_card import Card
from pipeline.exporting.onnx_examples import FEATURES, WAVEFORM, WINDOWS
from pipeline.exporting.torch_graphs import EndToEndGraph, Heads, Networks, Whole
from pipeline.exporting.verification import TestClips, compare
from pipeline.finetune.windows import fit_windows
from pipeline.predicting.fitted import FramesInMemory, HeadEnsemble, NetworkEnsemble
from pipeline.predicting.listing import Evaluation
from pipeline.predicting.locate import EXPORT_FILE, ONNX_FORMAT
from pipeline.predicting.predictor import Predictor
from pipeline.results.run_folder import write_json

# In a silent band, a log-mel value is rounding error of the Fourier transform, which differs between runtimes.
TOLERANCE = {"features": 1e-4, "waveform": 1e-4, "windows": 1e-3}
OPSET = 18
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


def write_onnx(
    predictor: Predictor,
    target: Path,
    clips: TestClips,
    evaluation: Evaluation,
    *,
    licence: str | None,
    note: Callable[[str], None],
    int8: bool = False,
) -> str:
    """Write ONNX graphs, and compare the outputs of the exported example with those of the original.

    Args:
        predictor: The original model, in fp32.
        target: An empty folder.
        clips: Clips for the comparison.
        evaluation: Score for the model card.
        licence: Licence for the model card.
        note: Callback for messages on parts that have no graph.
        int8: Also write an 8-bit graph and score it on its test clips; the model must be one fit of a run.

    Returns:
        One sentence about the comparison.

    Raises:
        UserError: The model has no graph; the message gives the reason.
        RunError: The outputs of the graphs differ from those of the original.
    """
    check_onnx()
    fitted = predictor.fitted
    if isinstance(fitted, NetworkEnsemble):
        graphs = _networks(fitted, predictor, target, note)
    else:
        assert isinstance(fitted, HeadEnsemble)
        graphs = _heads(fitted, predictor, target, note)
    if int8 and graphs.input == "features":
        raise UserError(f"--int8: {predictor.spec.title} has no torch graph, and only the head would be quantised")
    about = about_export(predictor, evaluation, {}, [])
    del about["members"], about["files"]
    about |= {"format": ONNX_FORMAT, "input": graphs.input, **graphs.about}
    write_json(target / EXPORT_FILE, about)
    (target / "example.py").write_text(graphs.example, encoding="utf-8")
    example = runpy.run_path(str(target / "example.py"))
    run_example = example["predict"]
    what = f"the ONNX graph of {predictor.model.title}"
    expected = predictor.predict(list(clips.paths))
    predict: Callable[[Path], np.ndarray] = run_example
    if graphs.input == "features":
        predict = lambda path: run_example(_features(predictor, path))  # noqa: E731
    difference = compare(expected, predict, clips, TOLERANCE[graphs.input], what)
    check = f"Compared with the original on {clips.what}: the largest difference in an output is {difference:.1e}."
    if int8:
        quantised = write_int8(predictor, target, MODEL_FILE, example["scores"], graphs.about.get("max_samples"), note)
        write_json(target / EXPORT_FILE, {**about, "model": INT8_FILE, "int8": quantised.about()})
        check = f"{check} {quantised}"
    _card(predictor, evaluation, licence, graphs, check).write(target)
    return f"{graphs.input} in, outputs out. {check}"


def check_onnx() -> None:
    """Check early that the ONNX libraries are installed.

    Raises:
        UserError: A library is missing.
    """
    try:
        import onnx
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError(f"--format onnx: {error.name} is not installed; pip install 'audioheads[onnx]'") from None
    del onnx, onnxruntime


def export_graph(
    module: nn.Module, example: Tensor, dynamic: Sequence[int], path: Path, names: tuple[str, str]
) -> None:
    """Export a module with one input and one output as an ONNX file.

    Args:
        module: The module, in evaluation mode.
        example: Example input.
        dynamic: Axes of variable size.
        path: The file to write.
        names: Names of input and output.

    Raises:
        UserError: torch cannot export it; the message contains the first line of torch's error.
    """
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), torch.no_grad():
            warnings.simplefilter("ignore")
            shapes = ({axis: torch.export.Dim.DYNAMIC for axis in dynamic},)
            exported = torch.export.export(
                module.eval(),
                (example,),
                dynamic_shapes=shapes,
                prefer_deferred_runtime_asserts_over_guards=True,  # some conditions cannot be proved for every length
            )
            program = torch.onnx.export(
                exported,
                (),
                dynamo=True,
                opset_version=OPSET,
                input_names=[names[0]],
                output_names=[names[1]],
                verbose=False,
            )
            assert program is not None
            program.save(str(path), external_data=False)
    except Exception as error:  # the exporter can raise anything
        cause: BaseException = error
        while cause.__cause__ is not None:
            cause = cause.__cause__
        reason = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
        raise UserError(f"--format onnx: torch cannot export this graph ({reason.strip()})") from error
    finally:
        logging.disable(level)


def noise(samples: int) -> Tensor:
    """Return a random waveform (1, T) to trace a graph."""
    return 0.1 * torch.randn(1, samples, generator=torch.Generator().manual_seed(0))


def _heads(fitted: HeadEnsemble, predictor: Predictor, target: Path, note: Callable[[str], None]) -> Graphs:
    """Write `head.onnx`, and `model.onnx` if the backbone has a graph."""
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
    graph = predictor.backbone.graph()
    limits = (f"`{HEAD_FILE}` takes the raw features that `config.json` describes.",)
    if graph is None:
        note(f"export: {spec.name} ({spec.family}) has no torch graph, so only the head is exported: features in")
        return Graphs("features", FEATURES, about, limits)
    whole = Whole(graph, heads, fitted.heads[0].pooling, spec.layers)
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


def _networks(fitted: NetworkEnsemble, predictor: Predictor, target: Path, note: Callable[[str], None]) -> Graphs:
    """Write `model.onnx` for windows, and the graph that computes windows from a waveform.

    Raises:
        UserError: The model is calibrated: its map applies to the mean over the windows, which are not in the graph.
    """
    if any(calibrator is not None for calibrator in fitted.calibrators):
        raise UserError(
            f"--format onnx: {predictor.model.title} is trained end to end and calibrated, and the graph ends before "
            "windows are averaged; use --format audioheads, or `calibrate: none`"
        )
    length, spec = int(fitted.about["window_frames"]), predictor.spec
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


def _features(predictor: Predictor, path: Path) -> np.ndarray:
    """Return the input of the heads for a clip, (1, L, D) or (1, L, F, D)."""
    import pandas as pd

    fitted = predictor.fitted
    assert isinstance(fitted, HeadEnsemble)
    found: list[np.ndarray] = []
    heads = Heads(fitted, predictor.spec.layers)

    def keep(rows: CacheRows, spec: Any) -> np.ndarray:
        if rows.ids:
            each = [fitted.features(head, rows, spec) for head in fitted.heads]
            if fitted.reads == "layers":
                found.append(np.asarray(each[0]))
            elif fitted.reads == "layer-frames":
                found.append(np.asarray(each[0][0]).transpose(1, 0, 2)[None])
            else:
                at = [heads.layer_positions.index(place) for place in range(len(heads.layers))]
                found.append(np.stack([np.asarray(each[number][0]) for number in at])[None])
        return np.zeros((len(rows.ids), predictor.n_outputs), np.float32)

    table = pd.DataFrame({"id": ["0"], "path": [str(path)], "label": "?"})
    manifest = Manifest("export", Path(), table, "single-label")
    contents = clip_contents(manifest, path.parent, save=False)
    predictor.run(manifest, contents, [0], NoProgress(), lambda ids, values: None, through=keep)
    return found[0].astype(np.float32)


def _card(predictor: Predictor, evaluation: Evaluation, licence: str | None, graphs: Graphs, check: str) -> Card:
    return Card(
        predictor=predictor,
        evaluation=evaluation,
        licence=licence,
        install="pip install onnxruntime numpy soundfile soxr",
        example=graphs.example,
        files=[f"The graphs use opset {OPSET}; `config.json` describes their inputs and outputs."],
        limits=graphs.limits,
        check=check,
        library="onnx",
        takes="features.npy" if graphs.input == "features" else "some.wav",
    )
