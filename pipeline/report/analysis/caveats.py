"""What limits the scores of an experiment: unknown groups, classes without training clips, folds of one class."""

from __future__ import annotations

from features.backbones.presets.exposure import Exposure
from heads.splits.protocol import Splits
from heads.splits.targets import targets_of
from pipeline.report.sentence import Name, Sentence
from pipeline.report.study import Study
from pipeline.results.contamination import backbones_of, corpus_of, exposure_of
from pipeline.results.refit import MUCH, held_out
from pipeline.results.table import INDEPENDENT, REFIT, counted


def unknown_groups(study: Study) -> Sentence | None:
    """Return a sentence if no groups are known, so that every clip counts as independent; None if they are known."""
    if study.n_groups:
        return None
    found = study.suggested_groups
    if found is None:
        return (INDEPENDENT,)
    listed: list[str | Name] = []
    for value in found.examples:
        listed += [", " if listed else "", Name(value)]
    dataset = study.config.dataset
    patterned = "pattern" in type(dataset).model_fields and getattr(dataset, "pattern", None) is None
    before, after = found.around(with_pattern=patterned)
    return (f"{INDEPENDENT} {before}", *listed, after)


def caveats(study: Study) -> tuple[Sentence, ...]:
    """Return further sentences to print below the answer."""
    seen = _seen_in_training(study)
    if study.splits is None:
        return seen
    found = (
        *seen,
        _absent_classes(study, study.splits),
        _single_class_folds(study, study.splits),
        _few_to_train_on(study, study.splits),
    )
    return tuple(sentence for sentence in found if sentence)


def _seen_in_training(study: Study) -> tuple[Sentence, ...]:
    """Say which pretrained weights have seen the corpus or its source, and why this is known."""
    corpus, backbones = corpus_of(study.config), backbones_of(study.config)
    found: dict[str, Exposure] = {}
    for model in study.learned:
        label = str(model.row["model"])
        own = exposure_of(model.row, backbones.get(label, label), corpus)
        if own is not None and own.seen:
            found[label] = own
    return tuple(
        ("Scores of ", Name(label), f" may be too high, because it {own.mark}. {own.reason}")
        for label, own in found.items()
    )


def _absent_classes(study: Study, splits: Splits) -> Sentence | None:
    """Say how many test clips count as errors, because no training clip of their fold has their class."""
    if not splits.n_absent:
        return None
    total = int(study.models[0].row["n_test"])
    most = f", so accuracy cannot exceed {1 - splits.n_absent / total:.3f}" if study.metric == "accuracy" else ""
    return (
        f"{splits.n_absent} of {counted(total, 'test clip')} have a class without a training clip in their fold. They "
        f"count as errors{most}.",
    )


def _single_class_folds(study: Study, splits: Splits) -> Sentence | None:
    """Say what accuracy means if test folds hold one class only, and give balanced accuracy instead."""
    if study.manifest.task != "single-label":
        return None
    numbers = targets_of(study.manifest).values
    folds = {str(split.fold): len(set(numbers[split.test].tolist())) for split in splits.splits}
    single = sum(count == 1 for count in folds.values())
    if not single:
        return None
    best = study.learned[0]
    balanced = [best.row[f"balanced_accuracy{end}"] for end in ("", "_ci_low", "_ci_high")]
    return (
        f"{single} of {len(folds)} test folds hold{'s' if single == 1 else ''} one class only. There, accuracy is the "
        "recall of that class, and the mean of folds weighs classes by their folds. Balanced accuracy, the mean of the "
        "classes' recalls over all folds, treats them alike: ",
        Name(best.title),
        " {:.3f} ({:.3f}–{:.3f}).".format(*balanced),
    )


def _few_to_train_on(study: Study, splits: Splits) -> Sentence | None:
    """Offer `refit` if validation takes much of few training clips and no row was refitted."""
    if any(str(model.row["protocol"]).endswith(REFIT) for model in study.models):
        return None
    if not any(model.row["family"] in ("frozen", "handcrafted") for model in study.models):
        return None
    held = held_out(splits)
    if held.share < MUCH:
        return None
    return (
        f"Validation took {held.valid} of {held.valid + held.train} clips per fold that could be trained on. "
        "The line refit: true in the config trains the chosen heads again on all of them.",
    )
