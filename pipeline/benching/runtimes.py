"""Measure a model in all its runtimes: with torch, and as ONNX graphs with onnxruntime."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from features.errors import AudioheadsError, UserError
from features.json_files import try_object
from pipeline.benching.clips import BenchClips, read_bench_clips
from pipeline.benching.figures import RuntimeFigures, machine_note
from pipeline.benching.options import BenchOptions
from pipeline.benching.process import measure
from pipeline.benching.request import Request
from pipeline.benching.sizes import backbone_bytes, fits_bytes
from pipeline.exporting.onnx_format import write_onnx
from pipeline.exporting.verification import find_test_clips
from pipeline.predicting.command import FitChoice
from pipeline.predicting.listing import Evaluation
from pipeline.predicting.locate import EXPORT_FILE, FoundModel
from pipeline.predicting.predictor import Predictor


@dataclass(frozen=True)
class Bench:
    """The figures of a model.

    Attributes:
        title: Its name.
        fits: Files of the fits whose outputs are averaged; empty for ONNX graphs.
        clips: The clips.
        figures: One entry per runtime.
        notes: Why a runtime has no figures.
        machine: See `figures.machine_note`.
    """

    title: str
    fits: list[str]
    clips: BenchClips
    figures: list[RuntimeFigures]
    notes: list[str]
    machine: dict[str, Any]


def bench_model(model: Path, chosen: FoundModel, choice: FitChoice, options: BenchOptions, scratch: Path) -> Bench:
    """Measure a model of a run or an exported folder with torch, and if it can be exported, as ONNX graph.

    Args:
        model: The MODEL argument.
        chosen: The model there, with the chosen fits.
        choice: The choice.
        options: How it is measured.
        scratch: Folder for temporary files.

    Raises:
        AudioheadsError: Weights or clips are missing.
        RunError: The model cannot be measured.
    """
    how = {"trusted": choice.trusted, "weights": choice.weights}
    predictor = Predictor(chosen, device=options.device, **how)  # type: ignore[arg-type]
    spec = predictor.spec
    clips = read_bench_clips(
        chosen.run_dir, options.clips, scratch, spec.sample_rate, spec.max_duration_s, options.n_clips
    )
    device = predictor.settings.device
    machine = machine_note(device, options.threads)
    answer = measure(_request(str(model), "", clips, options, device, asdict(choice)))
    sizes = {"head": fits_bytes(predictor)}
    if chosen.fits[0].kind == "network":
        sizes = {"network": sizes["head"]}
    figures = [RuntimeFigures("torch", answer, {"backbone": backbone_bytes(predictor), **sizes})]
    graphs, notes = scratch / "onnx", []
    graphs.mkdir()
    try:
        exact = Predictor(chosen, device="cpu", precision="fp32", **how)  # type: ignore[arg-type]
        if chosen.fits[0].kind == "head" and exact.backbone.graph() is None:
            raise UserError(f"{exact.spec.title} has no torch graph")
        few = find_test_clips(chosen.run_dir, options.clips, scratch, spec.sample_rate, spec.max_duration_s)
        write_onnx(exact, graphs, few, Evaluation(), licence=None, note=lambda line: None)
        figures += _graphs_of(graphs, clips, options)
    except AudioheadsError as error:
        notes.append(f"onnx: not measured: {str(error).removeprefix('--format onnx: ')}")
    return Bench(chosen.title, [fit.path.name for fit in chosen.fits], clips, figures, notes, machine)


def bench_graphs(folder: Path, about: Mapping[str, Any], options: BenchOptions, scratch: Path) -> Bench:
    """Measure the graphs of an exported ONNX folder.

    Args:
        folder: The folder.
        about: Its `config.json`.
        options: How they are measured.
        scratch: Folder for temporary files.

    Raises:
        UserError: No graph starts from waveforms, or an older version has exported the folder.
        RunError: A graph cannot be measured.
    """
    audio = about["preprocessing"]
    clips = read_bench_clips(
        None, options.clips, scratch, audio["sample_rate_hz"], audio["max_duration_s"], options.n_clips
    )
    machine = machine_note("cpu", options.threads)
    figures = list(_graphs_of(folder, clips, options))
    return Bench(about["title"], [], clips, figures, [], machine)


def _graphs_of(folder: Path, clips: BenchClips, options: BenchOptions) -> Iterator[RuntimeFigures]:
    """Measure the graph of a folder from waveforms to outputs.

    Raises:
        UserError: It has none, or an older version has exported it.
    """
    about: Mapping[str, Any] = try_object(folder / EXPORT_FILE) or {}
    if about.get("input") == "features":
        raise UserError(f"{folder}: its graph starts from stored features, not from audio")
    if "model" not in about:
        raise UserError(
            f"{folder}: was exported by an older version, whose example cannot be measured; export it again"
        )
    frontend = [about["frontend"]] if about.get("frontend") else []
    files = {"onnx": about["model"]}
    if "int8" in about:
        files = {"onnx": about["int8"]["float32_file"], "onnx int8": about["int8"]["file"]}
    for runtime, file in files.items():
        answer = measure(_request(str(folder), file, clips, options, "cpu", {}))
        sizes: dict[str, int | None] = {name: (folder / name).stat().st_size for name in (file, *frontend)}
        yield RuntimeFigures(runtime, answer, sizes)


def _request(
    model: str, graph: str, clips: BenchClips, options: BenchOptions, device: str, choice: dict[str, Any]
) -> Request:
    return Request(
        model=model,
        graph=graph,
        clips=str(clips.file),
        sample_rate=clips.sample_rate,
        n_clips=options.n_clips,
        threads=options.threads,
        device=device,
        choice=choice,
    )
