"""A corpus reads its files once, on first use, and all stages share that state."""

import os

import numpy as np

import features.store.content_keys
from features.extract import extract
from features.planning.settings import Settings
from features.store.content_keys import SIDECAR
from features.store.table import open_table
from tests.features.toys import NAMES, Toy, noise, toy_spec


def test_two_backbones_see_the_files_as_they_were_first(seven):
    clips = seven.read(*NAMES)
    seven.run(clips, toy_spec())
    changed = seven.write(NAMES[3], noise(999, seed=99))
    summary = seven.run(clips, toy_spec(weights_sha256="2" * 64))
    assert list(summary.failures) == [NAMES[3]], "decoding still sees that the file is another now"
    assert "changed" in summary.failures[NAMES[3]]
    assert changed.name not in open_table(summary.path).ids
    again = seven.run(seven.read(*NAMES), toy_spec(weights_sha256="2" * 64))
    assert (again.computed, again.failures) == (1, {})


def test_nothing_is_read_before_it_is_needed(seven):
    clips = seven.read(*NAMES)
    (seven.root / NAMES[0]).unlink()
    assert list(clips.unreadable) == [NAMES[0]]
    assert "not found" in clips.unreadable[NAMES[0]]


def test_rehash_reads_every_file_once_however_many_backbones(seven, monkeypatch):
    seven.run(seven.manifest(*NAMES))
    probed = []
    probe = features.store.content_keys.probe
    monkeypatch.setattr(
        features.store.content_keys, "probe", lambda path, isolated: probed.append(path.name) or probe(path)
    )
    clips = seven.read(*NAMES, rehash=True)
    seven.run(clips)
    seven.run(clips, toy_spec(weights_sha256="2" * 64))
    assert sorted(probed) == sorted(NAMES)


def test_save_is_what_writes_the_sidecar(seven):
    assert len(seven.read(*NAMES, save=False).contents) == len(NAMES)
    assert not seven.cache.exists()
    assert len(seven.read(*NAMES).contents) == len(NAMES)
    assert (seven.cache / "birds" / SIDECAR).is_file()


def test_what_a_table_holds_of_a_corpus(seven):
    (seven.root / NAMES[1]).write_bytes(b"no audio")
    table = open_table(seven.run(seven.manifest(*NAMES)).path)
    seven.write(NAMES[3], noise(999, seed=99))
    clips = seven.read(*NAMES)
    assert np.flatnonzero(~clips.is_in(table)).tolist() == [1, 3]
    assert list(clips.failures_in(table)) == list(clips.unreadable) == [NAMES[1]]
    os.utime(seven.root / NAMES[0])
    assert seven.read(*NAMES).is_in(table)[0], "a file that was only touched"


def test_a_manifest_is_enough_for_extraction(seven):
    spec = toy_spec()
    summary = extract(seven.manifest(*NAMES), spec, lambda: Toy(spec), Settings(), seven.cache, seven.log)
    assert summary.computed == len(NAMES)
