"""Compare backbones and heads on labelled audio, as `audioheads run` does."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audioheads.manifests import read_manifest
from features.errors import ConfigError
from features.manifest import Manifest
from pipeline.config.config import Config, load_config, make_config
from pipeline.console import Console
from pipeline.results.run_folder import write_whole

if TYPE_CHECKING:
    import pandas as pd

    from audioheads.predictor import Predictor
    from features.corpus import Corpus
    from pipeline.report.study import Study

Entry = str | Mapping[str, Any]
DEFAULT_POOLING = ("mean", "std")
CLIPS_FILE = "clips.csv"  # in the run folder: the clips of a config made here


def compare(
    data: Any,
    *,
    backbones: Sequence[Entry] | None = None,
    heads: Sequence[Entry] | None = None,
    pooling: Sequence[str] | None = None,
    protocol: str | None = None,
    seeds: Sequence[int] | None = None,
    name: str | None = None,
    pattern: str | None = None,
    cache: str | Path = "cache",
    runs: str | Path = "runs",
    device: str = "auto",
    verbose: bool = False,
) -> Results:
    """Embed labelled clips with frozen backbones, train heads and score them. What is done already is reused.

    Args:
        data: Labelled audio, see `audioheads.read_manifest`; or a config: a `Config`, a YAML file, or nested
            dictionaries with a key `dataset`. Other arguments than `device` and `verbose` then must not be given.
        backbones: Names of backbones and presets, or entries as in a config; None: the MFCC control.
        heads: Names of heads, or entries as in a config; None: linear and mlp.
        pooling: How frames become one vector; None: mean and std.
        protocol: How clips are split; None: what `audioheads init` suggests.
        seeds: Seeds of the heads; None: [0].
        name: Name of the run folder and the dataset; None: that of the folder or file.
        pattern: Reads label, group, fold and split from file names, such as `{group}_{label}_{}.wav`.
        cache: Folder of the embeddings.
        runs: Folder of the run folders.
        device: `auto`, or a torch device.
        verbose: Print what the command line prints.

    Returns:
        The results. Nothing is kept in memory but the table, so they can be read again from the run folder.

    Raises:
        AudioheadsError: The data or a config cannot be used; the message names the file or key.
    """
    from pipeline.benching.after_training import measure_run
    from pipeline.stages.features import load_corpus, run_features
    from pipeline.stages.train_heads import run_heads

    own = {
        "backbones": backbones,
        "heads": heads,
        "pooling": pooling,
        "protocol": protocol,
        "seeds": seeds,
        "name": name,
    }
    config = _given_config(data, {**own, "pattern": pattern})
    if config is None:
        manifest = read_manifest(data, name=name, pattern=pattern)
        config = _config_of(manifest, own, Path(cache), Path(runs))
    if config.finetune:
        raise ConfigError("finetune: `compare` trains heads only; use `audioheads run` with this config")
    console = Console(quiet=not verbose)
    corpus = load_corpus(config)
    how: dict[str, Any] = {"device": device, "dry_run": False, "strict": False, "console": console, "corpus": corpus}
    run_features(config, limit=None, **how)
    run_heads(config, **how)
    measure_run(config, console)
    return Results(config, corpus, verbose=verbose)


class Results:
    """The results of a comparison.

    Attributes:
        config: The experiment.
        run_dir: Its run folder.
    """

    def __init__(self, config: Config, corpus: Corpus | None = None, *, verbose: bool = False) -> None:
        """Read the results of a trained experiment.

        Args:
            config: The experiment.
            corpus: Its clips; None reads them when they are needed.
            verbose: Print what the command line prints.
        """
        self.config, self.run_dir = config, config.run_dir
        self._corpus, self._console = corpus, Console(quiet=not verbose)

    def __repr__(self) -> str:
        """Name the best model and its score."""
        study = self._study
        return f"Results({str(self.run_dir)!r}: {self._title(self.best)}, {study.metric} {self.best[study.score]:.3f})"

    def _repr_html_(self) -> str:
        """Show the table in a notebook."""
        import pandas as pd

        from pipeline.results.table import headings, shown_rows

        return str(
            pd.DataFrame(shown_rows(self.table), columns=list(headings(self.table).values())).to_html(index=False)
        )

    @property
    def table(self) -> pd.DataFrame:
        """One row per model, best first, with the columns of `results.csv`."""
        return self._study.table.copy()

    @property
    def best(self) -> pd.Series:
        """The row of the model with the highest score, other than the majority row."""
        from heads.evaluation.majority import BASELINE

        table = self.table
        return table[table["family"] != BASELINE].iloc[0]

    def report(self, output: str | Path | None = None) -> Path:
        """Write the page with tables and figures.

        Args:
            output: Folder to write; None: `report/` in the run folder.

        Returns:
            The path of `index.html`.
        """
        from pipeline.report.run import report_folder, run_report

        corpora = None if self._corpus is None else [self._corpus]
        folder = None if output is None else Path(output)
        run_report(self.config, console=self._console, output=folder, corpora=corpora)
        return (folder or report_folder([self.config])) / "index.html"

    def predictor(self, model: str | None = None, head: str | None = None, **options: Any) -> Predictor:
        """Load a trained model.

        Args:
            model: Name of the backbone in the table; None: that of the best row that fits.
            head: Name of the head in the table; None: that of the best row that fits.
            **options: Further arguments of `audioheads.Predictor`.

        Raises:
            ValueError: The table has no such row.
        """
        from audioheads.predictor import Predictor

        for one in self._study.learned:
            if model in (None, one.row["model"]) and head in (None, one.row["head"]):
                return Predictor(one.fit.folder, **options)
        known = ", ".join(self._title(row) for _, row in self.table.iterrows())
        raise ValueError(f"no model {model or ''} {head or ''} in this table; it has {known}")

    @staticmethod
    def _title(row: pd.Series) -> str:
        return f"{row['model']} {row['head']}".strip()

    @cached_property
    def _study(self) -> Study:
        from pipeline.report.study import gather

        return gather(self.config, self._corpus)


def _given_config(data: Any, own: Mapping[str, Any]) -> Config | None:
    """Return the config if `data` is one; then it must hold everything else."""
    if isinstance(data, Config):
        config = data
    elif isinstance(data, str | os.PathLike) and Path(data).suffix.lower() in (".yaml", ".yml"):
        config = load_config(Path(data))
    elif isinstance(data, Mapping) and "dataset" in data:
        config = make_config(data)
    else:
        return None
    for key, value in own.items():
        if value is not None:
            raise ConfigError(f"{key}: given next to a config; set it in the config")
    return config


def _config_of(manifest: Manifest, own: Mapping[str, Any], cache: Path, runs: Path) -> Config:
    """Write the clips to the run folder and return the config that reads them."""
    from pipeline.init.suggest import suggest_protocol

    name = own["name"] or manifest.name
    values: dict[str, Any] = {
        "name": name,
        "dataset": {"kind": "csv", "root": str(runs / name / CLIPS_FILE), "name": manifest.name},
        "features": {"pooling": list(own["pooling"] or DEFAULT_POOLING)},
        "protocol": own["protocol"] or suggest_protocol(manifest).protocol,
        "output": {"cache": str(cache), "runs": str(runs)},
    }
    if manifest.task != "single-label":
        values["dataset"]["task"] = manifest.task
    for section, key in ((values["features"], "backbones"), (values, "heads")):
        if own[key] is not None:
            section[key] = [{"name": one} if isinstance(one, str) else dict(one) for one in own[key]]
    if own["seeds"] is not None:
        values["seeds"] = list(own["seeds"])
    config = make_config(values)
    config.run_dir.mkdir(parents=True, exist_ok=True)
    write_whole(config.run_dir / CLIPS_FILE, manifest.write_csv)
    return config
