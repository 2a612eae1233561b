"""Windows become events: hysteresis, minimum length, one class at a time, and files that the readers read back."""

import numpy as np
import pandas as pd
import pytest
import soundfile as sf

from features.datasets.layouts import audacity, raven
from features.errors import UserError
from pipeline.predicting.event_formats import check_recordings, event_format, write_events
from pipeline.predicting.events import Event, EventOptions, events_of
from pipeline.predicting.output_formats import Scored

LABELS = ("dog", "cat")
THRESHOLDS = np.array([0.6, 0.5])


def windows(scores, clip="a.wav"):
    """Windows of a second, with the scores of both classes; None: the window failed."""
    return [
        Scored(clip, None if values is None else np.array(values, np.float32), float(at), float(at + 1))
        for at, values in enumerate(scores)
    ]


def found(rows, task="multi-label", abstain=True, **options):
    events = events_of(rows, LABELS, THRESHOLDS, task, EventOptions(**options), abstain=abstain)
    return [(event.id, event.onset_s, event.offset_s, event.label, event.score) for event in events]


def test_windows_of_one_decision_are_one_event_with_its_peak():
    rows = windows([[0.1, 0.1], [0.7, 0.1], [0.9, 0.1], [0.6, 0.1], [0.1, 0.1]])
    assert found(rows) == [("a.wav", 1.0, 4.0, "dog", 0.9)]


def test_an_event_goes_on_above_the_lower_threshold_but_does_not_start_there():
    rows = windows([[0.55, 0], [0.7, 0], [0.55, 0], [0.45, 0], [0.55, 0]])
    assert found(rows) == [("a.wav", 1.0, 3.0, "dog", 0.7)]
    assert found(rows, release=1.0) == [("a.wav", 1.0, 2.0, "dog", 0.7)]
    assert found(rows, release=0.7) == [("a.wav", 1.0, 5.0, "dog", 0.7)]


def test_short_events_are_left_out():
    rows = windows([[0.7, 0], [0, 0], [0.7, 0], [0.7, 0]])
    assert found(rows, min_s=2.0) == [("a.wav", 2.0, 4.0, "dog", 0.7)]


def test_classes_overlap_only_if_a_clip_can_have_several():
    rows = windows([[0.7, 0.1], [0.55, 0.6], [0.55, 0.1]])
    assert found(rows) == [("a.wav", 0.0, 3.0, "dog", 0.7), ("a.wav", 1.0, 2.0, "cat", 0.6)]
    assert found(rows, "single-label") == [("a.wav", 0.0, 1.0, "dog", 0.7), ("a.wav", 1.0, 2.0, "cat", 0.6)]


def test_a_model_that_always_answers_has_no_gaps():
    rows = windows([[0.3, 0.1], [0.2, 0.1], [0.1, 0.3]])
    assert found(rows, "single-label") == []
    answered = found(rows, "single-label", abstain=False)
    assert answered == [("a.wav", 0.0, 2.0, "dog", 0.3), ("a.wav", 2.0, 3.0, "cat", 0.3)]


def test_failed_windows_and_other_recordings_end_an_event():
    rows = windows([[0.7, 0], None, [0.8, 0]]) + windows([[0.9, 0]], "b.wav")
    assert [event[:3] for event in found(rows)] == [("a.wav", 0.0, 1.0), ("a.wav", 2.0, 3.0), ("b.wav", 0.0, 1.0)]
    assert found([]) == []


@pytest.mark.parametrize(
    ("options", "named"), [({"release": 0.0}, "--release 0"), ({"min_s": -1.0}, "--min-event-s -1")]
)
def test_impossible_options_are_refused(options, named):
    with pytest.raises(UserError, match=named):
        EventOptions(**options)


def test_formats_follow_the_suffix(tmp_path):
    names = {"a.csv": "csv", "a.txt": "audacity", "a.selections.txt": "raven", "a.tsv": "raven"}
    assert {name: event_format(tmp_path / name, None) for name in names} == names
    assert event_format(tmp_path / "a.txt", "raven") == "raven"
    for path, given in ((tmp_path / "a.xml", None), (tmp_path / "a.csv", "xml")):
        with pytest.raises(UserError, match=r"use \.csv|use csv"):
            event_format(path, given)
    with pytest.raises(UserError, match="belongs to one recording, got 2"):
        check_recordings("audacity", ["a", "b"])


@pytest.fixture
def recorded(tmp_path):
    sf.write(tmp_path / "rec.wav", np.zeros(80_000, np.float32), 16_000)
    return [
        Event(str(tmp_path / "rec.wav"), 0.5, 2.25, "dog", 0.91),
        Event(str(tmp_path / "rec.wav"), 3.0, 4.0, "cat\tor\ndog", 0.5),
    ]


@pytest.mark.parametrize(("kind", "name", "reader"), [("audacity", "rec.txt", audacity), ("raven", "x.tsv", raven)])
def test_the_dataset_readers_read_the_events_back(kind, name, reader, recorded, tmp_path):
    write_events(recorded, kind, tmp_path / name)
    clips = reader.index(tmp_path).clips
    assert clips["label"].tolist() == ["dog", "cat or dog"]
    assert clips["start_s"].tolist() == [0.5, 3.0] and clips["duration_s"].tolist() == [1.75, 1.0]


def test_csv_has_one_row_per_event(recorded, tmp_path):
    write_events(recorded, "csv", tmp_path / "e.csv")
    table = pd.read_csv(tmp_path / "e.csv")
    assert table.columns.tolist() == ["id", "onset_s", "offset_s", "label", "score"]
    assert table["score"].tolist() == [0.91, 0.5] and table["label"].tolist() == ["dog", "cat\tor\\ndog"]
