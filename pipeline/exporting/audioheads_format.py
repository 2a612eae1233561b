"""The audioheads export format: a folder with heads or networks, backbone weights and everything prediction needs."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from features import backbones
from features.errors import UserError
from features.store.writer import library_versions
from heads.models.options import EndToEndOptions, ImageOptions
from heads.training.checkpoint import save_head
from pipeline.config.finetune_entries import backbone_entry
from pipeline.exporting.measured_decisions import measured_decisions
from pipeline.exporting.model_card import Card
from pipeline.exporting.verification import TestClips, compare
from pipeline.finetune.file_format import METADATA
from pipeline.predicting.fitted import HeadEnsemble, NetworkEnsemble
from pipeline.predicting.listing import Evaluation
from pipeline.predicting.locate import EXPORT_FILE, EXPORT_FORMAT, EXPORT_VERSION, find_model
from pipeline.predicting.predictor import Predictor
from pipeline.results.run_folder import write_json
from pipeline.results.table import weights_text

BACKBONE_FOLDER = "backbone"
TOLERANCE = {"head": 1e-5, "network": 1e-4}
# Keys of `fit.json` that the card and `models ls` show.
KEPT = ("dataset", "family", "weights", "weights_sha256", "protocol", "n_folds", "n_seeds", "head", "pooling", "layer")
EXAMPLE = '''"""Classify audio files: python example.py FILE…"""

import sys
from pathlib import Path

from pipeline.predicting.predictor import Predictor  # from the package audioheads

predictor = Predictor.load(Path(__file__).parent{options})
for file, scores in zip(sys.argv[1:], predictor.predict(sys.argv[1:]), strict=True):
    {print_result}
'''
PRINT_RESULT = {
    "single-label": "print(file, predictor.labels[scores.argmax()], scores.max())",
    "multi-label": "print(file, [predictor.labels[at] for at in (scores >= predictor.thresholds).nonzero()[0]])",
    "regression": "print(file, scores[0])",
}


def write_folder(
    predictor: Predictor,
    target: Path,
    clips: TestClips,
    evaluation: Evaluation,
    *,
    with_backbone: bool,
    licence: str | None,
) -> str:
    """Write a folder for `audioheads predict`, and compare its outputs with those of the original.

    Args:
        predictor: The original model.
        target: An empty folder.
        clips: Clips for the comparison.
        evaluation: Score for the model card.
        with_backbone: Also copy the backbone weights.
        licence: Licence for the model card.

    Returns:
        One sentence about the comparison.

    Raises:
        UserError: The backbone cannot be copied.
        RunError: The outputs of the copy differ from those of the original.
    """
    fitted = predictor.fitted
    if isinstance(fitted, NetworkEnsemble):
        if not with_backbone:
            raise UserError("--no-backbone: a model trained end to end has no frozen backbone to omit")
        files: dict[str, str] = {}
        members = _write_networks(fitted, predictor, target)
    else:
        assert isinstance(fitted, HeadEnsemble)
        files, members = _write_heads(fitted, predictor, target, with_backbone)
    write_json(target / EXPORT_FILE, about_export(predictor, evaluation, files, members))
    expected = predictor.predict(list(clips.paths))
    there = with_backbone or not Path(predictor.spec.weights).exists()
    copy = Predictor(
        find_model(target),
        device=predictor.settings.device,
        trusted=predictor.trusted,
        weights=None if there else str(fitted.entry["weights"]),
    )
    kind = predictor.model.fits[0].kind
    difference = compare(
        expected, lambda path: copy.predict([path])[0], clips, TOLERANCE[kind], f"the folder of {predictor.model.title}"
    )
    check = f"Compared with the original on {clips.what}: the largest difference in an output is {difference:.1e}."
    _card(predictor, evaluation, licence, check, there).write(target)
    return check


def about_export(
    predictor: Predictor, evaluation: Evaluation, files: Mapping[str, str], members: list[dict[str, Any]]
) -> dict[str, Any]:
    """Return the content of `config.json` in an exported folder."""
    model, spec, settings = predictor.model, predictor.spec, predictor.settings
    stated = {key: model.about[key] for key in KEPT if key in model.about}
    stated.setdefault("weights", weights_text(spec.weights))
    return {
        "format": EXPORT_FORMAT,
        "format_version": EXPORT_VERSION,
        "title": model.title,
        "task": predictor.task,
        "labels": list(predictor.labels),
        "members": members,
        "files": dict(files),
        "preprocessing": {
            "sample_rate_hz": spec.sample_rate,
            "channels": "averaged",
            "resampler": "soxr HQ, to ceil(n * ratio) samples",
            "normalize": spec.settings.get("normalize"),
            "min_duration_s": spec.min_duration_s,
            "max_duration_s": spec.max_duration_s,
            "window_overlap_s": settings.window_overlap_s,
            "pooling": list(settings.pooling),
            "precision": settings.precision,
        },
        **stated,
        **about_decisions(predictor),
        **measured_decisions(model).stored(),
        "evaluation": dataclasses.asdict(evaluation),
        "versions": library_versions(),
    }


def about_decisions(predictor: Predictor) -> dict[str, Any]:
    """Return what `config.json` says about calibration and thresholds."""
    point, found = predictor.fitted.point, {"calibration": predictor.fitted.calibration}
    if point is None:
        return found
    thresholds = dict(zip(predictor.labels, point.thresholds.tolist(), strict=True))
    return {**found, "operating_point": {"rule": str(point.rule), "below": point.rule.below, "thresholds": thresholds}}


def _write_heads(
    fitted: HeadEnsemble, predictor: Predictor, target: Path, with_backbone: bool
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """Write the heads, each with the path of the exported backbone."""
    entry, spec, files = dict(fitted.entry), predictor.spec, {}
    if with_backbone:
        bundle = backbones.bundle(entry, spec, target / BACKBONE_FOLDER)
        files = {key: (Path(BACKBONE_FOLDER) / name).as_posix() for key, name in bundle.files.items()}
        entry |= bundle.options
        spec = backbones.describe({**entry, **{key: str(target / file) for key, file in files.items()}})
    elif Path(spec.weights).exists():
        entry["weights"] = Path(spec.weights).name  # without this machine's folders
    stated = {**json.loads(json.dumps(spec.stored())), "weights": _plain_source(predictor.spec.weights)}
    stage1 = {**fitted.stage1, "backbone": {**entry, **files}}
    members = []
    for fit, head in zip(predictor.model.fits, fitted.heads, strict=True):
        save_head(
            target / fit.path.name,
            head.state,
            head=head.head,
            labels=head.labels,
            backbone=stated,
            pooling=head.pooling,
            layer=head.layer,
            configuration=head.configuration,
            task=head.task,
            extra={**head.extra, "stage1": stage1},
            calibrator=head.calibrator,
            point=head.point,
        )
        members.append({"file": fit.path.name, "fold": fit.fold, "seed": fit.seed, "layer": head.layer})
    return files, members


def _write_networks(fitted: NetworkEnsemble, predictor: Predictor, target: Path) -> list[dict[str, Any]]:
    """Write the networks. Their backbones are described so that they can be built without the pretrained weights."""
    changed: dict[str, Any] = {}
    if isinstance(fitted.options, EndToEndOptions):
        changed = backbones.blank(backbone_entry(fitted.options))  # type: ignore[arg-type]
    elif isinstance(fitted.options, ImageOptions):
        changed = {"weights": "none"}
    members = []
    for fit in predictor.model.fits:
        metadata = {METADATA: json.dumps({**fit.about, **changed, "name": fit.about["name"]})}
        save_file(load_file(fit.path), target / fit.path.name, metadata)
        members.append({"file": fit.path.name, "fold": fit.fold, "seed": fit.seed})
    return members


def _plain_source(weights: str) -> str:
    """Return the source of weights without this machine's folders."""
    return weights if weights == "random" else weights_text(weights).removeprefix("pretrained:")


def _card(predictor: Predictor, evaluation: Evaluation, licence: str | None, check: str, whole: bool) -> Card:
    fitted = predictor.fitted
    extras = [backbones.get_family(predictor.spec.family).extra]
    if isinstance(fitted, NetworkEnsemble) and isinstance(fitted.options, ImageOptions):
        extras.append("finetune")
    wanted = ",".join(extra for extra in extras if extra)
    version = library_versions()["audioheads"]
    files = ["Use this folder as the MODEL of `audioheads predict`: `audioheads predict THIS_FOLDER some.wav`."]
    options = ""
    if not whole:
        options = ", weights=sys.argv.pop(1)"
        files.append(
            "The backbone weights are not included. Pass them first: `python example.py WEIGHTS some.wav` (`--weights "
            f"WEIGHTS` of `audioheads predict`). They are {_plain_source(predictor.spec.weights)}, "
            f"sha256 {predictor.spec.weights_sha256}; others are rejected."
        )
    if predictor.trusted:
        options += f", trusted={list(predictor.trusted)!r}"
    spec = predictor.spec
    limits = [f"Clips longer than {spec.max_duration_s:g} s are processed in windows of that length."]
    return Card(
        predictor=predictor,
        evaluation=evaluation,
        licence=licence,
        install=f'pip install "audioheads{f"[{wanted}]" if wanted else ""}=={version}"',
        example=EXAMPLE.format(options=options, print_result=PRINT_RESULT[predictor.task]),
        files=files,
        limits=limits,
        check=check,
        library="audioheads",
    )
