"""Weights by URL: the hash in the name is verified, and failed downloads leave no files."""

import hashlib
import socket

import pytest
import torch

from features.backbones import describe
from features.backbones.loading.weights import find_file
from features.errors import WeightsError

BODY = b"weights of a kind" * 1000
DIGEST = hashlib.sha256(BODY).hexdigest()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """Where torch keeps downloads, empty."""
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    return tmp_path / "torch"


def left(cache):
    return [path.name for path in cache.rglob("*") if path.is_file()]


@pytest.fixture
def server(serve):
    def answer(method, path):
        return (404, {}, b"") if "missing" in path else (200, {}, BODY)

    return serve(answer)


def refused(url, *reasons):
    with pytest.raises(WeightsError) as caught:
        find_file("vggish", url)
    message = str(caught.value)
    assert message.startswith("vggish: ") and "\n" not in message
    for reason in (*reasons, url, "features.backbones.vggish.weights to a local file", "`random`"):
        assert reason in message


@pytest.mark.parametrize("url", ["/v0.1/net-{hash}.pth", "/net-{hash}.pth?download=1"])
def test_a_file_is_fetched_once(url, server, cache):
    address, asked = server
    source = address + url.format(hash=DIGEST[:8])
    path = find_file("vggish", source)
    assert path.read_bytes() == BODY
    assert find_file("vggish", source) == path
    assert len(asked) == 1
    assert left(cache) == [f"net-{DIGEST[:8]}.pth"]


def test_a_wrong_hash_is_refused(server, cache):
    refused(f"{server[0]}/net-{'0' * 8}.pth", "hash")
    assert left(cache) == []


@pytest.mark.parametrize("file", ["net.pth", "net-.pth", "net-bad.pth", "net-abc123.pth", "net-XYZ12345.pth"])
def test_no_hash_is_refused_without_asking(file, server, cache):
    refused(f"{server[0]}/{file}", "has no hash in its name")
    assert server[1] == []
    (cache / "hub" / "checkpoints").mkdir(parents=True)
    (cache / "hub" / "checkpoints" / file).write_bytes(b"from somewhere else")
    refused(f"{server[0]}/{file}", "has no hash in its name")


def test_a_missing_file_and_a_closed_port(server, cache):
    refused(f"{server[0]}/missing-{DIGEST[:8]}.pth", "404")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        refused(f"http://127.0.0.1:{taken.getsockname()[1]}/net-{DIGEST[:8]}.pth", "refused")
    assert left(cache) == []


def test_a_download_cut_short_is_refused(serve, cache):
    address, _ = serve(lambda method, path: (200, {"Content-Length": str(len(BODY)), "Connection": "close"}, BODY[:99]))
    refused(f"{address}/net-{DIGEST[:8]}.pth", "cannot download")
    assert left(cache) == []


def test_a_damaged_copy_is_not_used(server, cache):
    source = f"{server[0]}/net-{DIGEST[:8]}.pth"
    path = find_file("vggish", source)
    path.write_bytes(BODY[:-1])
    with pytest.raises(WeightsError, match=r"net-\S+\.pth is damaged: .* delete it"):
        find_file("vggish", source)


def test_a_local_file_that_is_not_there():
    with pytest.raises(WeightsError, match=r"vggish: no file 'nowhere/vggish\.pth'; set features\.backbones\.vggish\."):
        describe({"name": "vggish", "weights": "nowhere/vggish.pth"})
