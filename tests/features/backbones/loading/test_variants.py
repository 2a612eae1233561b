"""Weights of another variant are refused in the entry of a preset, and copies of the right ones are not."""

import re

import pytest

from features.backbones import describe, parse_options
from features.backbones.loading.variants import check_variant
from features.errors import WeightsError


def check(entry, spec=None):
    check_variant(parse_options(entry), spec or describe(entry))


@pytest.mark.parametrize(
    ("name", "file", "other"),
    [
        ("beats-iter1", "BEATs_iter3.pt", "beats-iter3"),
        ("beats-iter3-plus-as2m-finetuned", "BEATs_iter3_plus_AS2M.pt", "beats-iter3-plus-as2m"),
        ("birdaves-biox-base", "birdaves-biox-large.torchaudio.pt", "birdaves-biox-large"),
        ("openl3-env", "torchopenl3_mel256_music_512.pth.tar", "openl3-music"),
    ],
)
def test_a_published_file_of_another_preset_is_named(name, file, other, tmp_path):
    (tmp_path / file).write_bytes(b"weights")
    entry = {"name": name, "label": "mine", "weights": str(tmp_path / file)}
    message = (
        rf"^mine: .*{re.escape(file)} has the name of the weights of {other}; set `name: {other}`, or `weights` to"
    )
    with pytest.raises(WeightsError, match=message):
        check(entry)


def test_a_repository_of_another_preset_is_named():
    spec = describe({"name": "wav2vec2-large", "weights": "random"})
    with pytest.raises(
        WeightsError, match=r"facebook/wav2vec2-large@main has the name of the weights of wav2vec2-large"
    ):
        check({"name": "wav2vec2-base", "weights": "facebook/wav2vec2-large@main"}, spec)


@pytest.mark.parametrize("name", ["BEATs_iter1.pt", "my-own.pt", "model.safetensors", "checkpoint-300.pth"])
def test_a_copy_and_an_unknown_file_pass(name, tmp_path):
    (tmp_path / name).write_bytes(b"weights")
    check({"name": "beats-iter1", "weights": str(tmp_path / name)})
    check({"name": "beats", "weights": str(tmp_path / name)})


def test_a_folder_of_another_size_is_named(save_encoder):
    folder, _ = save_encoder()
    message = (
        r"^wav2vec2-base: .* is a wav2vec2 model of 4 layers with 32 values, but wav2vec2-base is wav2vec2 of 13 with "
        r"768; set `weights` to those of wav2vec2-base, or `name: wav2vec2` for other models$"
    )
    with pytest.raises(WeightsError, match=message):
        check({"name": "wav2vec2-base", "weights": str(folder)})
    check({"name": "wav2vec2", "weights": str(folder)})


def test_a_folder_of_another_architecture_of_the_same_size_is_named():
    spec = describe({"name": "wav2vec2-base", "weights": "random"})
    with pytest.raises(
        WeightsError, match="is a wav2vec2 model of 13 layers with 768 values, but hubert-base is hubert"
    ):
        check({"name": "hubert-base", "weights": "my/folder"}, spec)


@pytest.mark.parametrize(
    "name", ["wav2vec2-base", "hubert-base", "mert-v1-95m", "distilhubert", "whisper-tiny", "clap", "ast", "dac-16khz"]
)
def test_a_folder_of_the_same_architecture_passes(name):
    spec = describe({"name": name, "weights": "random"})
    check({"name": name, "weights": "my/folder"}, spec)
    check({"name": name, "weights": "."}, spec)


def test_class_tokens_are_not_compared_with_the_frames_of_the_record():
    entry = {"name": "ast", "embedding": "pooled"}
    check({**entry, "weights": "my/folder"}, describe({**entry, "weights": "random"}))
