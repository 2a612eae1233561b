"""Choose clips and labels of a dataset: conditions, names, sizes, and the sentences that describe each step."""

from collections import Counter

import numpy as np
import pytest
import soundfile as sf

from features.datasets import load_manifest
from features.datasets.choosing.condition import Condition
from features.errors import ConfigError, ManifestError

ROWS = """path,label,snr_db,lang,set
a.wav,dog,12,en,1
b.wav,Dog,8,de,1
c.wav,cat,,en,2
d.wav,cat,30.5,fr,2
e.wav,bird,10,en,01
f.wav,dog,9,"",3
"""


@pytest.fixture
def choose(tmp_path):
    (tmp_path / "clips.csv").write_text(ROWS)

    def load(**options):
        return load_manifest({"kind": "csv", "root": tmp_path / "clips.csv", **options})

    return load


def paths(manifest):
    return "".join(path[0] for path in manifest.clips["path"])


@pytest.mark.parametrize(
    ("where", "kept"),
    [
        ("snr_db > 9", "ade"),
        ("snr_db>=9", "adef"),
        ("snr_db < 10", "bf"),
        ("snr_db <= 10.0", "bef"),
        ("snr_db == 30.50", "d"),
        ("snr_db = null", "c"),
        ("snr_db != null", "abdef"),
        ("lang == en", "ace"),
        ("lang != 'en'", "bdf"),
        ("lang in [en, de]", "abce"),
        ("lang not in [en, de]", "df"),
        ("lang not in [en, de, null]", "d"),
        ("set == 1", "ab"),
        ("set == 01", "e"),
        ('"label" == dog', "af"),
        (["lang == en", "snr_db > 11"], "a"),
    ],
)
def test_a_condition_keeps_the_clips_that_meet_it(choose, where, kept):
    assert paths(choose(where=where)) == kept


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("snr_db", "'snr_db' is no condition: write a column, one of =="),
        ("lang > en", "compares numbers, and 'en' is none"),
        ("lang in en", "`in` needs a list, such as `lang in \\[a, b\\]`"),
        ("colour == red", "no column 'colour', columns: path, label, snr_db, lang, set"),
        ("lang < 3", "line 2 has 'en' as lang, which dataset.where `lang < 3` cannot compare"),
        ("lang == xx", "no clip meets dataset.where `lang == xx`; lang holds en, de, fr, null"),
    ],
)
def test_a_condition_that_cannot_hold_is_one_line(choose, where, message):
    with pytest.raises((ConfigError, ManifestError), match=message) as raised:
        choose(where=where)
    assert "\n" not in str(raised.value)


def test_labels_are_merged_and_kept_by_their_new_names(choose):
    manifest = choose(rename={"Dog": "dog"}, include=["dog", "cat"])
    assert manifest.labels == ["cat", "dog"]
    assert paths(manifest) == "abcdf"
    assert manifest.choices == (
        "rename: Dog → dog (1 clips)",
        "include dog, cat: 2 of 3 classes and 5 of 6 clips kept, without bird",
    )
    assert paths(choose(exclude=["dog", "Dog"])) == "cde"


def test_small_classes_are_left_out(choose):
    manifest = choose(min_clips=2)
    assert Counter(manifest.clips["label"]) == {"dog": 2, "cat": 2}
    assert manifest.choices == ("min_clips 2: 2 of 4 classes and 4 of 6 clips kept, without Dog, bird",)


def test_conditions_come_before_classes_are_counted(choose):
    manifest = choose(where="lang != fr", min_clips=2)
    assert manifest.labels == ["dog"]
    assert manifest.choices[0] == "where lang != fr: 5 of 6 clips kept"


@pytest.mark.parametrize("key", ["include", "exclude"])
def test_an_unknown_label_is_named_with_a_similar_one(choose, key):
    with pytest.raises(ConfigError, match=f"dataset.{key}: no clip has the label 'dogs', did you mean 'dog'"):
        choose(**{key: ["dogs"]})
    with pytest.raises(ConfigError, match=r"dataset.rename: no clip has the label 'cow', labels: Dog, bird, cat, dog"):
        choose(rename={"cow": "dog"})


def test_no_clip_left_is_an_error(choose):
    with pytest.raises(ManifestError, match=r"dataset.min_clips leaves no clip with a label"):
        choose(min_clips=9)


def write_table(tmp_path, order):
    path = tmp_path / "many.csv"
    path.write_text("path,label\n" + "".join(f"{n}.wav,{'ab'[n % 2]}\n" for n in order))
    return path


def test_drawn_clips_depend_on_ids_and_seed_not_on_order(tmp_path):
    def drawn(order, **options):
        root = write_table(tmp_path, order)
        return load_manifest({"kind": "csv", "root": root, "max_clips_per_class": 5, **options})

    first = drawn(range(60))
    assert Counter(first.clips["label"]) == {"a": 5, "b": 5}
    assert first.choices == ("max_clips_per_class 5: 10 of 60 clips kept, drawn with seed 0 from 2 larger classes",)
    ids = set(first.clips["id"])
    assert set(drawn(reversed(range(60))).clips["id"]) == ids
    assert set(drawn(range(60), choice_seed=1).clips["id"]) != ids
    more = set(drawn(range(60), max_clips_per_class=9).clips["id"])
    assert ids < more, "a smaller draw is part of a larger one"


def test_lists_of_labels(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text('path,label\na.wav,"[""x"", ""y""]"\nb.wav,"[""y""]"\nc.wav,[]\nd.wav,"[""z""]"\n')
    load = lambda **options: load_manifest({"kind": "csv", "root": path, **options}).clips  # noqa: E731
    kept = load(exclude=["y"])
    assert kept["label"].tolist() == [("x",), (), ("z",)], "a clip that has lost all its labels is gone"
    assert load(rename={"x": "y"})["label"].tolist() == [("y",), ("y",), (), ("z",)]
    assert load(include=["z"])["path"].tolist() == ["c.wav", "d.wav"]


def test_numbers_have_no_classes_to_choose(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text("path,label\na.wav,1.5\nb.wav,2.5\nc.wav,3.5\n")
    with pytest.raises(ConfigError, match=r"dataset.min_clips: the labels of clips are numbers .*use where"):
        load_manifest({"kind": "csv", "root": path, "min_clips": 2})
    assert len(load_manifest({"kind": "csv", "root": path, "where": "label >= 2.5"})) == 2


def test_any_reader_can_choose(tmp_path):
    for label in ("a", "b", "c"):
        (tmp_path / label).mkdir()
        for number in range(3 if label != "c" else 1):
            sf.write(tmp_path / label / f"{number}.wav", np.zeros(10), 8000)
    manifest = load_manifest({"kind": "folder", "root": tmp_path, "min_clips": 2, "where": "id != a/0.wav"})
    assert Counter(manifest.clips["label"]) == {"a": 2, "b": 3}
    with pytest.raises(ConfigError, match=r"no column 'snr', columns: id, path, label"):
        load_manifest({"kind": "folder", "root": tmp_path, "where": "snr > 1"})


def test_a_condition_needs_a_column():
    with pytest.raises(ValueError, match="is no condition"):
        Condition.parse("== 3")


def test_labels_that_yaml_reads_as_numbers(tmp_path):
    path = tmp_path / "clips.csv"
    path.write_text("path,label\na.wav,1\nb.wav,2\nc.wav,3\n")
    manifest = load_manifest({"kind": "csv", "root": path, "exclude": [3], "rename": {1: "one", "2": 12}})
    assert manifest.labels == ["12", "one"]
