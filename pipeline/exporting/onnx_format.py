"""Export a trained model as ONNX graphs, with an example that needs no torch; the example is run as a check."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from features.errors import UserError
from features.manifest import Manifest
from features.planning.progress import NoProgress
from features.store.content_keys import clip_contents
from features.store.writer import CacheRows
from pipeline.exporting.audioheads_format import about_export
from pipeline.exporting.int8 import INT8_FILE, write_int8
from pipeline.exporting.model_card import Card
from pipeline.exporting.onnx_files import OPSET, check_onnx
from pipeline.exporting.onnx_graphs import MODEL_FILE, Graphs, write_head_graphs, write_network_graphs
from pipeline.exporting.torch_graphs import Heads
from pipeline.exporting.verification import TestClips, compare
from pipeline.predicting.fitted import HeadEnsemble, NetworkEnsemble
from pipeline.predicting.listing import Evaluation
from pipeline.predicting.locate import EXPORT_FILE, ONNX_FORMAT
from pipeline.predicting.predictor import Predictor
from pipeline.results.run_folder import write_json

# In a silent band, a log-mel value is rounding error of the Fourier transform, which differs between runtimes.
TOLERANCE = {"features": 1e-4, "waveform": 1e-4, "windows": 1e-3}


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
        graphs = write_network_graphs(fitted, predictor, target)
    else:
        assert isinstance(fitted, HeadEnsemble)
        graphs = write_head_graphs(fitted, predictor, target, note)
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
