"""Downloads of miniature corpora, in the layout of the real archives, from a local server."""

import hashlib
import io
import json
import tarfile
import zipfile
from dataclasses import replace

import pytest
import soundfile as sf

from features.datasets import KINDS, load_manifest
from features.datasets.download import fetch
from features.datasets.download.sources import SOURCES
from features.errors import RunError, UserError
from pipeline.config.yaml import parse_yaml
from pipeline.console import Console
from pipeline.datasets import download as dataset_download
from pipeline.datasets.download import PINNED, run_download
from tests.features.datasets.download.loopback import Site, serving
from tests.features.toys import noise


def audio(seed):
    buffer = io.BytesIO()
    sf.write(buffer, noise(4000, seed), 8000, format="WAV")
    return buffer.getvalue()


def esc50():
    top = "ESC-50-33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6"
    lines, files = ["filename,fold,target,category,esc10,src_file,take"], {f"{top}/LICENSE": b"CC BY-NC"}
    for fold in range(1, 6):
        for target, label in enumerate(("dog", "rooster")):
            name = f"{fold}-{100 * fold + target}-A-{target}.wav"
            files[f"{top}/audio/{name}"] = audio(10 * fold + target)
            lines.append(f"{name},{fold},{target},{label},{target == 0},{100 * fold + target},A")
    return {**files, f"{top}/meta/esc50.csv": "\n".join(lines).encode()}


def urbansound8k():
    lines, files = ["slice_file_name,fsID,start,end,salience,fold,classID,class"], {}
    for fold in range(1, 11):
        for number, label in enumerate(("siren", "drilling")):
            name = f"{fold}00{number}-{number}-0-0.wav"
            files[f"UrbanSound8K/audio/fold{fold}/{name}"] = audio(10 * fold + number)
            files[f"UrbanSound8K/audio/fold{fold}/._{name}"] = b"what macOS adds"
            lines.append(f"{name},{fold}00{number},0,1,1,{fold},{number},{label}")
    return {**files, "UrbanSound8K/metadata/UrbanSound8K.csv": "\n".join(lines).encode()}


def gtzan():
    return {f"genres/{g}/{g}.{n:05d}.au": audio(n + len(g)) for g in ("blues", "rock") for n in range(5)}


def fsdd():
    top = "free-spoken-digit-dataset-1.0.10"
    names = [f"{digit}_{speaker}_{n}.wav" for digit in (0, 1) for speaker in ("jackson", "theo") for n in (0, 4, 5, 9)]
    return {f"{top}/README.md": b"", **{f"{top}/recordings/{name}": audio(n) for n, name in enumerate(names)}}


def speech_commands():
    words = [f"{word}/{speaker}_nohash_0.wav" for word in ("yes", "no") for speaker in ("aa", "bb", "cc")]
    files = {f"./{name}": audio(n) for n, name in enumerate(words)}
    lists = {"./validation_list.txt": b"yes/bb_nohash_0.wav\nno/bb_nohash_0.wav\n"}
    lists["./testing_list.txt"] = b"yes/cc_nohash_0.wav\nno/cc_nohash_0.wav\n"
    return {**files, **lists, "./_background_noise_/pink_noise.wav": audio(99), "./LICENSE": b"CC BY"}


def ravdess():
    names = [(f"{actor:02d}", emotion) for actor in (1, 2, 3) for emotion in ("01", "05", "08")]
    return {f"Actor_{a}/03-01-{e}-01-02-01-{a}.wav": audio(n) for n, (a, e) in enumerate(names)}


def voxceleb1():
    names = [f"id1000{s}/video{s}{v}/0000{n}.wav" for s in (1, 2) for v in (1, 2, 3) for n in (1, 2)]
    lines = "".join(f"{name.split('/')[1][-1]} {name}\n" for name in names)  # one video per side and speaker
    return {"iden_split.txt": lines.encode(), **{f"wav/{name}": audio(n) for n, name in enumerate(names)}}


MAKERS = {f.__name__: f for f in (esc50, urbansound8k, gtzan, fsdd, speech_commands, ravdess, voxceleb1)}


def archive_of(name):
    files, buffer = MAKERS[name](), io.BytesIO()
    if SOURCES[name].archive.endswith(".zip"):
        with zipfile.ZipFile(buffer, "w") as archive:
            for path, content in files.items():
                archive.writestr(path, content)
    else:
        with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
            for path, content in files.items():
                info = tarfile.TarInfo(path)
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue(), sum(path.endswith((".wav", ".au")) and "/._" not in path for path in files)


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """Serve a miniature corpus, point the table to it, and return its site."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetch, "WAITS_S", ())
    monkeypatch.setattr(fetch, "PIECE_BYTES", 1000)
    with serving(Site()) as site:

        def put(name):
            site.content, clips = archive_of(name)
            clips -= name == "speech_commands"  # background noise is no word
            sums = {"sha256": hashlib.sha256(site.content), "md5": hashlib.md5(site.content)}
            algorithm = SOURCES[name].checksum.partition(":")[0]
            checksum = f"{algorithm}:{sums[algorithm].hexdigest()}" if algorithm else ""
            url = SOURCES[name].url and site.url
            monkeypatch.setitem(SOURCES, name, replace(SOURCES[name], url=url, checksum=checksum, clips=clips))
            return site

        yield put


def download(name, **options):
    given = {"to": None, "origin": None, "checksum": None, "keep_archive": False, "audit": False, **options}
    return run_download(name, **given, console=Console())


@pytest.mark.parametrize("name", [name for name, source in SOURCES.items() if source.url])
def test_each_corpus_is_unpacked_where_configs_expect_it_and_is_readable(mirror, name, tmp_path, capsys):
    site = mirror(name)
    root = download(name, audit=True)
    captured = capsys.readouterr()
    source = SOURCES[name]
    assert str(root) == source.root
    manifest = load_manifest({"kind": name, "root": root})
    assert len(manifest) == source.clips and manifest.path_of(0).is_file()
    record = json.loads((root / "SOURCE.json").read_text())
    assert record["sha256"] == hashlib.sha256(site.content).hexdigest()
    assert (record["fetched_from"], record["licence"]) == (site.url, source.licence)
    assert record["checked_against"] == (source.checksum or None)
    assert source.licence in captured.out and source.citation in captured.out
    assert ("no reliable checksum is known; SHA-256" in captured.err) == (not source.checksum)
    assert "warning: " + source.title not in captured.err
    assert (tmp_path / "runs" / name / "audit.json").is_file()
    assert sorted(item.name for item in (tmp_path / "data").iterdir()) == [root.name], "left something behind"
    asked = len(site.asked)
    assert download(name) == root
    assert "already downloaded" in capsys.readouterr().out
    assert len(site.asked) == asked


def test_a_manual_download_gives_instructions_and_accepts_the_file(mirror, tmp_path):
    site = mirror("gtzan")
    with pytest.raises(UserError, match=r"no licence.*marsyas.*download gtzan --from genres.tar.gz.*data/GTZAN"):
        download("gtzan")
    with pytest.raises(UserError, match="neither an existing file nor a URL"):
        download("gtzan", origin="genres.tar.gz")
    (tmp_path / "genres.tar.gz").write_bytes(site.content)
    root = download("gtzan", origin="genres.tar.gz")
    assert len(load_manifest({"kind": "gtzan", "root": root})) == 10
    assert (tmp_path / "genres.tar.gz").is_file(), "a file that was given stays"
    assert len(load_manifest({"kind": "gtzan", "root": download("gtzan", origin=site.url, to=tmp_path / "b")})) == 10


def test_a_mirror_must_serve_the_same_bytes_unless_the_check_is_disabled(mirror, tmp_path):
    site = mirror("ravdess")
    other, _ = archive_of("ravdess")
    site.content = other + b"\0"
    with pytest.raises(RunError, match="does not match"):
        download("ravdess", origin=site.url)
    (tmp_path / "given.zip").write_bytes(site.content)
    with pytest.raises(RunError, match=r"not the expected archive.*--checksum none"):
        download("ravdess", origin="given.zip")
    assert not (tmp_path / "data" / "RAVDESS").exists()
    sha256 = hashlib.sha256(site.content).hexdigest()
    assert download("ravdess", origin=site.url, checksum=f"sha256:{sha256}", keep_archive=True).is_dir()
    assert (tmp_path / "data" / ".downloads" / SOURCES["ravdess"].archive).is_file()


def test_an_interrupted_download_continues(mirror, tmp_path):
    site = mirror("esc50")
    site.cut = [5000]
    with pytest.raises(RunError, match="5000 bytes are kept, run again to resume"):
        download("esc50")
    assert not (tmp_path / "data" / "ESC-50").exists()
    assert len(load_manifest({"kind": "esc50", "root": download("esc50")})) == 10
    assert site.asked == ["", "bytes=5000-"]


def test_the_archive_of_another_corpus_is_rejected(mirror, tmp_path):
    site = mirror("ravdess")
    site.content, _ = archive_of("fsdd")
    with pytest.raises(RunError, match=r"does not contain RAVDESS.*Actor_01"):
        download("ravdess", checksum="none")
    assert [*(tmp_path / "data").glob("*RAVDESS*")] == []


def test_missing_clips_are_reported(mirror, monkeypatch, capsys):
    mirror("fsdd")
    monkeypatch.setitem(SOURCES, "fsdd", replace(SOURCES["fsdd"], clips=3000))
    download("fsdd")
    assert "should have 3000 clips, this copy has 16" in capsys.readouterr().err


def test_an_existing_folder_is_not_touched(mirror, tmp_path):
    mirror("ravdess")
    place = tmp_path / "data" / "RAVDESS"
    place.mkdir(parents=True)
    (place / "mine.txt").write_text("mine")
    with pytest.raises(UserError, match="exists but was not created by this command"):
        download("ravdess")
    assert [item.name for item in place.iterdir()] == ["mine.txt"]
    (place / "mine.txt").unlink()
    assert download("ravdess").is_dir()


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("esc5", {}, "no corpus 'esc5', did you mean 'esc50'"),
        (
            "voxceleb1",
            {},
            r"needs a registration.*iden_split.txt; the shipped configs expect the folder data/VoxCeleb1$",
        ),
        ("voxceleb1", {"origin": "vox1_test_wav.zip"}, "needs a registration"),
        ("ravdess", {"checksum": "abc"}, "use sha256:HEX, md5:HEX or none"),
        ("ravdess", {"origin": "ftp://somewhere"}, "neither an existing file nor a URL that starts with http"),
    ],
)
def test_usage_errors(mirror, name, options, message):
    with pytest.raises(UserError, match=message):
        download(name, **options)


@pytest.mark.parametrize(("name", "source"), SOURCES.items())
def test_the_table_is_complete(name, source):
    assert source.kind in KINDS and source.root.startswith("data/")
    assert not source.checksum or PINNED.fullmatch(source.checksum)
    assert source.url.startswith(("https://", "http://")) or source.by_hand
    assert source.licence and source.citation and source.homepage.startswith("http")


def test_shipped_configs_expect_the_download_folders(request):
    paths = (request.config.rootpath / "configs").glob("*.yaml")
    configs = [values for path in paths if isinstance(values := parse_yaml(path.read_text("utf-8")), dict)]
    roots = {(values["dataset"]["kind"], values["dataset"]["root"]) for values in configs}
    for source in SOURCES.values():
        assert {root for kind, root in roots if kind == source.kind} <= {source.root, "data/ESC-10"}
    assert ("esc50", "data/ESC-50") in roots


def test_the_list_is_printed(capsys):
    dataset_download.list_sources(Console())
    out = capsys.readouterr().out
    assert all(name in out for name in SOURCES) and "by hand" in out
