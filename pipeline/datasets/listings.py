"""List the datasets that a config can name, and write the clips of a config as CSV."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pipeline.config.config import Config
    from pipeline.console import Console


def list_datasets(console: Console) -> None:
    """Print the kinds of dataset with their layout and source."""
    from features.datasets import KINDS

    rows = []
    for kind, name in KINDS.items():
        module = import_module(name)
        layout = (module.Options.__doc__ or "").strip().splitlines()[0]
        rows.append((kind, layout.replace("`", ""), getattr(module, "SOURCE", "synthetic")))
    console.table(("kind", "layout", "source"), rows, foldable=["layout", "source"])


def index_dataset(config: Config, output: Path | None, console: Console) -> None:
    """Write the manifest as CSV and print how many clips each class, fold and split has.

    Args:
        config: The experiment.
        output: The file to write; None: `manifest.csv` in the run folder.
        console: Prints the counts.

    Raises:
        ManifestError: The corpus is missing or its table is invalid.
        OSError: The file cannot be written.
    """
    from features.datasets import load_manifest
    from features.datasets.questions import task_question

    manifest = load_manifest(config.dataset.model_dump())
    output = output or config.run_dir / "manifest.csv"
    output.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_csv(output)
    clips = manifest.clips
    columns = {column: clips[column] for column in ("label", "fold", "split") if column in clips}
    if manifest.task == "regression":
        labels = columns.pop("label")
        answers = f"labels {labels.min():g} to {labels.max():g}"
    else:
        columns["label"] = columns["label"].explode()  # a multi-label clip counts for each of its labels
        answers = f"{len(manifest.labels)} classes"
    for column, values in columns.items():
        if values.notna().any():
            counts = values.value_counts().sort_index()
            console.table((column, "clips"), list(counts.items()), right=("clips",))
            console.line("")
    for warning in filter(None, (manifest.similar_labels, task_question(manifest, config.dataset))):
        console.warning(warning)
    groups = f", {clips['group'].nunique()} groups" if "group" in clips else ""
    console.line(
        f"{manifest.name}: {len(manifest)} clips, {answers}{groups}; wrote {output}, paths relative to its folder"
    )
