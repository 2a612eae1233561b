"""The fits that a config asks for: what each one reads, where it is kept, and whether it is there."""

from __future__ import annotations

from features.errors import UserError
from heads.finetuning.options import Recipe
from heads.options import HeadOptions
from pipeline.config.config import Config, label_of
from pipeline.results.features_index import cached_files
from pipeline.results.run_folder import fit_folder, read_about


def poolings_of(config: Config, head: HeadOptions) -> list[str]:
    """The poolings a head sees.

    Raises:
        UserError: The head reads frames, and none are cached; it reads pooled embeddings, and only frames are.
    """
    if head.reads == "frames":
        if "frames" not in config.features.pooling:
            raise UserError(f"{head.title}: reads frames; add `frames` to features.pooling")
        if head.pooling not in (None, ["frames"]):
            raise UserError(f"{head.title}: reads frames, not {'+'.join(head.pooling or [])}; leave out its `pooling`")
        return ["frames"]
    poolings = head.pooling or [pooling for pooling in config.features.pooling if pooling != "frames"]
    if not poolings or "frames" in poolings:
        raise UserError(f"{head.title}: heads read pooled embeddings; add `mean` to features.pooling")
    return list(poolings)


def head_folder(head: HeadOptions) -> str:
    """The folder name of a head: its title, and its own poolings where it names some."""
    return head.title if head.pooling is None else f"{head.title}-{'+'.join(head.pooling)}"


def expected_fits(config: Config) -> list[tuple[str, str, str]]:
    """(model, head folder, command that trains it) of every fit this config asks for, in the order of the config."""
    heads = [head for head in config.heads if isinstance(head, HeadOptions)]
    frozen = [
        (label_of(backbone), head_folder(head), "train-heads")
        for backbone in config.features.backbones
        for head in heads
    ]
    trained = [(label_of(model), model.head, "finetune") for model in config.finetune if isinstance(model, Recipe)]
    return frozen + trained


def check_embedded(config: Config) -> None:
    """Check that what the heads read is cached. No cache file is opened.

    Raises:
        UserError: A head reads what this config does not cache, or stage 1 has not run with these settings.
    """
    for head in config.heads:
        if isinstance(head, HeadOptions):
            poolings_of(config, head)
    cached_files(config)


def check_trained(config: Config) -> None:
    """Check that every fit is complete. No predictions are read.

    Raises:
        UserError: One is not trained yet; the message has the command.
    """
    for model, head, command in expected_fits(config):
        read_about(fit_folder(config.run_dir, model, head), f"{model} {head}", config.command(command))
