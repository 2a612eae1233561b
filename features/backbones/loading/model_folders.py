"""Model folders as `save_pretrained` writes them: required files, configuration, digest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from features.backbones.loading.audio_parts import files_needed
from features.backbones.loading.digests import file_sha256, text_sha256
from features.backbones.loading.git_lfs import not_a_pointer
from features.errors import WeightsError
from features.json_files import read_object

CONFIG_FILE = "config.json"
PREPROCESSOR_FILES = ("preprocessor_config.json", "processor_config.json")
WEIGHT_FILES = ("model.safetensors", "pytorch_model.bin")
DEFAULT_SAMPLE_RATE = 16_000
# Keys of `config.json` that do not affect embeddings, or must not: the attention implementation is chosen here
VOLATILE_KEYS = (
    "transformers_version",
    "_name_or_path",
    "torch_dtype",
    "dtype",
    "architectures",
    "attn_implementation",
    "_attn_implementation",
    "output_attentions",
    "output_hidden_states",
    "return_dict",
    "gradient_checkpointing",
)


def check_folder(name: str, folder: Path) -> Path:
    """Return the folder if it has a configuration and weights.

    Raises:
        WeightsError: One of them is missing, or only a pointer to a file in Git LFS.
    """
    for file in (CONFIG_FILE, *PREPROCESSOR_FILES, *map(_index_of, WEIGHT_FILES)):
        if (folder / file).is_file():
            not_a_pointer(name, folder / file)
    missing = None if (folder / CONFIG_FILE).is_file() else CONFIG_FILE
    weights = [] if missing else weight_files(folder)
    if not missing and not weights:
        missing = " or ".join(WEIGHT_FILES)
    if missing:
        raise WeightsError(f"{name}: {folder} has no {missing}; it must be a folder from `save_pretrained`")
    for path in weights:
        not_a_pointer(name, path)
    return folder


def weight_files(folder: Path) -> list[Path]:
    """Return the weight files of a model folder, with all shards; empty if one is missing.

    Raises:
        WeightsError: The index of the shards is invalid.
    """
    for file in WEIGHT_FILES:
        if (folder / file).is_file():
            return [folder / file]
        index = folder / _index_of(file)
        if index.is_file():
            shards = [folder / shard for shard in indexed_shards(index)]
            return shards if all(shard.is_file() for shard in shards) else []
    return []


def _index_of(file: str) -> str:
    """Return the name of the index of weights in several files."""
    return f"{file}.index.json"


def has_safetensors(folder: Path) -> bool:
    """Return whether the weights of a model folder are safetensors, whose tensors can be read one by one."""
    return any(path.suffix == ".safetensors" for path in weight_files(folder))


def indexed_shards(index: Path) -> list[str]:
    """Return the files of a large model that are needed, sorted: all that its index lists, unless only a part is used.

    The model's configuration must be in the same folder.

    Raises:
        WeightsError: The index is damaged, names a file outside its folder, or lists no tensor of the part.
    """
    listed = read_object(index, error=WeightsError).get("weight_map")
    if not isinstance(listed, dict) or not all(isinstance(name, str) for name in listed.values()):
        raise WeightsError(f"{index}: has no `weight_map` of tensors to files")
    names = sorted(set(listed.values()))
    if outside := next((name for name in names if Path(name).is_absolute() or ".." in Path(name).parts), None):
        raise WeightsError(f"{index}: names a file {outside!r} outside its folder")
    if not index.name.startswith(WEIGHT_FILES[0]):
        return names
    model_type = read_config(index.parent).get("model_type")
    needed = files_needed(listed, model_type)
    if not needed:
        raise WeightsError(f"{index}: lists no tensor of the audio encoder of {model_type}")
    return needed


def folder_sha256(folder: Path) -> str:
    """Return the digest of a model folder's weights: of the file, or of the digests of its shards."""
    digests = [file_sha256(path) for path in weight_files(folder)]
    return digests[0] if len(digests) == 1 else text_sha256(digests)


def read_config(folder: Path) -> dict[str, Any]:
    """Read `config.json`, without keys that do not affect embeddings.

    Raises:
        WeightsError: The file is not a JSON object.
    """
    return {key: value for key, value in _read_object(folder / CONFIG_FILE).items() if key not in VOLATILE_KEYS}


def read_preprocessing(folder: Path) -> tuple[bool, int, bool]:
    """Read whether inputs are normalised, their sample rate in Hz, and whether the folder states these settings.

    Raises:
        WeightsError: The preprocessor's configuration is invalid.
    """
    for file in PREPROCESSOR_FILES:
        path = folder / file
        stated = _read_object(path) if path.is_file() else {}
        stated = stated.get("feature_extractor", stated) if file == "processor_config.json" else stated
        if not isinstance(stated, dict) or not stated.keys() & {"do_normalize", "sampling_rate"}:
            continue
        normalize, rate = stated.get("do_normalize", True), stated.get("sampling_rate", DEFAULT_SAMPLE_RATE)
        if not isinstance(normalize, bool) or not isinstance(rate, int) or rate <= 0:
            raise WeightsError(f"{path}: do_normalize {normalize!r}, sampling_rate {rate!r} are invalid")
        return normalize, rate, True
    return True, DEFAULT_SAMPLE_RATE, False


def _read_object(path: Path) -> dict[str, Any]:
    """Read a JSON file that contains an object."""
    try:
        return read_object(path, error=WeightsError)
    except OSError as error:
        raise WeightsError(f"{path}: cannot be read ({error.strerror})") from None
