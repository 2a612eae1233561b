"""The table of kinds: options, errors shared by all kinds, and light imports."""

import subprocess
import sys

import pytest
from pydantic import ValidationError

from features.datasets import KINDS, load_manifest, options_class
from features.errors import ConfigError, ManifestError


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_takes_the_common_options_and_describes_its_own(kind):
    model = options_class(kind)
    options = model(kind=kind, root="somewhere", name="my name")
    assert options.name == "my name"
    assert all(field.description for key, field in model.model_fields.items() if key != "kind")
    with pytest.raises(ValidationError, match="rooot"):
        model(kind=kind, rooot="somewhere")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "synthetic"])
def test_a_missing_corpus_names_its_source_and_the_option(kind, tmp_path):
    with pytest.raises(ManifestError) as error:
        load_manifest({"kind": kind, "root": tmp_path / "no such place"})
    message = str(error.value)
    assert str(tmp_path / "no such place") in message
    assert "--set dataset.root=" in message
    assert "\n" not in message
    if kind not in ("folder", "csv", "jsonl", "parquet"):
        assert "http" in message


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in ("synthetic", "csv", "jsonl", "parquet")])
def test_another_layout_names_the_expected_one(kind, tmp_path):
    (tmp_path / "stuff").mkdir()
    (tmp_path / "stuff" / "notes.txt").write_text("no audio")
    with pytest.raises(ManifestError, match="looked for") as error:
        load_manifest({"kind": kind, "root": tmp_path})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("kind", ["esc5", None, 3, ["csv"]])
def test_an_unknown_kind_lists_the_kinds(kind):
    with pytest.raises(ConfigError, match=r"dataset.kind.*esc50, urbansound8k"):
        options_class(kind)


def test_an_unknown_kind_suggests_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'esc50'"):
        load_manifest({"kind": "esc5", "root": "."})


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "esc50", "root": ".", "subset": "esc11"}, "dataset.subset.*'esc10'.*'esc11'"),
        ({"kind": "esc50", "root": ".", "subst": "esc10"}, "dataset.subst: unknown key.*subset"),
        ({"kind": "esc50"}, "dataset.root: missing"),
        ({"kind": "folder", "root": ".", "name": "../up"}, "dataset.name.*without slashes"),
        ({"kind": "synthetic", "min_duration_s": 3, "max_duration_s": 2}, "below min_duration_s"),
        ({"kind": "synthetic", "classes": ["banjo"]}, "unknown sound 'banjo'; use some of .*siren"),
    ],
)
def test_wrong_options_name_the_key(options, message):
    with pytest.raises(ConfigError, match=message) as error:
        load_manifest(options)
    assert "\n" not in str(error.value)


def test_listing_a_corpus_needs_no_torch(tmp_path):
    script = (
        "import sys, features.datasets as d\n"
        "assert not {'torch', 'pandas', 'numpy'} & set(sys.modules)\n"
        f"d.load_manifest(dict(kind='synthetic', root={str(tmp_path)!r}, clips_per_class=1))\n"
        "assert not {'torch', 'transformers', 'librosa'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
