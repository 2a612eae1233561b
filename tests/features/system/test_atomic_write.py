"""Atomic writing: files appear complete or not at all, despite concurrent writers and interruptions."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest
from safetensors.numpy import save_file

from features.system.atomic_write import atomic_write, remove_leftovers

SIZE = 1 << 20
ROUNDS = 60
WRITER = textwrap.dedent("""
    import sys
    from pathlib import Path
    from features.system.atomic_write import atomic_write

    path, letter, rounds, size = Path(sys.argv[1]), sys.argv[2].encode(), int(sys.argv[3]), int(sys.argv[4])
    sys.stdin.readline()  # both start at the same time
    for _ in range(rounds):
        with atomic_write(path) as temporary, temporary.open("wb") as file:
            for _ in range(16):
                file.write(letter * (size // 16))
""")
HALFWAY = textwrap.dedent("""
    import sys, time
    from pathlib import Path
    from features.system.atomic_write import atomic_write

    with atomic_write(Path(sys.argv[1])) as temporary, temporary.open("wb") as file:
        file.write(b"half")
        file.flush()
        print("halfway", flush=True)
        time.sleep(600)
""")


def names(folder):
    return sorted(item.name for item in folder.iterdir())


def assert_whole_until(over, path):
    """Read the file repeatedly until no process writes it any more."""
    letters = set()
    while True:
        last = over()
        content = path.read_bytes()
        letter = content[:1]
        assert len(content) == SIZE and content == letter * SIZE
        letters.add(letter)
        if last:
            return letters


def test_two_processes_writing_one_path_never_tear_it(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"o" * SIZE)
    command = [sys.executable, "-c", WRITER, str(path)]
    writers = [
        subprocess.Popen([*command, letter, str(ROUNDS), str(SIZE)], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
        for letter in "ab"
    ]
    for writer in writers:
        writer.stdin.write(b"\n")
        writer.stdin.flush()
    assert_whole_until(lambda: all(writer.poll() is not None for writer in writers), path)
    errors = [writer.communicate()[1].decode() for writer in writers]
    assert [writer.returncode for writer in writers] == [0, 0], errors
    assert names(tmp_path) == ["file.bin"]


def test_two_threads_writing_one_path_never_tear_it(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"o" * SIZE)
    errors = []

    def write(letter):
        try:
            for _ in range(ROUNDS):
                with atomic_write(path, sync="none") as temporary, temporary.open("wb") as file:
                    for _ in range(16):
                        file.write(letter * (SIZE // 16))
        except OSError as error:
            errors.append(error)

    threads = [threading.Thread(target=write, args=[letter]) for letter in (b"a", b"b")]
    for thread in threads:
        thread.start()
    assert_whole_until(lambda: not any(thread.is_alive() for thread in threads), path)
    assert errors == []
    assert names(tmp_path) == ["file.bin"]


def test_kill_9_in_the_middle_leaves_the_old_file(tmp_path):
    path, other = tmp_path / "file.txt", tmp_path / ".file.text.0123456789abcdef.tmp"
    path.write_text("old")
    other.write_text("being written, of another file")
    with subprocess.Popen([sys.executable, "-c", HALFWAY, str(path)], stdout=subprocess.PIPE) as writer:
        assert writer.stdout.readline() == b"halfway\n"
        writer.send_signal(signal.SIGKILL)
    assert path.read_text() == "old"
    assert len(names(tmp_path)) == 3
    remove_leftovers(tmp_path, "file.txt", min_age_s=3600)  # another process may still be writing it
    assert len(names(tmp_path)) == 3
    remove_leftovers(tmp_path, "file.txt")
    assert names(tmp_path) == [other.name, "file.txt"]
    remove_leftovers(tmp_path)
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("where", ["block", "before"])
def test_an_error_leaves_nothing_behind(tmp_path, error, where):
    path = tmp_path / "file.txt"
    path.write_text("old")

    def fail(_):
        raise error("stopped")

    def write():
        with atomic_write(path, before=fail if where == "before" else None) as temporary:
            temporary.write_text("new")
            if where == "block":
                fail(temporary)

    with pytest.raises(error, match="stopped"):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["file.txt"]


def test_a_folder_that_is_missing_is_not_made(tmp_path):
    with pytest.raises(FileNotFoundError), atomic_write(tmp_path / "gone" / "file.txt"):
        pytest.fail("there is nothing to write to")
    assert names(tmp_path) == []


@pytest.mark.parametrize("mask", [0o022, 0o027, 0o002])
def test_files_have_the_mode_the_umask_gives(tmp_path, mask):
    before = os.umask(mask)
    try:
        with atomic_write(tmp_path / "plain") as temporary:
            temporary.write_text("text")
        with atomic_write(tmp_path / "tensors") as temporary:  # safetensors creates files with mode 600
            save_file({"a": np.zeros(3)}, temporary)
        modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in names(tmp_path)}
    finally:
        os.umask(before)
    assert modes == {0o666 & ~mask}


@pytest.mark.parametrize("links", [True, False])
def test_without_overwriting_only_the_first_one_wins(tmp_path, monkeypatch, links):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr("pathlib.Path.hardlink_to", refuse)
    path = tmp_path / "file.txt"
    for text in ("first", "second"):
        taken = links and text == "second"
        with contextlib.ExitStack() as stack:
            if taken:
                stack.enter_context(pytest.raises(FileExistsError))
            stack.enter_context(atomic_write(path, overwrite=False)).write_text(text)
    assert path.read_text() == ("first" if links else "second")
    assert names(tmp_path) == ["file.txt"]


@pytest.mark.parametrize("name", ["x" * 250, "ü" * 120, "[a]*.txt"])
def test_any_name_will_do(tmp_path, name):
    path = tmp_path / name
    with atomic_write(path) as temporary:
        temporary.write_text("text")
        assert len(os.fsencode(temporary.name)) <= 255
    (tmp_path / temporary.name).touch()
    remove_leftovers(tmp_path, name)
    assert names(tmp_path) == [name]


@pytest.mark.parametrize(("sync", "synced"), [("none", []), ("file", ["file"]), ("folder", ["file", "folder"])])
def test_what_is_synced(tmp_path, monkeypatch, sync, synced):
    seen = []

    def fsync(descriptor, right=os.fsync):
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        seen.append("folder" if is_folder else "file")
        assert path.exists() is is_folder
        right(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    path = tmp_path / "file.txt"
    with atomic_write(path, sync=sync) as temporary:
        temporary.write_text("text")
    assert seen == synced
