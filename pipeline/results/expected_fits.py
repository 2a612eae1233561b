"""The fits of a config: their inputs, folders, and whether they exist."""

from __future__ import annotations

from features.errors import UserError
from heads.finetuning.options import Recipe
from heads.options import HeadOptions
from pipeline.config.config import Config, label_of
from pipeline.results.features_index import cached_files
from pipeline.results.run_folder import fit_folder, read_about


def poolings_of(config: Config, head: HeadOptions) -> list[str]:
    """Return the poolings that a head reads.

    Raises:
        UserError: The head reads frames or pooled embeddings, but the config does not cache them.
    """
    if head.reads_frames:
        if "frames" not in config.features.pooling:
            raise UserError(f"{head.title}: reads frames; add `frames` to features.pooling")
        if head.pooling not in (None, ["frames"]):
            raise UserError(f"{head.title}: reads frames, not {'+'.join(head.pooling or [])}; remove its `pooling`")
        return ["frames"]
    poolings = head.pooling or [pooling for pooling in config.features.pooling if pooling != "frames"]
    if not poolings or "frames" in poolings:
        raise UserError(f"{head.title}: heads read pooled embeddings; add `mean` to features.pooling")
    return list(poolings)


def head_folder(head: HeadOptions) -> str:
    """Return the folder name of a head: its title, and its poolings if it sets any."""
    return head.title if head.pooling is None else f"{head.title}-{'+'.join(head.pooling)}"


def expected_fits(config: Config) -> list[tuple[str, str, str]]:
    """Return (model, head folder, command that trains it) of every fit of a config, in its order."""
    heads = [head for head in config.heads if isinstance(head, HeadOptions)]
    frozen = [
        (label_of(backbone), head_folder(head), "train-heads")
        for backbone in config.features.backbones
        for head in heads
    ]
    trained = [(label_of(model), model.head, "finetune") for model in config.finetune if isinstance(model, Recipe)]
    return frozen + trained


def next_stage(config: Config, stage: str) -> str:
    """Return the command that continues an experiment after a finished stage.

    Args:
        config: The experiment.
        stage: `features`, or the command that trained the fits.
    """
    stages = ["features", *dict.fromkeys(command for _, _, command in expected_fits(config)), "report"]
    return stages[stages.index(stage) + 1]


def check_embedded(config: Config) -> None:
    """Check that the inputs of all heads are cached. No cache file is opened.

    Raises:
        UserError: The config does not cache the input of a head, or stage 1 has not run with these settings.
    """
    for head in config.heads:
        if isinstance(head, HeadOptions):
            poolings_of(config, head)
    cached_files(config)


def check_trained(config: Config) -> None:
    """Check that every fit is complete. No predictions are read.

    Raises:
        UserError: A fit is not trained yet; the message has the command to run.
    """
    for model, head, command in expected_fits(config):
        read_about(fit_folder(config.run_dir, model, head), f"{model} {head}", config.command(command))
