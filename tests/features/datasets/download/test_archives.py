"""Malicious, damaged and valid archives."""

import io
import shutil
import stat
import tarfile
import tracemalloc
import zipfile
from collections import namedtuple

import pytest

from features.datasets.download.archives import unpack
from features.errors import RunError


def zip_of(path, *entries):
    """`entries`: (name, content, unix mode or 0)."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content, mode in entries:
            info = zipfile.ZipInfo(name)
            info.external_attr = mode << 16
            file.writestr(info, content)
    return path


def tar_of(path, *entries, mode="w:gz"):
    """`entries`: (name, content or link target, type)."""
    with tarfile.open(path, mode) as file:
        for name, content, kind in entries:
            info = tarfile.TarInfo(name)
            info.type = kind
            if kind == tarfile.REGTYPE:
                info.size = len(content)
                file.addfile(info, io.BytesIO(content.encode()))
            else:
                info.linkname = content
                file.addfile(info)
    return path


FILE, FOLDER = tarfile.REGTYPE, tarfile.DIRTYPE


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("strip", [True, False])
@pytest.mark.parametrize("kind", ["zip", "tar", "tar.gz", "tar.xz", "tar.bz2"])
def test_plain_files_come_out(tmp_path, kind, strip):
    wanted = {"top/a/x.txt": "one", "top/b.txt": "two"}
    path = tmp_path / f"archive.{kind}"
    if kind == "zip":
        zip_of(path, ("top/", "", 0), *((name, text, 0) for name, text in wanted.items()))
    else:
        mode = f"w:{kind.removeprefix('tar').removeprefix('.')}"
        tar_of(path, ("./top", "", FOLDER), *((f"./{name}", text, FILE) for name, text in wanted.items()), mode=mode)
    done = unpack(path, tmp_path / "out", strip=strip)
    assert tree(tmp_path / "out") == {name.removeprefix("top/") if strip else name: t for name, t in wanted.items()}
    assert (done.files, done.size_bytes, done.links) == (2, 6, [])


def test_no_folder_is_left_out_where_there_are_two(tmp_path):
    path = zip_of(tmp_path / "a.zip", ("a/x", "1", 0), ("b/x", "2", 0), ("__MACOSX/a/._x", "junk", 0))
    unpack(path, tmp_path / "out", strip=True)
    assert tree(tmp_path / "out") == {"a/x": "1", "b/x": "2"}


@pytest.mark.parametrize("name", ["../evil", "/etc/evil", "a/../../evil", "..\\evil", "C:\\evil", "\\\\host\\evil"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_paths_that_lead_out_are_refused_before_anything_is_written(tmp_path, kind, name):
    path = tmp_path / "a.archive"
    if kind == "zip":
        zip_of(path, ("good", "1", 0), (name, "2", 0))
    else:
        tar_of(path, ("good", "1", FILE), (name, "2", FILE))
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(RunError, match=r"refused, .* would be written outside the folder"):
        unpack(path, tmp_path / "out", strip=False)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("target", ["../../secret", "/etc/passwd", "../.."])
@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, "zip"])
def test_links_out_are_refused(tmp_path, kind, target):
    path = tmp_path / "a.archive"
    if kind == "zip":
        zip_of(path, ("link", target, stat.S_IFLNK | 0o777))
    else:
        tar_of(path, ("a/link", target, kind), ("a/link/file", "written through it", FILE))
    with pytest.raises(RunError, match=r"refused, .* is a link out of the folder"):
        unpack(path, tmp_path / "out", strip=False)
    assert not (tmp_path / "out").exists()


def test_links_within_are_left_out_and_listed(tmp_path):
    path = tar_of(
        tmp_path / "a.tar.gz",
        *(("top/x", "1", FILE), ("top/a/soft", "../x", tarfile.SYMTYPE), ("top/hard", "top/x", tarfile.LNKTYPE)),
    )
    done = unpack(path, tmp_path / "out", strip=True)
    assert tree(tmp_path / "out") == {"x": "1"}
    assert done.links == ["top/a/soft", "top/hard"]


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_devices_are_refused(tmp_path, kind):
    path = tar_of(tmp_path / "a.tar.gz", ("good", "1", FILE), ("odd", "", kind))
    with pytest.raises(RunError, match="refused, 'odd' is a device or a pipe"):
        unpack(path, tmp_path / "out", strip=False)


def test_a_zipped_pipe_is_refused(tmp_path):
    path = zip_of(tmp_path / "a.zip", ("odd", "", stat.S_IFIFO | 0o644))
    with pytest.raises(RunError, match="is a device or a pipe"):
        unpack(path, tmp_path / "out", strip=False)


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "tar.xz", "text"])
def test_damage_is_one_line(tmp_path, kind):
    path = tmp_path / f"a.{kind}"
    many = [(f"{n}", "text " * 5000, FILE) for n in range(5)]
    if kind == "zip":
        zip_of(path, *((name, text, 0) for name, text, _ in many))
    elif kind == "text":
        path.write_text("<html>please log in</html>")
    else:
        tar_of(path, *many, mode=f"w:{kind[4:]}")
    if kind != "text":
        content = bytearray(path.read_bytes())
        content[len(content) // 3] ^= 0xFF
        path.write_bytes(bytes(content))
    with pytest.raises(RunError, match="damaged or not an archive"):
        unpack(path, tmp_path / "out", strip=False)


def test_a_disk_that_is_too_small_is_reported_before_anything_is_written(tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(10, 0, 10))
    path = zip_of(tmp_path / "a.zip", ("x", "more than ten bytes", 0))
    with pytest.raises(RunError, match=r"unpacks to .* GB free; free some space"):
        unpack(path, tmp_path / "out", strip=False)
    assert not (tmp_path / "out").exists()


def test_a_link_with_a_huge_body_is_refused_without_reading_it(tmp_path):
    path = tmp_path / "archive.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        info = zipfile.ZipInfo("top/link")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        info.compress_type = zipfile.ZIP_DEFLATED
        with file.open(info, "w", force_zip64=True) as body:
            for _ in range(64):
                body.write(bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(RunError, match="the link 'top/link' has more than 4096 bytes"):
        unpack(path, tmp_path / "out", strip=False)
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize(
    ("names", "match"),
    [
        (["top/a", "top/a/b"], "'a' is a file and a folder"),
        (["top/a/b", "top/a"], "'a' is a file and a folder"),
        (["top/a", "top/./a/"], "'a' is a file and a folder"),
        (["top/" + "x" * 256], "too long for a file system"),
        (["top/" + "ü" * 128], "too long for a file system"),
        (["top/" + "/".join(["x" * 200] * 21)], "too long for a file system"),
    ],
)
def test_names_that_clash_or_are_too_long_are_one_line_and_nothing_is_written(tmp_path, kind, names, match):
    path = tmp_path / f"archive.{kind}"
    if kind == "zip":
        zip_of(path, ("top/z", "", 0), *((name, "", 0) for name in names))
    else:
        kinds = [(name, "", FOLDER if name.endswith("/") else FILE) for name in ["top/z", *names]]
        tar_of(path, *kinds, mode="w:")
    with pytest.raises(RunError, match=match) as error:
        unpack(path, tmp_path / "out", strip=True)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 300
    assert not (tmp_path / "out").exists()
