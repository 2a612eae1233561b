"""Downloads from a local server: interrupted, resumed, changed on the server, refused, or with a wrong checksum."""

import hashlib
import os

import pytest

from features.datasets.download import fetch as fetching
from features.datasets.download.fetch import fetch
from features.errors import RunError
from tests.features.datasets.download.loopback import Site, serving

CONTENT = os.urandom(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture(autouse=True)
def this_machine_only(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setattr(fetching, "WAITS_S", ())
    monkeypatch.setattr(fetching, "PIECE_BYTES", 10_000)


@pytest.fixture
def site():
    with serving(Site(CONTENT)) as site:
        yield site


@pytest.fixture
def get(site, tmp_path):
    """Fetches into one folder; tells what the file was, and its progress."""

    def get(checksum=f"sha256:{SHA256}"):
        told = []
        path = tmp_path / "corpus.zip"
        sha256 = fetch(site.url, path, checksum, lambda more, total: told.append((more, total)))
        assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert [item.name for item in tmp_path.iterdir()] == ["corpus.zip"]
        return path.read_bytes(), told

    return get


def cut_after(get, site, *positions):
    site.cut = list(positions)
    with pytest.raises(RunError, match=r"connection was interrupted.* kept, run again to resume"):
        get()


def test_a_file_comes_whole_and_its_progress_adds_up(site, get):
    content, told = get()
    assert content == CONTENT
    assert sum(more for more, _ in told) == len(CONTENT)
    assert {total for _, total in told} == {len(CONTENT)}
    get()
    assert len(site.asked) == 1, "asked again for what is there"


def test_the_next_call_resumes_an_interrupted_download(site, get):
    cut_after(get, site, 120_000)
    assert get()[0] == CONTENT
    assert site.asked == ["", "bytes=120000-"]


def test_one_call_resumes_while_there_is_progress(site, get, monkeypatch):
    monkeypatch.setattr(fetching, "WAITS_S", (0.0, 0.0))
    site.cut = [50_000, 40_000, 0, 70_000]
    assert get()[0] == CONTENT
    assert site.asked == ["", "bytes=50000-", "bytes=90000-", "bytes=90000-", "bytes=160000-"]


def test_a_server_without_ranges_is_read_from_the_start(site, get):
    site.ranges = False
    cut_after(get, site, 120_000)
    content, told = get()
    assert content == CONTENT
    assert sum(more for more, _ in told) == len(CONTENT)


@pytest.mark.parametrize("tag", ['"one"', ""])
def test_a_file_that_changed_meanwhile_is_not_stitched_to_the_old_one(site, get, tag):
    site.tag = tag
    cut_after(get, site, 120_000)
    site.content = os.urandom(310_000)
    site.tag = tag and '"two"'
    with pytest.raises(RunError, match="not the expected file") if not tag else serving(Site()):
        assert get(checksum=f"sha256:{hashlib.sha256(site.content).hexdigest()}")[0] == site.content
    if not tag:  # only the checksum distinguishes the two files; the next call starts again
        assert get(checksum=f"sha256:{hashlib.sha256(site.content).hexdigest()}")[0] == site.content


def test_a_part_that_is_longer_than_the_servers_file_is_dropped(site, get, monkeypatch):
    cut_after(get, site, 120_000)
    monkeypatch.setattr(fetching, "WAITS_S", (0.0,))
    site.content = CONTENT[:1000]
    assert get(checksum=f"sha256:{hashlib.sha256(site.content).hexdigest()}")[0] == site.content


def test_another_address_does_not_resume_this_download(site, get):
    cut_after(get, site, 120_000)
    site.url += "?other"
    assert get()[0] == CONTENT
    assert site.asked == ["", ""]


def test_a_wrong_checksum_keeps_nothing(site, get, tmp_path):
    site.content = CONTENT[:-1] + b"x"
    with pytest.raises(RunError, match=r"checksum sha256:.* does not match.*--checksum none"):
        get()
    assert [*tmp_path.iterdir()] == []
    with pytest.raises(RunError, match="does not match"):
        get(checksum=f"md5:{hashlib.md5(CONTENT).hexdigest()}")
    assert get(checksum="")[0] == site.content


@pytest.mark.parametrize(("status", "message"), [(404, "answers 404 .*moved"), (403, "answers 403"), (503, "503")])
def test_a_refusal_reports_the_status_and_the_alternative(site, get, tmp_path, status, message):
    site.status = status
    with pytest.raises(RunError, match=rf"{message}.*--from FILE"):
        get()
    assert [*tmp_path.iterdir()] == []


def test_no_server(site, get):
    site.url = "http://127.0.0.1:9/corpus.zip"
    with pytest.raises(RunError, match="refuses connections; or download it manually"):
        get()


def test_a_full_disk_keeps_the_partial_download(site, get, tmp_path, monkeypatch):
    cut_after(get, site, 120_000)
    part = tmp_path / "corpus.zip.part"
    with monkeypatch.context() as patch:
        patch.setattr(fetching.Path, "open", full_disk(fetching.Path.open))
        with pytest.raises(OSError, match="No space left"):
            get()
    assert part.read_bytes() == CONTENT[:120_000]
    assert get()[0] == CONTENT


def full_disk(right):
    def open_(path, mode="r", *args, **options):
        if path.suffix == ".part" and "b" in mode:
            raise OSError(28, "No space left on device", str(path))
        return right(path, mode, *args, **options)

    return open_
