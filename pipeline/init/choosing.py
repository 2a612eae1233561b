"""What `init` says about choosing clips: classes too small for any protocol, labels to merge, other tasks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from features.datasets import options_class
from features.datasets.choosing.choice import Choice
from features.datasets.questions import task_question
from features.errors import ManifestError
from features.manifest import Manifest
from heads.splits.feasibility import MIN_GROUPS, check_protocol
from heads.splits.groups import clip_groups
from heads.splits.targets import targets_of
from pipeline.init.found import Proposal

HINT = (
    "To choose clips, add to `dataset` any of include: [a, b], exclude: [c], rename: {old: new}, min_clips: 10, "
    'max_clips_per_class: 100, where: "column > 3". Embeddings that are already cached are used again.'
)


def questions(manifest: Manifest, options: Mapping[str, Any]) -> list[str]:
    """Return what to check about the labels: another task, labels that look the same."""
    parsed = options_class(options["kind"])(**options)
    return [text for text in (task_question(manifest, parsed), manifest.similar_labels) if text]


def leaving_out(manifest: Manifest, protocol: str) -> dict[str, Any] | None:
    """Return the options of `dataset` that leave out the classes which are too small for a protocol.

    Returns:
        Options, or None if no choice of classes makes the protocol possible.
    """
    for options in _ways(manifest):
        try:
            check_protocol(_choice(options).apply(manifest), protocol)
        except ManifestError:
            continue
        return options
    return None


def small_classes(manifest: Manifest, needs: Mapping[str, Any]) -> str:
    """Say how many classes the options in `needs` leave out."""
    small = len(manifest.labels) - len(_choice(needs).apply(manifest).labels)
    return f"{small} of {len(manifest.labels)} classes are too small for every protocol"


def proposals(needs: Mapping[str, Any], manifest: Manifest) -> list[Proposal]:
    """Return the lines that leave out the classes which are too small."""
    if not needs:
        return []
    kept = len(_choice(needs).apply(manifest))
    why = (
        f"{small_classes(manifest, needs)}, so a run stops with a message. This line leaves them out ({kept} of "
        f"{len(manifest)} clips stay)"
    )
    return [Proposal(key, value, why) for key, value in needs.items()]


def _choice(options: Mapping[str, Any]) -> Choice:
    return Choice(exclude=tuple(options.get("exclude", ())), min_clips=options.get("min_clips"))


def _ways(manifest: Manifest) -> Iterator[dict[str, Any]]:
    if manifest.task == "regression":
        return
    if any(count < MIN_GROUPS for count in manifest.label_counts.values()):
        yield {"min_clips": MIN_GROUPS}
    targets, groups = targets_of(manifest), clip_groups(manifest)
    for sides, least in ((groups, MIN_GROUPS), (manifest.clips.get("fold", manifest.clips.get("split")), 2)):
        if sides is None:
            continue
        numbers = np.unique(np.asarray(sides).astype(str), return_inverse=True)[1]
        held = [len(np.unique(numbers[members])) for members in targets.members.T]
        few = [name for name, count in zip(targets.names, held, strict=True) if count < least]
        if few and len(few) < len(targets.names) - 1:
            yield {"exclude": few}
