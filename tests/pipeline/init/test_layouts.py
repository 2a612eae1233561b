"""`audioheads init` on common layouts: a config that runs, without an edit."""

from pathlib import Path

import pandas as pd
import pytest

from features.errors import UserError
from pipeline.cli.app import main
from pipeline.config.config import load_config
from pipeline.console import Console
from pipeline.init import cost
from pipeline.init.layouts import recognise_layout
from pipeline.init.write import run_init
from pipeline.stages.features import load_checked_manifest
from tests import small_layouts as small

LAYOUTS = {
    "audiofolder": (small.audiofolder, "split"),
    "huggingface": (small.parquet_dataset, "split"),
    "saved": (small.saved_dataset, "split"),
    "kaldi": (small.kaldi, "leave-one-group-out"),
    "webdataset": (small.webdataset, "leave-one-group-out"),
    "audacity": (small.audacity, "leave-one-group-out"),
    "raven": (small.raven, "leave-one-group-out"),
}


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "MEASURED_S", 0.01)


def init(path, output="x.yaml"):
    return load_config(run_init(path, Path(output), device="cpu", force=True, console=Console()))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_is_recognised_with_labels_and_groups(tmp_path, name):
    make, protocol = LAYOUTS[name]
    config = init(make(tmp_path / "corpus"), tmp_path / "x.yaml")
    assert (config.dataset.kind, config.protocol) == ("huggingface" if name == "saved" else name, protocol)
    manifest = load_checked_manifest(config)
    assert (len(manifest), manifest.labels) == (12, ["dog", "siren"])
    assert manifest.clips["group"].nunique() == 3


@pytest.mark.e2e
@pytest.mark.parametrize("name", LAYOUTS)
def test_a_layout_becomes_a_table_without_an_edit(tmp_path, name, capsys):
    LAYOUTS[name][0](tmp_path / "corpus")
    root = "corpus/data/all" if name == "kaldi" else "corpus"
    for command in (
        ["init", root, "-o", "x.yaml"],
        [
            "run",
            "x.yaml",
            "--set",
            "seeds=[0]",
            "--set",
            "heads=[{name: linear}]",
            "--set",
            "features.backbones=[{name: mfcc}]",
        ],
        ["datasets", "audit", "x.yaml", "--set", "features.backbones=[{name: mfcc}]"],
    ):
        with pytest.raises(SystemExit) as end:
            main(command)
        assert end.value.code == 0, capsys.readouterr()
    table = pd.read_csv(tmp_path / "runs" / "x" / "report" / "results.csv")
    assert set(table["model"]) >= {"mfcc"}
    in_containers = name in ("huggingface", "saved", "webdataset")
    copies = [*(tmp_path / "runs" / "x" / "report" / "audio").glob("*")]
    assert len(copies) == (0 if not in_containers else 12 if name == "webdataset" else 4)


def test_one_archive_and_one_parquet_file(tmp_path):
    archive = small.webdataset(tmp_path / "w") / "clips-000000.tar"
    assert load_checked_manifest(init(archive)).clips["path"].str.endswith(".flac").all()
    file = small.parquet_dataset(tmp_path / "p") / "data" / "train-00000-of-00001.parquet"
    assert init(file).dataset.kind == "huggingface"


def test_texts_beside_clips_are_not_audacity_labels(tmp_path):
    for label, take, _ in small.clips():
        small.write(tmp_path / "c" / label / f"{take}.wav", small.encoded(label, take))
        (tmp_path / "c" / label / f"{take}.txt").write_text("she said hello\n")
    assert init(tmp_path / "c").dataset.kind == "folder"


def test_a_metadata_table_of_a_few_files_is_not_the_labels(tmp_path):
    for label, take, _ in small.clips():
        small.write(tmp_path / "c" / label / f"{take}.wav", small.encoded(label, take))
    (tmp_path / "c" / "metadata.csv").write_text("file_name,label\ndog/0.wav,a\nsiren/0.wav,b\n")
    assert init(tmp_path / "c").dataset.kind == "folder"


def test_a_clear_layout_with_an_error_says_so(tmp_path):
    folder = small.kaldi(tmp_path / "k")
    (folder / "wav.scp").write_text("a sox x.mp3 -t wav - |\n")
    with pytest.raises(UserError, match=r"commands are not run; .*; recognised as a Kaldi data folder"):
        init(folder)


def test_transcripts_as_labels_get_a_note(tmp_path):
    folder = small.kaldi(tmp_path / "k")
    utterances = [line.split()[0] for line in (folder / "text").read_text().splitlines()]
    texts = ["yes", "no", "yes", "no", *(f"sentence {number}" for number in range(8))]
    (folder / "text").write_text("".join(f"{one} {text}\n" for one, text in zip(utterances, texts, strict=True)))
    found = recognise_layout(folder)
    assert found.notes == [
        "10 different labels for 12 clips look like transcripts; set `labels` to the file with a class per utterance"
    ]


def test_a_folder_of_archives_says_to_unpack_them(tmp_path):
    small.write(tmp_path / "c" / "part1.zip", b"PK")
    small.write(tmp_path / "c" / "part2.tar.gz", b"x")
    with pytest.raises(UserError, match=r"contains no audio files, but 2 archive\(s\), first part1.zip; unpack them"):
        init(tmp_path / "c")


def test_archives_beside_clips_get_a_note(tmp_path):
    for label, take, _ in small.clips():
        small.write(tmp_path / "c" / label / f"{take}.wav", small.encoded(label, take))
    small.write(tmp_path / "c" / "more.zip", b"PK")
    init(tmp_path / "c")
    assert "Note: 1 archive(s) are not read, first more.zip" in (tmp_path / "x.yaml").read_text()
