"""`init` on tables: where the audio is, which columns count, several tables, and tables it cannot use."""

import re

import pytest

from features.errors import UserError
from pipeline.config.config import load_config
from pipeline.console import Console
from pipeline.init import cost
from pipeline.init.write import run_init
from pipeline.stages.features import load_checked_manifest
from tests.pipeline.init.layouts import clips, fsd50k, meta_beside_audio, write


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(cost, "MEASURED_S", 0.01)


def init(path, **options):
    return run_init(path, None, device="cpu", force=True, console=Console(), **options)


def read(config):
    return load_checked_manifest(load_config(config))


def without_mark(config, key):
    """Remove the `# ` before a proposed option, as a user would."""
    text = config.read_text()
    assert len(re.findall(rf"^  # {key}: ", text, re.MULTILINE)) >= 1
    config.write_text(re.sub(rf"^  # (?={key}: )", "  ", text, count=1, flags=re.MULTILINE))
    return config


@pytest.mark.parametrize("alone", [False, True])
def test_a_table_beside_a_folder_of_audio(tmp_path, alone):
    root = meta_beside_audio(tmp_path / "corpus")
    config = load_config(init(root / "meta.csv" if alone else root))
    assert (config.dataset.kind, config.protocol) == ("csv", "leave-one-group-out")
    assert config.dataset.audio_root == root / "audio"
    manifest = read("meta.yaml" if alone else "corpus.yaml")
    assert manifest.labels == ["cat", "dog"] and manifest.path_of(0).is_file()
    assert manifest.clips["group"].nunique() == 7


def test_names_without_extension_and_two_tables(tmp_path):
    config = init(fsd50k(tmp_path / "fsd"))
    assert load_config(config).protocol == "split"
    manifest = read(without_mark(config, "task"))
    assert (manifest.task, manifest.labels) == ("multi-label", ["Bark", "Cat", "Dog", "Meow"])
    assert manifest.clips["split"].value_counts().to_dict() == {"test": 12, "train": 9, "valid": 3}
    assert all(manifest.path_of(row).is_file() for row in range(len(manifest)))
    text = config.read_text()
    assert (
        re.search(r"the table \S+/dev.csv: 12 clips, 3 classes", text.replace("\n# ", " ")) and "suffix: .wav" in text
    )


def test_two_folders_with_the_same_names_are_both_listed(tmp_path):
    names = [f"{n}.wav" for n in range(12)]
    clips(tmp_path / "corpus" / "wav16", *names)
    clips(tmp_path / "corpus" / "wav48", *names)
    write(tmp_path / "corpus" / "meta.csv", "path,label", *(f"{name},{'ab'[n % 2]}" for n, name in enumerate(names)))
    config = init(tmp_path / "corpus")
    root = load_config(config).dataset.audio_root
    assert root.name in ("wav16", "wav48")
    other = {"wav16": "wav48", "wav48": "wav16"}[root.name]
    assert f"same table with the audio in {tmp_path}/corpus/{other}:" in config.read_text().replace("\n# ", " ")
    line = next(line for line in config.read_text().splitlines() if line.startswith("# dataset:") and other in line)
    (tmp_path / "other.yaml").write_text(line.removeprefix("# "))
    assert str(read(tmp_path / "other.yaml").path_of(0)).endswith(f"{other}/0.wav")


def test_a_table_that_cannot_be_used_is_named_with_its_columns(tmp_path):
    clips(tmp_path / "corpus" / "wav", *(f"x{n}y.wav" for n in range(6)))
    write(tmp_path / "corpus" / "meta.csv", "filename,remark", *(f"x{n}y.wav,{n}" for n in range(6)))
    with pytest.raises(
        UserError,
        match=r"6 audio file\(s\), but no labels: .*the tables cannot be used: .*meta.csv: no column 'label' "
        r"\(columns: 'filename', 'remark'\); looked for label, labels, class",
    ):
        init(tmp_path / "corpus")
    write(tmp_path / "corpus" / "meta.csv", "filename,label", *(f"z{n}.wav,{n % 2}" for n in range(6)))
    with pytest.raises(UserError, match=r"meta.csv: 6 of 6 files are missing, .*set dataset.audio_root"):
        init(tmp_path / "corpus")


def test_two_tables_that_disagree_are_both_listed(tmp_path):
    names = [f"{n}.wav" for n in range(12)]
    clips(tmp_path / "c", *names)
    write(tmp_path / "c" / "first.csv", "path,label", *(f"{name},{'ab'[n % 2]}" for n, name in enumerate(names)))
    write(tmp_path / "c" / "second.csv", "path,label", *(f"{name},{'ab'[n // 3 % 2]}" for n, name in enumerate(names)))
    config = init(tmp_path / "c")
    text = re.sub(r"\n# ", " ", config.read_text())
    assert "disagree on the label of 4 of 12 files; the first is used" in text
    assert load_config(config).dataset.root.name == "first.csv"
    assert re.search(r"the table \S*second.csv: 12 clips, 2 classes:", text)


def test_a_table_of_some_of_the_audio(tmp_path):
    clips(tmp_path / "c", *(f"wav/{n}.wav" for n in range(30)))
    write(tmp_path / "c" / "meta.csv", "path,label", *(f"wav/{n}.wav,{'ab'[n % 2]}" for n in range(12)))
    config = init(tmp_path / "c")
    assert len(read(config)) == 12
    assert "lists 12 of 30 audio files; the others are left out" in re.sub(r"\n# ", " ", config.read_text())


def test_the_manifest_of_a_run_is_no_table_of_the_folder(tmp_path):
    names = [f"{label}/{n}.wav" for label in ("x", "y") for n in range(6)]
    clips(tmp_path / "c", *names)
    write(tmp_path / "c" / "runs" / "c" / "manifest.csv", "path,label", *(f"../../{name},z{name[2]}" for name in names))
    write(tmp_path / "c" / "runs" / "c" / "config.yaml", "name: c")
    assert read(init(tmp_path / "c")).labels == ["x", "y"]


def test_columns_that_are_nearly_one_or_could_be_one_are_proposed(tmp_path):
    clips(tmp_path, *(f"{n}.wav" for n in range(12)))
    rows = (f"{n}.wav,{'ab'[n % 2]},{n % 2},{n // 4},s{n // 3}" for n in range(12))
    write(tmp_path / "list.csv", "path,category,target,folds,speaker", *rows)
    config = init(tmp_path / "list.csv")
    text = config.read_text()
    assert "  # label_column: target" in text and "  # fold_column: folds" in text and "is it the fold?" in text
    assert load_config(config).protocol == "leave-one-group-out"
    assert read(without_mark(config, "fold_column")).clips["fold"].nunique() == 3


def test_onsets_and_offsets_without_ids(tmp_path):
    clips(tmp_path, "x.wav", "y.wav", seconds=3)
    rows = (f"{name}.wav,{n / 2},{n / 2 + 0.4},{'ab'[n % 2]}" for name in "xy" for n in range(6))
    write(tmp_path / "events.csv", "filename,onset,offset,event_label", *rows)
    manifest = read(init(tmp_path / "events.csv"))
    assert manifest.clips["id"].tolist()[:2] == ["x.wav@0", "x.wav@0.5"]
    assert manifest.segment_of(1) == (0.5, 0.4)


def test_groups_in_the_names_of_a_tables_files_are_proposed(tmp_path):
    names = [f"{speaker}_{n}.wav" for speaker in ("anna", "bob", "cleo", "dan", "eve") for n in range(4)]
    clips(tmp_path, *names)
    write(tmp_path / "list.csv", "path,label", *(f"{name},{'ab'[n % 2]}" for n, name in enumerate(names)))
    config = init(tmp_path / "list.csv")
    assert read(without_mark(config, "pattern")).clips["group"].unique().tolist() == [
        "anna",
        "bob",
        "cleo",
        "dan",
        "eve",
    ]


def test_a_pattern_for_a_table(tmp_path):
    names = [f"{label}-{n}.wav" for label in ("dog", "cat") for n in range(6)]
    clips(tmp_path, *names)
    write(tmp_path / "list.csv", "path,speaker", *(f"{name},s{n % 4}" for n, name in enumerate(names)))
    manifest = read(init(tmp_path / "list.csv", pattern="{label}-{}.wav"))
    assert manifest.labels == ["cat", "dog"] and manifest.clips["group"].nunique() == 4


def test_parts_of_recordings_are_kept_whole(tmp_path, capfd):
    names = [f"pond{n}.wav" for n in range(6)]
    clips(tmp_path / "c", *names)
    rows = [f"{name},{0.05 * at:.2f},{0.05 * at + 0.05:.2f},{'ab'[at % 2]}" for name in names for at in range(4)]
    (tmp_path / "c" / "events.csv").write_text("filename,onset,offset,event_label\n" + "\n".join(rows) + "\n")
    config = init(tmp_path / "c")
    assert read(config).clips["group"].nunique() == 6
    assert load_config(config).protocol == "leave-one-group-out"
    assert "each row is a part of a recording, and the recording is its group" in capfd.readouterr().err


def test_a_split_that_cannot_be_used_is_not_called_unknown(tmp_path):
    names = [f"{n}.wav" for n in range(24)]
    clips(tmp_path / "c", *names)
    rows = [f"{name},{'ab'[n % 2]},{'val' if n % 3 else 'train'}" for n, name in enumerate(names)]
    (tmp_path / "c" / "dev.csv").write_text("path,label,split\n" + "\n".join(rows) + "\n")
    config = init(tmp_path / "c")
    text = config.read_text().replace("\n# ", " ")
    assert load_config(config).protocol == "kfold" and "kfold: the column 'split' cannot be used (" in text
    assert "no folds, split" not in text


def test_a_table_in_a_folder_is_named_like_the_folder(tmp_path):
    clips(tmp_path / "frogs", *(f"audio/{n}.wav" for n in range(12)))
    (tmp_path / "frogs" / "meta.csv").write_text(
        "path,label\n" + "".join(f"{n}.wav,{'ab'[n % 2]}\n" for n in range(12))
    )
    assert read(init(tmp_path / "frogs")).name == "frogs"


def test_a_path_column_of_another_name_is_known_by_its_cells(tmp_path):
    clips(tmp_path / "c", *(f"clips/{name}{n}.wav" for name in ("xa", "yb") for n in range(6)))
    rows = [f"{n};{name}{n}.wav;{label}" for name, label in (("xa", "001"), ("yb", "NA")) for n in range(6)]
    (tmp_path / "c" / "liste.csv").write_text("\ufeffNr;Dateiname;Class\r\n" + "\r\n".join(rows) + "\r\n")
    config = init(tmp_path / "c")
    assert load_config(config).dataset.path_column == "Dateiname"
    assert read(config).labels == ["001", "NA"]


def test_a_table_away_from_its_audio_is_pointed_to_the_folder_of_both(tmp_path):
    clips(tmp_path / "c", *(f"audio/{n}.wav" for n in range(12)))
    table = write(tmp_path / "c" / "gt" / "dev.csv", "fname,labels", *(f"{n},{'ab'[n % 2]}" for n in range(12)))
    for path in (table, table.parent):
        with pytest.raises(UserError, match="run init on a folder that holds the table and the audio"):
            init(path)
    assert len(read(init(tmp_path / "c"))) == 12


def table_of_speakers(root, folder, header="File name;Speaker;Word;Remark"):
    """Twelve clips of three speakers; `folder` gives a clip's folder from its speaker and word."""
    rows = [(f"{folder(who, word)}/{who} {word} {n}.wav", who, word) for who in "abc" for word in "xy" for n in (1, 2)]
    clips(root, *(path for path, _, _ in rows))
    write(root / "labels.csv", header, *(f"{';'.join(row)};" for row in rows))
    return root


@pytest.mark.parametrize("alone", [False, True])
def test_an_unusual_name_of_the_label_column_is_guessed_if_the_folders_are_the_speakers(tmp_path, alone, capfd):
    root = table_of_speakers(tmp_path / "c", lambda who, word: f"Speaker {who.upper()}")
    config = init(root / "labels.csv" if alone else root)
    manifest = read(config)
    assert load_config(config).dataset.label_column == "Word"
    assert manifest.labels == ["x", "y"] and manifest.clips["group"].nunique() == 3
    assert load_config(config).protocol == "leave-one-group-out"
    said = " ".join("".join(capfd.readouterr()).split())
    assert "so 'Word' with 2 values is a guess; if it is wrong, set dataset.label_column" in said
    assert f"check the classes in {config}" in said


def test_folders_of_classes_are_preferred_to_a_guessed_label_column(tmp_path):
    root = table_of_speakers(tmp_path / "c", lambda who, word: word, header="File name;Speaker;Weather;Remark")
    config = init(root)
    assert load_config(config).dataset.kind == "folder" and read(config).labels == ["x", "y"]
    assert "label_column: Weather" in config.read_text()


def test_further_columns_that_could_be_the_label_are_proposed(tmp_path):
    clips(tmp_path / "c", *(f"{n}q.wav" for n in range(30)))
    write(tmp_path / "c" / "m.csv", "file,quality,word", *(f"{n}q.wav,{'ab'[n % 2]},{'xyz'[n % 3]}" for n in range(30)))
    config = init(tmp_path / "c")
    assert read(config).labels == ["a", "b"]
    assert "remove the line `label_column` above" in re.sub(r"\n  # ", " ", config.read_text())
    config.write_text(config.read_text().replace("  label_column: quality\n", ""))
    assert read(without_mark(config, "label_column")).labels == ["x", "y", "z"]
