"""Content keys depend on file contents, and a sidecar avoids reading unchanged files."""

import hashlib
import os
import shutil
import time

import numpy as np
import pytest

import features.store.content_keys
from features.errors import RunError
from features.store.content_keys import LEFTOVER_AGE_S, SIDECAR, clip_contents
from tests.features.toys import noise


@pytest.fixture
def reads(monkeypatch):
    """Paths whose header was read, in order."""
    seen = []

    def probe(path, *, isolated, read=features.store.content_keys.probe):
        seen.append(path.name)
        return read(path)

    monkeypatch.setattr(features.store.content_keys, "probe", probe)
    return seen


def test_the_key_is_the_digest_of_the_bytes_and_names_the_segment(corpus):
    path = corpus.write("a.wav", noise(8000))
    manifest = corpus.manifest(
        "a.wav", "b", "c", path=["a.wav"] * 3, start_s=[0, 0.25, 0], duration_s=[None, None, 0.5]
    )
    whole, late, early = clip_contents(manifest, corpus.cache)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert (whole.key, late.key, early.key) == (digest, f"{digest}#0.25+", f"{digest}#0+0.5")
    assert (whole.frames, late.frames, early.frames) == (8000, 6000, 4000)
    assert (whole.duration_s, whole.sample_rate) == (1.0, 8000)


def test_unchanged_files_are_not_read_again(corpus, reads):
    corpus.write("a.wav")
    corpus.write("b.wav")
    manifest = corpus.manifest("a.wav", "b.wav")
    first = clip_contents(manifest, corpus.cache)
    assert sorted(reads) == ["a.wav", "b.wav"]
    assert clip_contents(manifest, corpus.cache) == first
    assert len(reads) == 2


def test_a_touched_file_is_read_again_and_keeps_its_key(corpus, reads):
    path = corpus.write("a.wav")
    (before,) = clip_contents(corpus.manifest("a.wav"), corpus.cache)
    os.utime(path, ns=(1, 1))
    (after,) = clip_contents(corpus.manifest("a.wav"), corpus.cache)
    assert len(reads) == 2
    assert after.key == before.key
    assert after.mtime_ns == 1


def test_rehash_sees_a_change_that_size_and_time_hide(corpus):
    path = corpus.write("a.wav", noise(100, 1))
    os.utime(path, ns=(1, 1))
    manifest = corpus.manifest("a.wav")
    (before,) = clip_contents(manifest, corpus.cache)
    corpus.write("a.wav", noise(100, 2))
    os.utime(path, ns=(1, 1))
    assert clip_contents(manifest, corpus.cache)[:] == [before]
    (after,) = clip_contents(manifest, corpus.cache, rehash=True)
    assert after.key != before.key
    assert clip_contents(manifest, corpus.cache)[:] == [after]


def test_rehash_keeps_the_records_of_other_files(corpus, reads):
    corpus.write("a.wav")
    corpus.write("b.wav")
    clip_contents(corpus.manifest("a.wav", "b.wav"), corpus.cache)
    clip_contents(corpus.manifest("a.wav"), corpus.cache, rehash=True)
    reads.clear()
    clip_contents(corpus.manifest("a.wav", "b.wav"), corpus.cache)
    assert reads == []


def test_a_file_is_read_once_however_many_clips_it_holds(corpus, reads):
    corpus.write("a.wav", noise(8000))
    manifest = corpus.manifest(*"abcd", path=["a.wav"] * 4, start_s=[0.0, 0.1, 0.2, 0.3])
    assert len({content.key for content in clip_contents(manifest, corpus.cache)}) == 4
    assert reads == ["a.wav"]


def test_an_unusable_file_is_examined_again(corpus):
    """The cause may be fixed without a change in size or time: a permission, a mount."""
    path = corpus.root / "a.wav"
    path.write_bytes(bytes(1044))
    os.utime(path, ns=(1, 1))
    manifest = corpus.manifest("a.wav")
    (bad,) = clip_contents(manifest, corpus.cache)
    assert bad.key == ""
    assert "cannot be decoded" in bad.failure
    corpus.write("a.wav", noise(500))
    assert path.stat().st_size == 1044
    os.utime(path, ns=(1, 1))
    (good,) = clip_contents(manifest, corpus.cache)
    assert good.failure == ""


def test_a_segment_outside_its_file_is_that_clips_failure_alone(corpus):
    corpus.write("a.wav", noise(8000))
    manifest = corpus.manifest("in", "out", path=["a.wav"] * 2, start_s=[0.5, 1.5])
    inside, outside = clip_contents(manifest, corpus.cache)
    assert inside.failure == ""
    assert "outside the file" in outside.failure
    assert outside.key


def test_nothing_is_written_without_save(corpus):
    corpus.write("a.wav")
    clip_contents(corpus.manifest("a.wav"), corpus.cache, save=False)
    assert not corpus.cache.exists()


def test_a_damaged_sidecar_never_gives_a_wrong_key(corpus):
    """With any byte flipped, the keys are right, at the cost of reading files again."""
    names = [f"{i}.wav" for i in range(4)]
    for name in names:
        corpus.write(name)
    manifest = corpus.manifest(*names)
    right = clip_contents(manifest, corpus.cache)
    whole = (corpus.cache / SIDECAR).read_bytes()
    for position in np.random.default_rng(0).permutation(len(whole))[:250]:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << (position % 8)
        (corpus.cache / SIDECAR).write_bytes(flipped)
        assert clip_contents(manifest, corpus.cache, save=False) == right, position


@pytest.mark.parametrize("content", [b"", b"PAR1", b"nonsense" * 50])
def test_an_invalid_sidecar_is_replaced(corpus, reads, content):
    corpus.write("a.wav")
    corpus.cache.mkdir()
    (corpus.cache / SIDECAR).write_bytes(content)
    clip_contents(corpus.manifest("a.wav"), corpus.cache)
    clip_contents(corpus.manifest("a.wav"), corpus.cache)
    assert reads == ["a.wav"]
    assert [p.name for p in corpus.cache.iterdir() if p.suffix == ".tmp"] == []


def test_temporary_sidecars_of_killed_runs_are_removed_after_a_day(corpus):
    corpus.write("a.wav")
    corpus.cache.mkdir()
    old, new = (corpus.cache / f".{SIDECAR}.{name}.tmp" for name in ("old", "new"))
    for path in (old, new):
        path.touch()
    a_day_ago = time.time() - LEFTOVER_AGE_S - 60
    os.utime(old, (a_day_ago, a_day_ago))
    clip_contents(corpus.manifest("a.wav"), corpus.cache)
    assert not old.exists()
    assert new.exists()  # another machine may be writing it


def test_a_sidecar_that_cannot_be_written_is_one_line(corpus):
    corpus.write("a.wav")
    (corpus.cache / SIDECAR).mkdir(parents=True)
    with pytest.raises(RunError, match=f"cannot write .*{SIDECAR}"):
        clip_contents(corpus.manifest("a.wav"), corpus.cache)
    shutil.rmtree(corpus.cache / SIDECAR)
    assert clip_contents(corpus.manifest("a.wav"), corpus.cache)[0].key
