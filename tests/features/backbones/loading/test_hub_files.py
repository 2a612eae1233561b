"""Weights that are one file of the model hub, simulated by a server on the loopback address."""

import hashlib
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

from features.backbones.loading.hub_files import HubFile, parse_hub_file
from features.backbones.loading.weights import find_file
from features.errors import WeightsError

COMMIT, BRANCH_HEAD = "c" * 40, "d" * 40
LOAD = """
import json, sys
import numpy as np
from features.backbones import load
from features.errors import WeightsError
for weights in sys.argv[1:]:
    try:
        backbone = load({"name": "onnx", "weights": weights, "sample_rate_hz": 16000})
        frames = backbone.embed([np.linspace(-0.5, 0.5, 16000, dtype=np.float32)])[0]
        print(json.dumps({"sha": backbone.spec.weights_sha256, "shape": frames.shape, "sum": float(frames.sum())}))
    except WeightsError as error:
        print(json.dumps({"error": str(error)}))
"""


def hub(files):
    """Answers as the hub does; `files` has the files of each commit by their paths. The branch is the second."""

    def answer(method, path):
        if path == "/":
            return 200, {}, b""
        api = path.startswith("/api/models/")
        parts = path.removeprefix("/api/models/").lstrip("/").split("?")[0].split("/")
        if "/".join(parts[:2]) == "org/gated":
            return 403, {"X-Error-Code": "GatedRepo"}, b"{}"
        if "/".join(parts[:2]) != "org/birds":
            return 401, {"X-Error-Code": "RepoNotFound"}, b"{}"
        revision = parts[3] if len(parts) > 3 else "main"
        commit = BRANCH_HEAD if revision == "main" else revision
        if commit not in files:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if api:
            siblings = [{"rfilename": name} for name in files[commit]]
            info = {"id": "org/birds", "modelId": "org/birds", "sha": commit, "siblings": siblings}
            return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()
        body = files[commit].get("/".join(parts[4:]))
        if body is None:
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": commit}, b""
        return 200, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', "X-Repo-Commit": commit}, body

    return answer


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """A model in a folder, one with external weights, and a Git LFS pointer; the branch has another model."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    from tests.features.backbones.onnx_files import convolution

    folder = tmp_path_factory.mktemp("birds")
    plain = convolution(folder / "tiny.onnx").read_bytes()
    external = {"save_as_external_data": True, "location": "split.data", "size_threshold": 1024}
    split = convolution(folder / "split.onnx", **external).read_bytes()
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n"
    pinned = {
        "models/tiny.onnx": plain,
        "models/split.onnx": split,
        "models/split.data": (folder / "split.data").read_bytes(),
        "pointer.onnx": pointer,
        "README.md": b"# birds",
    }
    return {COMMIT: pinned, BRANCH_HEAD: {"tiny.onnx": convolution(folder / "new.onnx", batch=1).read_bytes()}}


@pytest.fixture
def ask(tmp_path):
    """Load weights in another process with its own cache of the hub; gives one answer for each."""

    def run(endpoint, *weights, **environment):
        keep = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
        keep = {key: value for key, value in keep.items() if not key.lower().endswith("_proxy")}
        keep |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "OMP_NUM_THREADS": "1", **environment}
        command = [sys.executable, "-c", LOAD, *weights]
        done = subprocess.run(command, capture_output=True, text=True, env=keep, timeout=240, check=False)
        assert done.returncode == 0, done.stderr
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert all("\n" not in answer.get("error", "") for answer in answers)
        return answers

    return run


def sha(body):
    return hashlib.sha256(body).hexdigest()


@pytest.mark.thorough
def test_a_file_is_fetched_once_with_its_external_weights(serve, files, ask):
    endpoint, asked = serve(hub(files))
    pinned, split = f"hub:org/birds/models/tiny.onnx@{COMMIT}", f"hub:org/birds/models/split.onnx@{COMMIT}"
    first = ask(endpoint, pinned, split, "hub:org/birds/tiny.onnx")
    assert first[0]["sha"] == sha(files[COMMIT]["models/tiny.onnx"])
    assert first[2]["sha"] == sha(files[BRANCH_HEAD]["tiny.onnx"])
    assert first[0]["shape"] == [1, 159, 6]
    assert first[1]["sum"] == pytest.approx(first[0]["sum"], abs=1e-4)
    got = {path.rsplit("/", 1)[1] for method, path in asked if method == "GET" and "/resolve/" in path}
    assert got == {"tiny.onnx", "split.onnx", "split.data"}
    asked.clear()
    assert ask(endpoint, pinned, split) == first[:2]
    assert asked == [], "the pinned files are in the cache"
    assert ask("http://127.0.0.1:9", pinned, HF_HUB_OFFLINE="1") == first[:1]


@pytest.mark.thorough
def test_what_cannot_be_had_is_one_clear_line(serve, files, ask):
    endpoint, _ = serve(hub(files))
    missing, revision, repository, gated, pointer = ask(
        endpoint,
        f"hub:org/birds/tiny.onnx@{COMMIT}",
        "hub:org/birds/tiny.onnx@never",
        "hub:org/bats/tiny.onnx",
        "hub:org/gated/tiny.onnx",
        f"hub:org/birds/pointer.onnx@{COMMIT}",
    )
    listed = (
        "it has no file 'tiny.onnx'; name one of its .onnx files (models/split.onnx, models/tiny.onnx, pointer.onnx)"
    )
    assert f"tiny.onnx of org/birds cannot be downloaded from the model hub: {listed}, or set" in missing["error"]
    assert "it has no revision 'never'; name a branch, tag or commit that it has, or set" in revision["error"]
    assert "no such repository, or a private one; check its name, log in (`hf auth login`), or" in repository["error"]
    gate = f"it is gated; ask for access on its page {endpoint}/org/gated and log in (`hf auth login`), or set"
    assert gate in gated["error"]
    assert "is a pointer of Git LFS, not the file itself; run `git lfs pull`" in pointer["error"]
    (offline,) = ask("http://127.0.0.1:9", "hub:org/birds/tiny.onnx")
    assert re.search(r"not reachable \(.*\); connect, or set", offline["error"])
    assert "set features.backbones.onnx.weights to a local .onnx file" in offline["error"]


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("hub:org/name/file.onnx", HubFile("org/name", "file.onnx", None)),
        (f"hub:org/na-me/a/b.tflite@{COMMIT}", HubFile("org/na-me", "a/b.tflite", COMMIT)),
        ("hub:org/name/file.onnx@v1.0", HubFile("org/name", "file.onnx", "v1.0")),
    ],
)
def test_the_form_is_read(source, found):
    assert parse_hub_file("onnx", source) == found
    assert found.beside("weights.data").file == found.file.replace("file.onnx", "weights.data").replace(
        "b.tflite", "weights.data"
    )


@pytest.mark.parametrize("source", ["hub:", "hub:file.onnx", "hub:org/name", "hub:org/name/../x", "hub:org/name/x@"])
def test_another_form_is_refused(source):
    with pytest.raises(WeightsError, match="should be hub:org/name/file or hub:org/name/file@revision"):
        find_file("onnx", source)


def test_a_name_that_no_repository_can_have_is_one_line():
    message = "onnx: file.onnx of org/na--me cannot be downloaded from the model hub: Cannot have -- or .. in repo_id"
    with pytest.raises(WeightsError, match=re.escape(message)) as caught:
        find_file("onnx", "hub:org/na--me/file.onnx")
    assert "\n" not in str(caught.value)


def test_a_local_pointer_of_git_lfs_is_recognised(tmp_path):
    (tmp_path / "model.tflite").write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n")
    with pytest.raises(WeightsError, match=r"model\.tflite is a pointer of Git LFS"):
        find_file("litert", str(tmp_path / "model.tflite"))
    (tmp_path / "model.tflite").write_bytes(np.zeros(100, np.uint8).tobytes())
    assert find_file("litert", str(tmp_path / "model.tflite")) == tmp_path / "model.tflite"
