"""Audio in tar, Arrow and Parquet files: the same samples, keys and errors as in files of their own."""

import io
import tarfile
import tempfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile as sf

from features.audio.containers import file_of, open_audio, parquet, split_member, tar
from features.audio.containers.rows import parse_row_name, row_name
from features.audio.decoded_cache import DecodedFiles
from features.audio.decoding import probe, read_waveform, stream_windows
from features.audio.scratch import RecentlyUsed
from features.errors import AudioError
from features.manifest import Manifest
from features.store.content_keys import clip_contents
from tests.features.toys import noise

SOUNDS = {"a.wav": {}, "b.flac": {}, "c.ogg": {}, "d.mp3": {"format": "MP3"}}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """One clip per format, of different lengths."""
    folder = tmp_path_factory.mktemp("files")
    for number, (name, options) in enumerate(SOUNDS.items()):
        sf.write(folder / name, noise(16_000 + 700 * number, seed=number), 16_000, **options)
    return {name: folder / name for name in SOUNDS}


def make_tar(path, contents):
    with tarfile.open(path, "w") as archive:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def audio_table(contents):
    cells = [None if content is None else {"bytes": content, "path": name} for name, content in contents.items()]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.table({"n": pa.array(range(len(cells))), "audio": pa.array(cells, kind)})


def make_arrow(path, contents, opened=pa.ipc.new_stream, **options):
    table = audio_table(contents)
    with pa.OSFile(str(path), "wb") as sink, opened(sink, table.schema, **options) as writer:
        for batch in table.to_batches(max_chunksize=3):
            writer.write_batch(batch)
    return path


def make_parquet(path, contents, rows=3):
    pq.write_table(audio_table(contents), path, row_group_size=rows)
    return path


def in_containers(folder, files):
    """Every container with every file: {container: {file name: member's path}}."""
    contents = {name: path.read_bytes() for name, path in files.items()}
    rows = {name: row_name("audio", row, name) for row, name in enumerate(contents)}
    made = {
        make_tar(folder / "x.tar", {f"./deep/{name}": content for name, content in contents.items()}): {
            name: f"deep/{name}" for name in contents
        },
        make_arrow(folder / "stream.arrow", contents): rows,
        make_arrow(folder / "file.arrow", contents, pa.ipc.new_file): rows,
        make_parquet(folder / "x.parquet", contents): rows,
    }
    return {
        container: {name: container.parent / f"{container.name}::{member}" for name, member in members.items()}
        for container, members in made.items()
    }


@pytest.mark.parametrize("name", SOUNDS)
def test_samples_are_those_of_the_file(tmp_path, files, name):
    for members in in_containers(tmp_path, files).values():
        member = members[name]
        assert open_audio(member).read() == files[name].read_bytes()
        assert probe(member) == probe(files[name])
        for segment in ((0.0, None), (0.25, 0.5)):
            expected = read_waveform(files[name], 8000, *segment).samples
            np.testing.assert_array_equal(read_waveform(member, 8000, *segment).samples, expected)
            with DecodedFiles() as decoded:
                np.testing.assert_array_equal(read_waveform(member, 8000, *segment, decoded).samples, expected)
        windows = list(stream_windows(member, 8000, 3000))
        np.testing.assert_array_equal(
            np.concatenate(windows), np.concatenate([*stream_windows(files[name], 8000, 3000)])
        )


def test_content_keys_are_those_of_the_files(tmp_path, files):
    def contents(paths):
        clips = pd.DataFrame({"id": [str(at) for at in range(len(paths))], "path": map(str, paths), "label": "x"})
        clips["start_s"], clips["duration_s"] = 0.25, [0.5, 0.5, 0.25, float("nan")]
        return clip_contents(Manifest("x", tmp_path, clips), tmp_path / "cache", save=False)

    expected = contents(list(files.values()))
    assert all(content.key for content in expected)
    for members in in_containers(tmp_path, files).values():
        found = contents(list(members.values()))
        assert [content.key for content in found] == [content.key for content in expected]
        assert [content.frames for content in found] == [content.frames for content in expected]


def test_a_changed_container_is_read_again(tmp_path, files):
    path = make_tar(tmp_path / "x.tar", {"a.wav": files["a.wav"].read_bytes()})
    member = tmp_path / "x.tar::a.wav"
    assert probe(member).frames == 16_000
    make_tar(path, {"first": b"1234", "a.wav": files["b.flac"].read_bytes()})
    assert probe(member).frames == 16_700


def test_a_truncated_wav_in_a_container_is_noticed(tmp_path, files):
    cut = files["a.wav"].read_bytes()[:-1000]
    make_tar(tmp_path / "x.tar", {"d/a.wav": cut, "d/b.wav": b"", "d/c.wav": b"no audio" * 9})
    for member, reason in {
        "a": "is cut short",
        "b": r"empty \(0 bytes\)",
        "c": "cannot be decoded.*ffmpeg -i c.wav c.flac",
    }.items():
        with pytest.raises(AudioError, match=reason):
            probe(tmp_path / f"x.tar::d/{member}.wav")


def test_what_is_not_there_is_named(tmp_path, files):
    make_tar(tmp_path / "x.tar", {"a.wav": files["a.wav"].read_bytes(), "../b.wav": b"x"})
    make_parquet(tmp_path / "x.parquet", {"a.wav": files["a.wav"].read_bytes(), "null": None})
    make_arrow(tmp_path / "x.arrow", {"a.wav": files["a.wav"].read_bytes(), "null": None})
    (tmp_path / "broken.tar").write_bytes(b"x" * 2000)
    (tmp_path / "broken.parquet").write_bytes(b"x" * 2000)
    (tmp_path / "broken.arrow").write_bytes(b"x" * 2000)
    make_arrow(tmp_path / "packed.arrow", {"a.wav": bytes(10_000)}, options=pa.ipc.IpcWriteOptions(compression="zstd"))
    for member, reason in {
        "none.tar::a.wav": "file not found: none.tar",
        "x.tar::b.wav": "x.tar has no member 'b.wav'",
        "x.parquet::audio/2": "has no member 'audio/2'",
        "x.parquet::audio/1": "has no member 'audio/1'",
        "x.parquet::a.wav": "has no member 'a.wav'",
        "x.parquet::n/0": "no audio bytes in the column 'n'",
        "x.parquet::sound/0": "no column 'sound'",
        "x.arrow::audio/1": "has no member 'audio/1'",
        "x.arrow::audio/7": "has no member 'audio/7'",
        "x.arrow::n/0": "no audio bytes in a column 'n'",
        "broken.tar::a.wav": "broken.tar cannot be read as a tar archive",
        "broken.parquet::audio/0": "broken.parquet cannot be read as Parquet",
        "broken.arrow::audio/0": "broken.arrow cannot be read as Arrow",
        "packed.arrow::audio/0": "packed.arrow is a compressed Arrow file",
    }.items():
        with pytest.raises(AudioError, match=reason):
            probe(tmp_path / member)


def test_a_file_whose_name_looks_like_a_member_is_a_file(tmp_path, files):
    path = tmp_path / "x.tar::a.wav"
    path.write_bytes(files["a.wav"].read_bytes())
    assert split_member(path) is None
    assert file_of(path) == path
    assert probe(path).frames == 16_000


def test_names_of_rows_round_trip():
    assert row_name("audio", 3, "C:\\x\\dog.wav") == "audio/3/dog.wav"
    assert row_name("audio", 3) == "audio/3"
    assert parse_row_name("audio/3/12/dog.wav") == ("audio", 3)
    assert parse_row_name("audio/3") == ("audio", 3)
    assert parse_row_name("audio") is None


def test_a_row_group_is_decompressed_once_for_all_threads(tmp_path, monkeypatch):
    contents = {f"{row}.bin": noise(500, seed=row).tobytes() for row in range(40)}
    path = make_parquet(tmp_path / "x.parquet", contents, rows=10)
    decompressed = []

    def counted(*args):
        decompressed.append(args[2])
        return original(*args)

    original = parquet.values_of
    monkeypatch.setattr(parquet, "values_of", counted)
    monkeypatch.setattr(parquet, "_row_groups", RecentlyUsed(parquet._RowGroup, parquet.MOST_BYTES))

    def read(row):
        return open_audio(tmp_path / f"{path.name}::audio/{row}").read()

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(read, range(40))) == list(contents.values())
    assert sorted(decompressed) == [0, 1, 2, 3]


def test_the_temporary_files_of_row_groups_are_limited(tmp_path, monkeypatch):
    contents = {f"{row}.bin": bytes([row]) * 1000 for row in range(40)}
    make_parquet(tmp_path / "x.parquet", contents, rows=10)
    groups = RecentlyUsed(parquet._RowGroup, 20_000)
    monkeypatch.setattr(parquet, "_row_groups", groups)
    for row in [*range(40), 0, 39]:
        assert open_audio(tmp_path / f"x.parquet::audio/{row}").read() == bytes([row]) * 1000
        assert 0 < groups.size <= 20_000


def test_without_space_for_temporary_files_rows_are_still_read(tmp_path, monkeypatch):
    make_parquet(tmp_path / "x.parquet", {f"{row}.bin": bytes([row]) * 9 for row in range(5)})

    def full(**_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", full)
    monkeypatch.setattr(parquet, "_row_groups", RecentlyUsed(parquet._RowGroup, parquet.MOST_BYTES))
    assert open_audio(tmp_path / "x.parquet::audio/4").read() == bytes([4]) * 9


def test_an_archive_is_scanned_once(tmp_path, monkeypatch):
    make_tar(tmp_path / "x.tar", {f"{at}.wav": b"x" for at in range(5)})
    scans = []
    monkeypatch.setattr(tar._indexes, "_make", lambda path: scans.append(path) or tar._scan(path))
    for at in range(5):
        assert open_audio(tmp_path / f"x.tar::{at}.wav").read() == b"x"
    assert len(scans) == 1


def test_what_is_in_use_is_kept_beyond_the_limit():
    class Value:
        size, closed = 10, False

        def close(self):
            self.closed = True

    kept = RecentlyUsed(Value, most_bytes=15)
    with kept.using("a") as first:
        with kept.using("b") as second:
            pass
        assert (first.closed, second.closed) == (False, True)
    with kept.using("a") as again:
        assert again is first
    kept.close()
    assert first.closed
