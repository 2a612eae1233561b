"""The public corpora: miniature trees in each one's layout, and the real ones where they are present."""

import pytest

from features.datasets import load_manifest
from features.errors import ManifestError
from heads.splits.feasibility import official_overlaps
from tests.paths import SHARED


def touch(root, *names):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def rows(manifest, *columns):
    return manifest.clips[["id", *columns]].to_numpy().tolist()


@pytest.fixture
def esc50(tmp_path):
    write(
        tmp_path / "meta" / "esc50.csv",
        "filename,fold,target,category,esc10,src_file,take\n"
        "2-100-B-0.wav,2,0,dog,True,100,B\n"
        "1-100032-A-0.wav,1,0,dog,True,100032,A\n"
        "5-9032-A-0.wav,5,3,cow,False,9032,A\n",
    )
    touch(tmp_path, "audio/1-100032-A-0.wav")
    return tmp_path


def test_esc50_table(esc50):
    manifest = load_manifest({"kind": "esc50", "root": esc50})
    assert manifest.name == "esc50"
    assert rows(manifest, "label", "fold", "group") == [
        ["audio/1-100032-A-0.wav", "dog", 1, "100032"],
        ["audio/2-100-B-0.wav", "dog", 2, "100"],
        ["audio/5-9032-A-0.wav", "cow", 5, "9032"],
    ]
    assert manifest.path_of(0).is_file()


def test_esc10_is_a_subset_of_the_table(esc50):
    assert load_manifest({"kind": "esc50", "root": esc50, "subset": "esc10"}).labels == ["dog"]


def test_esc50_without_a_column(esc50):
    write(esc50 / "meta" / "esc50.csv", "filename,fold\nx.wav,1\n")
    with pytest.raises(ManifestError, match=r"esc50.csv: no column 'category'"):
        load_manifest({"kind": "esc50", "root": esc50})


def test_esc50_without_audio(tmp_path):
    write(tmp_path / "meta" / "esc50.csv", "filename,fold,category,esc10,src_file\n")
    with pytest.raises(ManifestError, match="looked for audio/"):
        load_manifest({"kind": "esc50", "root": tmp_path})


def test_esc50_as_first_published(tmp_path):
    touch(tmp_path, "101 - Dog/1-100032-A.ogg", "404 - Door - wood creaks/5-77-B.ogg", "README.txt", "other/x.ogg")
    manifest = load_manifest({"kind": "esc50", "root": tmp_path})
    assert rows(manifest, "label", "fold", "group") == [
        ["101 - Dog/1-100032-A.ogg", "Dog", 1, "100032"],
        ["404 - Door - wood creaks/5-77-B.ogg", "Door - wood creaks", 5, "77"],
    ]
    assert load_manifest({"kind": "esc50", "root": tmp_path, "subset": "esc10"}).labels == ["Dog"]


def test_an_esc50_clip_without_a_fold_is_named(tmp_path):
    touch(tmp_path, "001 - Dog bark/bark.ogg")
    with pytest.raises(ManifestError, match=r"bark.ogg: not named FOLD-FREESOUND_ID-TAKE"):
        load_manifest({"kind": "esc50", "root": tmp_path})


@pytest.mark.skipif(not (SHARED / "data" / "ESC-10").is_dir(), reason="no ESC-10 in ../shared/data")
@pytest.mark.parametrize("subset", ["esc10", "esc50"])
def test_the_real_esc10(subset):
    manifest = load_manifest({"kind": "esc50", "root": SHARED / "data" / "ESC-10", "subset": subset})
    clips = manifest.clips
    assert clips["label"].value_counts().to_dict() == dict.fromkeys(manifest.labels, 40)
    assert len(manifest.labels) == 10
    assert clips["fold"].value_counts().to_dict() == dict.fromkeys(range(1, 6), 80)
    assert clips["group"].nunique() == 304
    assert clips.groupby("group")["fold"].nunique().max() == 1
    assert all(manifest.path_of(row).is_file() for row in range(len(manifest)))


@pytest.mark.parametrize("top", ["audio/", ""])
def test_urbansound8k_without_its_table(tmp_path, top):
    touch(tmp_path, f"{top}fold10/200-1-0-0.wav", f"{top}fold1/100-3-0-12.wav", f"{top}fold1/notes.wav")
    assert rows(load_manifest({"kind": "urbansound8k", "root": tmp_path}), "label", "fold", "group") == [
        [f"{top}fold1/100-3-0-12.wav", "dog_bark", 1, "100"],
        [f"{top}fold10/200-1-0-0.wav", "car_horn", 10, "200"],
    ]


def test_urbansound8k_with_its_table_beside_the_folds(tmp_path):
    touch(tmp_path, "fold1/100-3-0-12.wav")
    write(tmp_path / "UrbanSound8K.csv", "slice_file_name,fsID,fold,class\n100-3-0-12.wav,100,1,dog_bark\n")
    manifest = load_manifest({"kind": "urbansound8k", "root": tmp_path})
    assert rows(manifest, "label", "fold") == [["fold1/100-3-0-12.wav", "dog_bark", 1]]


def test_urbansound8k(tmp_path):
    write(
        tmp_path / "metadata" / "UrbanSound8K.csv",
        "slice_file_name,fsID,start,end,salience,fold,classID,class\n"
        "100032-3-0-0.wav,100032,0.0,0.317551,1,5,3,dog_bark\n"
        "99812-1-6-0.wav,99812,159.522205,163.522205,2,10,1,car_horn\n",
    )
    touch(tmp_path, "audio/fold5/100032-3-0-0.wav")
    manifest = load_manifest({"kind": "urbansound8k", "root": tmp_path})
    assert rows(manifest, "label", "fold", "group") == [
        ["audio/fold10/99812-1-6-0.wav", "car_horn", 10, "99812"],
        ["audio/fold5/100032-3-0-0.wav", "dog_bark", 5, "100032"],
    ]
    assert manifest.segment_of(0) == (0.0, None)  # start and end are the slice's place in its source, not in its file
    assert manifest.path_of(1).is_file()


@pytest.mark.parametrize("place", ["genres_original/", "Data/genres_original/", "genres/", ""])
def test_gtzan(tmp_path, place):
    suffix = "au" if place == "genres/" else "wav"
    touch(tmp_path, *(f"{place}{name}.{suffix}" for name in ("jazz/jazz.00054", "blues/blues.00000")))
    touch(tmp_path, "images_original/blues/blues00000.png", "features_30_sec.csv")
    manifest = load_manifest({"kind": "gtzan", "root": tmp_path})
    assert rows(manifest, "label") == [
        [f"{place}blues/blues.00000.{suffix}", "blues"],
        [f"{place}jazz/jazz.00054.{suffix}", "jazz"],
    ]
    assert "fold" not in manifest.clips


@pytest.mark.parametrize("place", ["recordings/", ""])
def test_fsdd(tmp_path, place):
    touch(tmp_path, *(f"{place}{name}.wav" for name in ("7_george_0", "7_george_4", "7_george_5", "0_de la_rue_49")))
    touch(tmp_path, "README.md", f"{place}noise.wav")
    assert rows(load_manifest({"kind": "fsdd", "root": tmp_path}), "label", "split", "group") == [
        [f"{place}0_de la_rue_49.wav", "0", "train", "de la_rue"],
        [f"{place}7_george_0.wav", "7", "test", "george"],
        [f"{place}7_george_4.wav", "7", "test", "george"],
        [f"{place}7_george_5.wav", "7", "train", "george"],
    ]


@pytest.mark.skipif(not (SHARED / "data" / "free-spoken-digit-dataset").is_dir(), reason="no FSDD in ../shared/data")
def test_the_real_fsdd():
    manifest = load_manifest({"kind": "fsdd", "root": SHARED / "data" / "free-spoken-digit-dataset"})
    assert len(manifest) == 3000
    assert manifest.labels == list("0123456789")
    assert manifest.clips["split"].value_counts().to_dict() == {"train": 2700, "test": 300}
    assert manifest.clips["group"].nunique() == 6


def ravdess(tmp_path, place=""):
    clips = ("Actor_01/03-01-01-01-02-01-01", "Actor_12/03-01-05-02-01-02-12", "Actor_12/03-02-03-01-01-01-12")
    touch(tmp_path, *(f"{place}{clip}.wav" for clip in clips), f"{place}Actor_12/01-01-05-02-01-02-12.mp4")
    return tmp_path


def test_ravdess(tmp_path):
    ravdess(ravdess(tmp_path), "audio_speech_actors_01-24/")  # as in one widespread copy: everything twice
    angry = ["Actor_12/03-01-05-02-01-02-12.wav", "angry", "12"]
    neutral, happy = (
        ["Actor_01/03-01-01-01-02-01-01.wav", "neutral", "01"],
        ["Actor_12/03-02-03-01-01-01-12.wav", "happy", "12"],
    )
    options = {"kind": "ravdess", "root": tmp_path}
    assert rows(load_manifest(options), "label", "group") == [neutral, angry]
    assert rows(load_manifest({**options, "channel": "song"}), "label", "group") == [happy]
    assert rows(load_manifest({**options, "channel": "both"}), "label", "group") == [neutral, angry, happy]


def test_ravdess_without_such_clips_names_the_expected_layout(tmp_path):
    touch(tmp_path, "Actor_01/hello.wav")
    with pytest.raises(ManifestError, match=r"speech clips such as 03-01-05-01-02-01-12\.wav"):
        load_manifest({"kind": "ravdess", "root": tmp_path})


@pytest.fixture
def voxceleb1(tmp_path):
    clips = ("id10001/na8-QEFmj44/00001.wav", "id10001/na8-QEFmj44/00002.wav", "id10001/x_0/00001.wav")
    touch(tmp_path, *(f"wav/{clip}" for clip in (*clips, "id10309/x_0/00002.wav")))
    write(tmp_path / "iden_split.txt", "".join(f"{n} {clip}\n" for n, clip in zip((1, 1, 3), clips, strict=True)))
    with (tmp_path / "iden_split.txt").open("a") as listed:
        listed.write("2 id10309/x_0/00002.wav\n\n1 id10309/missing/00001.wav\n")
    return tmp_path


def test_voxceleb1(voxceleb1):
    manifest = load_manifest({"kind": "voxceleb1", "root": voxceleb1})
    assert rows(manifest, "label", "split", "group") == [
        ["wav/id10001/na8-QEFmj44/00001.wav", "id10001", "train", "na8-QEFmj44"],
        ["wav/id10001/na8-QEFmj44/00002.wav", "id10001", "train", "na8-QEFmj44"],
        ["wav/id10001/x_0/00001.wav", "id10001", "test", "x_0"],
        ["wav/id10309/x_0/00002.wav", "id10309", "valid", "x_0"],
    ]
    assert manifest.path_of(0).is_file()
    (overlap,) = official_overlaps(manifest, "split")  # one video with two speakers, on two sides
    assert "1 groups ('x_0', of 2) with 2 clips in more than one of the official splits" in overlap


def test_a_voxceleb1_clip_that_is_not_listed_is_named(voxceleb1):
    touch(voxceleb1, "wav/id10001/new/00009.wav")
    with pytest.raises(ManifestError, match=r"new/00009.wav: not in .*iden_split.txt, so it has no official split"):
        load_manifest({"kind": "voxceleb1", "root": voxceleb1})


@pytest.mark.parametrize(
    "line", ["4 id10001/x_0/00001.wav", "1 wav/id10001/x_0/00001.wav", "id10001/x_0/00001.wav", "1"]
)
def test_a_damaged_line_of_the_voxceleb1_list_is_named(voxceleb1, line):
    write(voxceleb1 / "iden_split.txt", f"1 id10001/na8-QEFmj44/00001.wav\n{line}\n")
    with pytest.raises(ManifestError, match=r"iden_split.txt, line 2: should be a number from 1 .*, not '" + line):
        load_manifest({"kind": "voxceleb1", "root": voxceleb1})


@pytest.fixture
def speech_commands(tmp_path):
    touch(
        tmp_path,
        "bed/0a7c2a8d_nohash_0.wav",
        "bed/0a7c2a8d_nohash_1.wav",
        "cat/ffd2ba2f_nohash_0.wav",
        "cat/00176480_nohash_0.wav",
        "_background_noise_/pink_noise.wav",
        "LICENSE",
    )
    write(tmp_path / "validation_list.txt", "cat/ffd2ba2f_nohash_0.wav\n")
    write(tmp_path / "testing_list.txt", "cat/00176480_nohash_0.wav\r\nbed/missing_nohash_0.wav\r\n")
    return tmp_path


def test_speech_commands(speech_commands):
    assert rows(load_manifest({"kind": "speech_commands", "root": speech_commands}), "label", "split", "group") == [
        ["bed/0a7c2a8d_nohash_0.wav", "bed", "train", "0a7c2a8d"],
        ["bed/0a7c2a8d_nohash_1.wav", "bed", "train", "0a7c2a8d"],
        ["cat/00176480_nohash_0.wav", "cat", "test", "00176480"],
        ["cat/ffd2ba2f_nohash_0.wav", "cat", "valid", "ffd2ba2f"],
    ]


def test_speech_commands_of_some_words(speech_commands):
    options = {"kind": "speech_commands", "root": speech_commands}
    assert load_manifest({**options, "words": ["cat"]}).labels == ["cat"]
    with pytest.raises(ManifestError, match="no folder for the word 'dog'; there are bed, cat"):
        load_manifest({**options, "words": ["cat", "dog"]})


def test_speech_commands_without_its_lists(speech_commands):
    (speech_commands / "testing_list.txt").unlink()
    with pytest.raises(ManifestError, match=r"looked for .*testing_list.txt"):
        load_manifest({"kind": "speech_commands", "root": speech_commands})
