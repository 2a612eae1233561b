"""`audioheads backbones check NAME`: the contract of a backbone, checked on this machine with these weights."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from features.backbones import describe_new, load, parse_options
from features.backbones.contract.checks import GOLDEN, Subject, checks_of, run_checks, why_not_compared
from features.backbones.contract.clips import make_clips, usual_lengths
from pipeline.config.overrides import apply_overrides
from pipeline.console import Console

LIMIT_S = 90.0  # no check starts later, so that the command ends within two minutes
SHORT_WINDOWS_S = 10.0  # the shortest `max_duration_s`; long clips are windows of any length
WORDS = {True: "holds", False: "FAILS", None: "skipped"}


def check_backbone(name: str, sets: Sequence[str], *, device: str, console: Console) -> bool:
    """Load a backbone, run every check and print what holds.

    Args:
        name: A backbone or preset.
        sets: Options of its entry, as `key=value`.
        device: `auto`, or a torch device.
        console: Prints the findings.

    Returns:
        Whether nothing fails.

    Raises:
        ConfigError: An option is unknown or invalid.
        WeightsError: The weights cannot be found or downloaded, or are not those of the preset.
    """
    from pipeline.stages.features import resolve_device

    entry: dict[str, Any] = {"name": name, "max_duration_s": SHORT_WINDOWS_S}
    apply_overrides(entry, sets)
    options = parse_options(entry)
    device = resolve_device(device)
    started = time.monotonic()
    spec = describe_new(options)
    backbone = load(options, device, spec=spec)
    weights = f"{spec.weights}, sha256 {spec.weights_sha256[:12]}" if spec.weights_sha256 else spec.weights
    console.line(f"{spec.title}: {weights}; on {backbone.device_name}, {spec.sample_rate} Hz")
    subject = Subject(backbone, make_clips(*usual_lengths(spec.sample_rate)), lambda: load(options, device, spec=spec))
    checks = checks_of(backbone)
    width = max(map(len, checks))
    failed = skipped = 0
    for finding in run_checks(subject, LIMIT_S - (time.monotonic() - started)):
        failed += finding.holds is False
        skipped += finding.holds is None
        console.line(f"  {WORDS[finding.holds]:<7}  {finding.name:<{width}}  {finding.detail}")
    if reason := why_not_compared(backbone):
        console.line(f"  {WORDS[None]:<7}  {GOLDEN:<{width}}  {reason}")
    took = f"{time.monotonic() - started:.0f} s"
    if failed:
        console.line(f"{spec.title}: {failed} of {len(checks)} checks fail; {took}")
    else:
        unchecked = f", {skipped} were skipped for lack of time" if skipped else ""
        console.line(f"{spec.title}: {len(checks) - skipped} of {len(checks)} checks hold{unchecked}; {took}")
    return not failed
