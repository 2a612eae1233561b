"""Checks of an experiment's labels before any work."""

from __future__ import annotations

import logging

from features.datasets.questions import task_question
from features.errors import ManifestError
from features.manifest import Manifest
from heads.splits.feasibility import check_protocol
from pipeline.config.config import Config

_log = logging.getLogger(__name__)


def check_labels(config: Config, manifest: Manifest) -> None:
    """Check that the protocol can divide the clips, and ask if the labels look like another task.

    Raises:
        ManifestError: The clips do not fit the protocol. Labels that differ only by case or blanks are named too, since
            they are often the reason.
    """
    if question := task_question(manifest, config.dataset):
        _log.warning("%s", question)
    shots = config.few_shot.shots
    try:
        check_protocol(manifest, config.protocol, shots=shots, absent_classes=config.absent_classes)
    except ManifestError as error:
        raise ManifestError("\n".join(filter(None, [str(error), manifest.similar_labels]))) from error
