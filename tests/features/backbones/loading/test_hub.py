"""The model hub, simulated by a server on the loopback address: downloads, cache, errors and time limits."""

import hashlib
import json
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.features.backbones.loading.loopback_hub import COMMITS, environment_of, hub

pytestmark = pytest.mark.thorough

LOAD = """
import json, sys
from features.backbones.loading.model_folders import folder_sha256, read_preprocessing
from features.backbones.loading.weights import find_model_folder
from features.errors import WeightsError
for weights in sys.argv[1:]:
    try:
        folder = find_model_folder("wav2vec2", weights)
        normalize, _, stated = read_preprocessing(folder)
        print(json.dumps({"sha": folder_sha256(folder), "normalize": normalize, "normalize_assumed": not stated}))
    except WeightsError as error:
        print(json.dumps({"error": str(error)}))
"""


@pytest.fixture(scope="module")
def files(save_encoder, tmp_path_factory):
    """Files of the repository by revision: two formats of weights and several files that are not needed."""
    found = {}
    for seed, revision in enumerate(COMMITS):
        folder, _ = save_encoder(do_normalize=False, seed=seed, folder=tmp_path_factory.mktemp(revision))
        found[revision] = {path.name: path.read_bytes() for path in folder.iterdir()}
        found[revision] |= {"pytorch_model.bin": b"x" * 1000, "tf_model.h5": b"x" * 1000, "README.md": b"# hello"}
    return found


@pytest.fixture
def ask(tmp_path):
    """Find models in a separate process with its own hub and cache; returns one answer per model."""

    def run(endpoint, *weights, timeout=240, **environment):
        keep = environment_of(endpoint, tmp_path / "hf") | environment
        command = [sys.executable, "-W", "error", "-c", LOAD, *weights]
        done = subprocess.run(command, capture_output=True, text=True, env=keep, timeout=timeout, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        answers = [json.loads(line) for line in done.stdout.splitlines()]
        assert len(answers) == len(weights)
        assert all("\n" not in answer.get("error", "") for answer in answers)
        return answers

    run.cache = tmp_path / "hf" / "hub"
    return run


def fetched(asked):
    """Names of the files that were downloaded, not only asked about."""
    return sorted({path.rsplit("/", 1)[1] for method, path in asked if method == "GET" and "/resolve/" in path})


def test_what_is_needed_is_fetched_once_and_the_hub_is_not_asked_again(serve, files, ask):
    endpoint, asked = serve(hub(files))
    (first,) = ask(endpoint, "org/model")
    assert first["sha"] == hashlib.sha256(files["main"]["model.safetensors"]).hexdigest()
    assert (first["normalize"], first["normalize_assumed"]) == (False, False)
    assert fetched(asked) == ["config.json", "model.safetensors", "preprocessor_config.json"]
    asked.clear()
    assert ask(endpoint, "org/model") == [first]
    assert asked == []
    assert ask("http://127.0.0.1:9", "org/model", HF_HUB_OFFLINE="1") == [first]


def test_revisions(serve, files, ask):
    endpoint, asked = serve(hub(files))
    main, old, commit, none = ask(
        endpoint, "org/model", "org/model@old", f"org/model@{COMMITS['old']}", "org/model@never"
    )
    assert old == commit
    assert old["sha"] == hashlib.sha256(files["old"]["model.safetensors"]).hexdigest() != main["sha"]
    assert "it has no revision 'never'; name a branch, tag or commit that it has, or set" in none["error"]
    asked.clear()
    assert ask(endpoint, "org/model@old", "org/model") == [old, main]
    assert asked == []


def test_a_repository_without_a_preprocessor_is_remembered_as_such(serve, files, ask):
    bare = {"main": {name: body for name, body in files["main"].items() if name != "preprocessor_config.json"}}
    endpoint, asked = serve(hub(bare))
    (first,) = ask(endpoint, "org/model")
    assert (first["normalize"], first["normalize_assumed"]) == (True, True)
    asked.clear()
    assert ask(endpoint, "org/model") == [first]
    assert asked == []


def test_a_copy_without_the_preprocessor_does_not_pass_for_a_repository_without(serve, files, ask):
    """As `Model.from_pretrained` leaves it."""
    endpoint, _ = serve(hub(files))
    (first,) = ask(endpoint, "org/model")
    for path in ask.cache.rglob("preprocessor_config.json"):
        path.unlink()
    (offline,) = ask("http://127.0.0.1:9", "org/model", HF_HUB_OFFLINE="1")
    assert "HF_HUB_OFFLINE is set" in offline["error"]
    assert "has no preprocessor_config.json" in offline["error"]
    assert ask(endpoint, "org/model") == [first]


def test_only_pickled_weights_and_shards(serve, files, ask):
    pickled = dict(files["main"])
    del pickled["model.safetensors"]
    shards = {"weight_map": {"x": "pytorch_model-1-of-2.bin", "y": "pytorch_model-2-of-2.bin"}}
    sharded = {name: body for name, body in pickled.items() if name != "pytorch_model.bin"}
    sharded |= {"pytorch_model.bin.index.json": json.dumps(shards).encode()}
    sharded |= {"pytorch_model-1-of-2.bin": b"one", "pytorch_model-2-of-2.bin": b"two", "pytorch_model-old.bin": b"0"}
    endpoint, asked = serve(hub({"main": pickled, "old": sharded}))
    one, two = ask(endpoint, "org/model", "org/model@old")
    assert one["sha"] == hashlib.sha256(b"x" * 1000).hexdigest() != two["sha"]
    assert [name for name in fetched(asked) if name.startswith("pytorch")] == [
        "pytorch_model-1-of-2.bin",
        "pytorch_model-2-of-2.bin",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ]


def check_refusal(answer, repo, *reasons):
    assert answer["error"].startswith("wav2vec2: ")
    for text in (repo, *reasons, "set features.backbones.wav2vec2.weights to a local folder", "`random`"):
        assert text in answer["error"]
    assert "token" not in answer["error"].lower()


def snapshots(cache):
    """Names that a cache offers as whole: refs and the files of snapshots."""
    return [path for path in cache.rglob("*") if path.is_file() and {"refs", "snapshots"} & set(path.parts)]


def test_no_such_repository(serve, files, ask):
    endpoint, _ = serve(hub(files))
    missing, odd = ask(endpoint, "org/other", "org/na--me")
    check_refusal(
        missing, "'org/other'", "no such repository, or a private one; check its name, log in (`hf auth login`)"
    )
    assert "'org/na--me' is neither a local folder nor a hub id" in odd["error"]
    assert snapshots(ask.cache) == []


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_repository(status, serve, files, ask):
    """Its page is visible, but its files cannot be downloaded."""
    gated = {"X-Error-Code": "GatedRepo", "X-Error-Message": "Access to model org/model is restricted."}
    endpoint, _ = serve(hub(files, refuse=lambda method, path: "/resolve/" in path and (status, gated, b"")))
    (answer,) = ask(endpoint, "org/model", HF_TOKEN="hf_secret")
    check_refusal(answer, "'org/model'", f"it is gated; ask for access on its page {endpoint}/org/model and log in")
    assert "hf_secret" not in answer["error"]
    assert snapshots(ask.cache) == []


def test_a_repository_without_weights(serve, files, ask):
    endpoint, _ = serve(hub({"main": {name: files["main"][name] for name in ("config.json", "README.md")}}))
    (answer,) = ask(endpoint, "org/model")
    check_refusal(answer, "'org/model'", "model.safetensors or pytorch_model.bin; name another repository, or set")


@pytest.mark.parametrize("name", ["config.json", "preprocessor_config.json", "model.safetensors"])
def test_a_repository_with_a_git_lfs_pointer(name, serve, files, ask):
    pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 4\n"
    endpoint, _ = serve(hub({"main": files["main"] | {name: pointer}}))
    (answer,) = ask(endpoint, "org/model")
    assert re.search(rf"^wav2vec2: .*{name} is a pointer of Git LFS, not the file itself", answer["error"])


def test_an_interrupted_download_is_not_taken_for_a_whole_one(serve, files, ask):
    def fail(method, path):
        return method == "GET" and path.endswith("model.safetensors") and (403, {}, b"")

    endpoint, _ = serve(hub(files, refuse=fail))
    (answer,) = ask(endpoint, "org/model")
    check_refusal(answer, "'org/model'", "403", "connect or log in (`hf auth login`)")
    assert not [path for path in snapshots(ask.cache) if "refs" in path.parts]
    assert not list(ask.cache.rglob("model.safetensors"))
    whole, _ = serve(hub(files))
    (answer,) = ask(whole, "org/model")
    assert answer["sha"] == hashlib.sha256(files["main"]["model.safetensors"]).hexdigest()


def test_connection_refused_and_offline(ask):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: refuses
        endpoint = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for answer in ask(endpoint.replace("//", "//me:secret@"), "org/model", "org/other"):
            check_refusal(answer, "'org/", f"{endpoint} not reachable", "; connect, or set")
            assert "secret" not in answer["error"]
    (answer,) = ask(endpoint, "org/model", HF_HUB_OFFLINE="1")
    check_refusal(answer, "'org/model'", "HF_HUB_OFFLINE is set; unset it")
    assert not [path for path in Path(ask.cache).rglob("*") if path.is_file()]


def test_five_models_behind_a_hub_that_hangs_fail_together(ask):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # accepts and never answers
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        answers = ask(endpoint, *(f"org/model-{number}" for number in range(5)), timeout=30)
        for number, answer in enumerate(answers):
            check_refusal(answer, f"'org/model-{number}'", endpoint)
        silent.settimeout(0)
        silent.accept()[0].close()
        with pytest.raises(BlockingIOError):
            silent.accept()  # it was asked once
