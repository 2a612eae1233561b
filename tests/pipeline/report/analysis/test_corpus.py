"""The numbers of the data section, and which audits it uses."""

import dataclasses
import json

import numpy as np
import pytest

from features.store.content_keys import ClipContent
from heads.splits.protocol import Split, Splits
from heads.splits.targets import targets_of
from pipeline.report.analysis.corpus import audit_notes, divided, durations_of, histogram
from pipeline.report.render.page import render
from pipeline.report.sections import data
from tests.pipeline.report.toy_studies import manifest_of, study_of

HOSTILE = "<script>x</script>"


def study(tmp_path, labels=None, seconds=3.0, **changes):
    labels = labels or [f"{HOSTILE}{row % 4 // 2}" for row in range(20)]
    manifest = manifest_of(labels)
    truth = np.unique(labels, return_inverse=True)[1]
    lengths = np.broadcast_to(seconds, len(labels))
    contents = [ClipContent(f"k{at}", int(16_000 * s), 16_000, 1, 1, "") for at, s in enumerate(lengths)]
    toy = study_of(manifest, {"a · linear": np.eye(truth.max() + 1)[truth][None]}, folder=tmp_path, contents=contents)
    return dataclasses.replace(toy, **changes)


def test_a_histogram_counts_every_value_once():
    found = histogram(np.array([0.0, 0.1, 0.2, 1.0, 1.0, 2.0]))
    assert found is not None and sum(found.counts) == 6
    steps = np.diff(found.middles)
    assert np.allclose(steps, steps[0])
    spread = histogram(np.concatenate([np.zeros(50_000), np.linspace(0, 1000, 50_000)]))
    assert spread is not None and len(spread.counts) <= 30
    assert histogram(np.full(9, 5.0)) is None and histogram(np.array([1.0])) is None


def test_lengths_are_those_of_clips_that_can_be_read():
    contents = [ClipContent("a", 8000, 16_000, 1, 1, ""), ClipContent("", 0, 0, 1, 1, "cut short")]
    assert durations_of(contents).tolist() == [0.5]


def test_clips_of_each_class_in_each_fold_or_side():
    targets = targets_of(manifest_of(["a", "a", "b", "b", "b"]))
    rows = [np.array(part) for part in ([0, 2], [1, 3], [4])]
    parts = [Split(fold, rows[2], rows[2], rows[fold], draw) for draw in (0, 1) for fold in (0, 1)]
    several = Splits("folds", tuple(parts), ())
    found = divided(several, targets)
    assert (found.parts, found.counts, found.totals) == (["0", "1"], {"a": [1, 1], "b": [1, 1]}, [2, 2])
    single = divided(Splits("split", (Split("test", rows[0], rows[2], rows[1]),), ()), targets)
    assert (single.parts, single.counts) == (["train", "valid", "test"], {"a": [1, 0, 1], "b": [1, 1, 1]})


def stored(toy, **changes):
    audit = {
        "format": "audioheads-audit", "format_version": 1, "dataset": "toy", "n_clips": 20, "protocol": "folds",
        "created_utc": "2026-01-01T00:00:00+00:00", "near_duplicates": {"backbones": {"mfcc": {}}},
        "findings": [{"kind": "x", "severity": "warning", "message": f"{HOSTILE} found", "count": 1, "items": []}],
    }  # fmt: skip
    toy.config.run_dir.mkdir(parents=True, exist_ok=True)
    (toy.config.run_dir / "audit.json").write_text(json.dumps(audit | changes))


def test_an_audit_of_these_clips_is_used(tmp_path):
    toy = study(tmp_path)
    stored(toy)
    notes = audit_notes(toy, toy.splits)
    assert notes.created_utc == "2026-01-01T00:00:00+00:00" and notes.near_duplicates
    html = str(render(data.section(toy), toy).html)
    assert HOSTILE not in html and "&lt;script&gt;x&lt;/script&gt; found" in html and "2026-01-01" in html


@pytest.mark.parametrize("change", [{"n_clips": 19}, {"dataset": "other"}, {"protocol": "kfold"}, {"findings": None}])
def test_an_audit_of_other_clips_is_not_used(tmp_path, change):
    toy = study(tmp_path)
    stored(toy, **change)
    notes = audit_notes(toy, toy.splits)
    assert notes.created_utc is None and not notes.near_duplicates
    assert {found["kind"] for found in notes.findings} == {"groups"}
    assert "Near-duplicate clips were not checked" in str(render(data.section(toy), toy).html)


def test_findings_from_labels_and_headers_need_no_audit(tmp_path):
    toy = study(tmp_path, [*["a"] * 38, *["b"] * 2])
    kinds = [(found["severity"], found["kind"]) for found in audit_notes(toy, toy.splits).findings]
    assert ("warning", "imbalance") in kinds and kinds == sorted(kinds, key=lambda one: one[0] == "note")


def test_the_section_shows_lengths_only_where_they_differ(tmp_path):
    alike = data.section(study(tmp_path))
    assert alike.figures == {} and alike.context["facts"]["audio"] == "1.0 min, every clip 3.00 s"
    spread = data.section(study(tmp_path, seconds=np.linspace(0.5, 4.0, 20)))
    assert sum(spread.figures["durations"].series[0].y) == 20
    assert spread.context["facts"]["audio"] == "45.0 s; clips of 0.50 to 4.00 s, median 2.25 s"


def test_failures_are_listed_with_their_reason(tmp_path):
    toy = study(tmp_path)
    toy = dataclasses.replace(toy, inputs=dataclasses.replace(toy.inputs, failures={"clip0003.wav": HOSTILE}))
    html = str(render(data.section(toy), toy).html)
    assert "1 clip failed" in html and HOSTILE not in html and "clip0003.wav" in html
