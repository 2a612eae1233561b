"""Origin of the numbers: commands, caches, weights, versions, devices, run times and the program's commit."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from features.backbones import record_of_weights
from features.backbones.presets.corpora import Corpus
from features.backbones.presets.record import Preset
from features.store.table import EmbeddingTable
from features.store.writer import library_versions
from pipeline.config.config import Config
from pipeline.report.study import Study
from pipeline.results.contamination import corpus_of, exposure_of
from pipeline.results.table import weights_text
from pipeline.stages.label_efficiency import read_curves
from pipeline.stages.open_set.tasks import read_open_set

PROGRAM = Path(__file__).parents[3]
GIT_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class ModelProvenance:
    """Weights and cache of one backbone or model.

    Attributes:
        name: Label of the backbone, or title of the model.
        weights: The weights, as in the results table.
        weights_sha256: SHA-256 of the weights; empty if there are none.
        fingerprint: Fingerprint of the cache, which covers everything that changes a value in it.
        file: Path of the cache.
        precision: Precision of the backbone's arithmetic.
        device: The device that embedded the clips.
        created_utc: When the cache was finalized.
        licence: Licence of pretrained weights or handcrafted features, with a note if it forbids commercial use;
            `unknown` if that of weights is not known.
        trained_on: What pretrained weights were trained on; `unknown` if it is not known.
        contamination: Whether this overlaps with the tested corpus, as in the results table.
    """

    name: str
    weights: str
    weights_sha256: str
    fingerprint: str
    file: str
    precision: str
    device: str
    created_utc: str
    licence: str = ""
    trained_on: str = ""
    contamination: str = ""


@dataclass(frozen=True)
class Stage:
    """Run time of one step of the experiment.

    Attributes:
        name: `features`, `train-heads`, `label efficiency`, `open set` or `finetune`.
        what: Label of the backbone, or title of the model.
        seconds: Wall-clock seconds, summed over all runs that did part of the work.
        parts: For stage 1, seconds of decoding, the network, pooling and writing.
        device: The device.
    """

    name: str
    what: str
    seconds: float
    parts: Mapping[str, float]
    device: str


def commands_of(config: Config) -> list[str]:
    """Return the command lines that reproduce the results, in order."""
    stages = ["features", "train-heads", *(["finetune"] if config.finetune else []), "report"]
    return [config.command(stage) for stage in stages]


def sources_of(study: Study) -> list[ModelProvenance]:
    """Return the provenance of every backbone, then of every model trained end to end."""
    corpus = corpus_of(study.config)
    found = [_cached(label, table, corpus) for label, table in study.inputs.tables.items()]
    for model in study.learned:
        about = model.details
        if "recipe" in about:
            text = {
                key: str(about.get(key) or "") for key in ("weights_sha256", "fingerprint", "cache_file", "precision")
            }
            found.append(
                ModelProvenance(
                    name=model.title,
                    weights=str(model.row["weights"]),
                    weights_sha256=text["weights_sha256"],
                    fingerprint=text["fingerprint"],
                    file=text["cache_file"],
                    precision=text["precision"],
                    device=str(about.get("extract_device") or ""),
                    created_utc="",
                    **_origin(str(model.row["model"]), str(model.row["weights"]), corpus),
                )
            )
    return found


def _cached(label: str, table: EmbeddingTable, corpus: Corpus | None) -> ModelProvenance:
    weights = weights_text(table.spec.weights)
    return ModelProvenance(
        name=label,
        weights=weights,
        weights_sha256=table.spec.weights_sha256,
        fingerprint=table.fingerprint,
        file=str(table.path),
        precision=_precision(table),
        device=str(table.cost.get("device") or ""),
        created_utc=table.created_utc,
        **_origin(table.spec.name, weights, corpus),
    )


def _origin(backbone: str, weights: str, corpus: Corpus | None) -> dict[str, str]:
    """Return licence, training data and contamination of pretrained weights, or the licence of handcrafted features."""
    seen = exposure_of({"weights": weights}, backbone, corpus)
    if seen is None:
        handcrafted = record_of_weights(backbone, weights) if weights == "none" else None
        return {} if handcrafted is None or handcrafted.licence is None else {"licence": _licence(handcrafted)}
    record = record_of_weights(backbone, weights.partition(":")[2]) or Preset()
    trained_on = "unknown" if record.trained_on is None else ", ".join(record.trained_on)
    return {"licence": _licence(record), "trained_on": trained_on, "contamination": f"{seen.mark}. {seen.reason}"}


def _licence(record: Preset) -> str:
    """Return the licence of a record, with a note if it forbids commercial use."""
    forbids = " (no commercial use)" if record.commercial_use is False else ""
    return f"{record.licence or 'unknown'}{forbids}"


def _precision(table: EmbeddingTable) -> str:
    """Return the precision of a network, and the type of its stored vectors unless that is float32."""
    stored = table.cache_spec["dtype"]
    return str(table.cache_spec["precision"]) + ("" if stored == "float32" else f", stored as {stored}")


def stages_of(study: Study) -> list[Stage]:
    """Return the run time of each step that recorded it."""
    found = []
    for label, table in study.inputs.tables.items():
        cost = table.cost
        parts = {
            name.removesuffix("_s"): cost[name] for name in ("read_s", "forward_s", "pool_s", "write_s") if name in cost
        }
        found.append(Stage("features", label, float(cost["compute_s"]), parts, str(cost.get("device") or "")))
    usable = len(study.manifest) - len(study.failures)
    inputs = {m.details["fingerprint"]: m for m in reversed(study.learned) if "recipe" in m.details}
    for model in inputs.values():  # models may share their cached inputs
        if rate := model.row["extract_clips_per_s"]:
            device = str(model.details.get("extract_device") or "")
            found.append(Stage("features", f"inputs of {model.title}", usable / float(rate), {}, device))
    for model in study.learned:
        name = "finetune" if "recipe" in model.details else "train-heads"
        device = str(model.details.get("train_device") or "")
        found.append(Stage(name, model.title, float(model.row["train_seconds"]), {}, device))
    if len(study.curve):
        fits = read_curves(study.config)
        seconds = sum(float(fit.about.get("train_seconds") or 0.0) for fit in fits)
        found.append(
            Stage("label efficiency", f"{len(fits)} points", seconds, {}, str(fits[0].about.get("train_device") or ""))
        )
    if study.open_set.rows:
        fits = read_open_set(study.config)
        seconds = sum(float(fit.about["train_seconds"]) for fit in fits)
        found.append(Stage("open set", f"{len(fits)} models", seconds, {}, str(fits[0].about["train_device"])))
    order = ("features", "train-heads", "label efficiency", "open set", "finetune")
    return sorted(found, key=lambda stage: order.index(stage.name))


def versions_of(study: Study) -> list[tuple[str, str, str]]:
    """Return rows of library, current version, and different versions that wrote caches or trained models."""
    now = library_versions()
    then: dict[str, dict[str, None]] = {}
    recorded = [table.versions for table in study.inputs.tables.values()]
    recorded += [model.details.get("versions") or {} for model in study.learned]
    for versions in recorded:
        for name, version in versions.items():
            then.setdefault(name, {})[str(version)] = None
    rows = [("Python", platform.python_version(), "")]
    for name in sorted({*now, *then}, key=str.casefold):
        others = [version for version in then.get(name, ()) if version != now.get(name)]
        rows.append((name, now.get(name, "–"), ", ".join(others)))
    return rows


def machine_of() -> str:
    """Return system, architecture and number of CPU threads of this machine."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU threads"


def now_utc() -> str:
    """Return the current time in UTC, to the minute."""
    return datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")


def commit_of(program: Path = PROGRAM) -> str | None:
    """Return the commit of the checkout, with `+ changes` if tracked files differ; None outside a checkout."""
    if not (program / ".git").exists():
        return None
    commit = _git(program, "rev-parse", "HEAD")
    changes = _git(program, "status", "--porcelain", "--untracked-files=no")
    if not commit:
        return None
    return f"{commit} + changes" if changes else commit


def _git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command; empty if it fails."""
    command: Sequence[str] = ("git", "-C", str(folder), *arguments)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=GIT_TIMEOUT_S, check=False)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
