"""Shard-set indexes with correct digests from somebody else: nothing outside the set's folder is read or removed."""

import os
import shutil

import numpy as np
import pytest

from features.errors import CacheError
from features.store import shard_set
from features.store.layout import set_folder
from features.store.prune import prune_rows, remove_cache
from features.store.table import open_table
from features.store.verify import verify_table
from tests.features.forged import forged, replaced
from tests.features.toys import NAMES


@pytest.fixture
def index(seven, monkeypatch):
    """A set of seven clips in four shard files, a new clip to compute, and a file that must not be touched."""
    monkeypatch.setattr(shard_set, "SET_BYTES", 0)
    path = seven.run(seven.manifest(*NAMES), block_rows=2).path
    seven.write("new.wav")
    victim = seven.cache.parent / "victim" / "x.h5"
    victim.parent.mkdir()
    victim.write_bytes(b"precious")
    return seven, path, victim


def refused(path, victim, *actions):
    for act in (lambda: open_table(path), lambda: verify_table(path), *actions):
        with pytest.raises(CacheError) as error:
            act()
        assert "\n" not in str(error.value)
        assert str(path.parent) in str(error.value)
        assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize(
    "name",
    [
        "../../../victim/x.h5",
        "/etc/x.h5",
        "x.h5",
        "a/b/x.h5",
        "./x.h5",
        "../x.h5",
        "a/..",
        "a\\..\\..\\x.h5",
        "a/x.h5\n",
    ],
)
def test_an_index_that_names_a_file_elsewhere_is_damaged_and_the_file_stays(index, name):
    corpus, path, victim = index

    def renamed(names):
        names[0] = name.encode()
        return names

    with forged(path) as file:
        replaced(file, "members/name", renamed)
    refused(
        path,
        victim,
        lambda: corpus.run(corpus.manifest(*NAMES[2:], "new.wav"), block_rows=2),
        lambda: prune_rows(path, set(NAMES[3:]), print),
    )


@pytest.mark.parametrize(
    ("column", "value"), [("clips/member", 4), ("clips/member", -1), ("clips/place", -1), ("clips/first_frame", -1)]
)
def test_an_index_that_names_rows_that_are_nowhere_is_damaged(index, column, value):
    _, path, victim = index
    with forged(path) as file:
        replaced(file, column, lambda values: np.full_like(values, value))
    refused(path, victim)


def test_an_index_that_lists_a_file_twice_is_damaged(index):
    _, path, victim = index
    with forged(path) as file:
        replaced(file, "members/name", lambda names: [names[0], *names[:-1]])
    refused(path, victim)


@pytest.mark.parametrize("kind", ["set", "batch", "parts"])
def test_a_link_in_place_of_a_folder_is_refused_and_what_it_leads_to_stays(index, kind):
    corpus, path, victim = index
    (victim.parent / shard_set.MARK).touch()
    inner = victim.parent / "inner"
    inner.mkdir()
    shutil.copy(victim, inner)
    (inner / shard_set.MARK).touch()
    if kind == "set":
        set_folder(path).rename(set_folder(path).with_name("moved"))
        set_folder(path).symlink_to(victim.parent)
    elif kind == "batch":
        (set_folder(path) / "other").symlink_to(victim.parent)
    else:
        path.with_suffix(".parts").symlink_to(inner)
    with pytest.raises(CacheError, match="is a symbolic link"):
        corpus.run(corpus.manifest(*NAMES, "new.wav"), block_rows=2)
    with pytest.raises(CacheError, match="is a symbolic link"):
        prune_rows(path, set(NAMES[:3]), print)
    remove_cache(path, print)
    assert not path.exists()
    assert sorted(file.name for file in victim.parent.rglob("*")) == ["inner", "unsealed", "unsealed", "x.h5", "x.h5"]


def test_a_shard_file_that_is_a_link_is_not_read_and_its_clips_are_computed_again(index):
    corpus, path, victim = index
    shard = min(set_folder(path).rglob("*.h5"))
    moved = victim.with_name("moved.h5")
    shard.rename(moved)
    shard.symlink_to(moved)
    with pytest.raises(CacheError, match="is a symbolic link"):
        open_table(path).embeddings("mean")
    assert corpus.run(corpus.manifest(*NAMES), block_rows=2).computed == 2
    assert moved.exists()
    assert not os.path.lexists(shard)


def test_a_link_to_a_folder_among_the_shards_is_removed_but_not_followed(index):
    _, path, victim = index
    batch = min(set_folder(path).rglob("*.h5")).parent
    (batch / "linked").symlink_to(victim.parent)
    (batch / shard_set.MARK).touch()
    shard_set.recover(path, path.with_suffix(".parts"))
    assert victim.read_bytes() == b"precious"
    assert not os.path.lexists(batch / "linked")
    assert len(verify_table(path)) == len(NAMES)
