"""`audioheads doctor`: report package versions, devices, folders and the model hub. Nothing is repaired."""

from __future__ import annotations

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from importlib import import_module, metadata
from pathlib import Path

from pipeline.console import Console

_PACKAGES = {  # module -> distribution
    "torch": "torch",
    "torchaudio": "torchaudio",
    "torchvision": "torchvision",
    "transformers": "transformers",
    "librosa": "librosa",
    "soundfile": "soundfile",
    "soxr": "soxr",
    "h5py": "h5py",
    "sklearn": "scikit-learn",
    "torchvggish": "torchvggish",
    "ai_edge_litert": "ai-edge-litert",
    "onnxruntime": "onnxruntime",
}
_OPTIONAL = {
    "torchvision": "used by end-to-end training",
    "ai_edge_litert": "pip install 'audioheads[litert]'",
    "onnxruntime": "pip install 'audioheads[onnx]'",
}
_TORCH_PAIRS = {"torchaudio": lambda minor: (2, minor), "torchvision": lambda minor: (0, minor + 15)}
_HUB_TIMEOUT_S = 2.5

Finding = tuple[str, str, str]
"""What was checked, what was found, and where it is or what to do."""


def examine(console: Console, folders: tuple[Path, ...] = (Path("cache"), Path("runs"))) -> None:
    """Print what is installed and reachable. No finding is an error.

    Args:
        console: Prints the tables.
        folders: The output folders to test for write access.
    """
    console.table(
        ("package", "version", "loads from"),
        [("python", platform.python_version(), sys.executable), *packages()],
        foldable=["version", "loads from"],
    )
    console.line("")
    checks: tuple[Callable[[], Iterator[Finding]], ...] = (_devices, _processor, lambda: _folders(folders), _hub)
    findings = [finding for check in checks for finding in check()]
    console.table(("check", "found", "note"), findings, foldable=["note"])
    for line in mismatches(_installed()):
        console.line("")
        console.line(line)


def packages() -> Iterator[Finding]:
    """Yield version and location of every package that affects results."""
    for module, distribution in _PACKAGES.items():
        try:
            loaded = import_module(module)
        except ImportError as error:
            reason = f"not installed: {_OPTIONAL[module]}" if module in _OPTIONAL else f"does not import: {error}"
            yield distribution, "–", reason
            continue
        except Exception as error:  # a broken binary can raise anything; the other packages are still listed
            yield distribution, "–", f"does not import: {type(error).__name__}: {error}"
            continue
        version = _version(distribution) or str(getattr(loaded, "__version__", "unknown"))
        if module == "soundfile":
            version += f" (libsndfile {loaded.__libsndfile_version__})"
        if module == "h5py":
            version += f" (HDF5 {loaded.version.hdf5_version})"
        file = Path(loaded.__file__ or "–")
        yield distribution, version, str(file.parent if file.name == "__init__.py" else file)


def mismatches(versions: dict[str, str]) -> list[str]:
    """Return one message for each companion package of torch that was built for another torch version.

    Args:
        versions: Distribution name to version, for the installed ones.
    """
    torch_version = _major_minor(versions.get("torch", ""))
    if torch_version is None or torch_version[0] != 2:
        return []
    sentences = []
    for name, expected in _TORCH_PAIRS.items():
        found, wanted = _major_minor(versions.get(name, "")), expected(torch_version[1])
        if found is not None and found != wanted:
            sentences.append(
                f"{name} {versions[name]} does not match torch {versions['torch']}: "
                f"install {name}=={wanted[0]}.{wanted[1]}.*"
            )
    return sentences


def _installed() -> dict[str, str]:
    return {name: version for name in _PACKAGES.values() if (version := _version(name)) is not None}


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _major_minor(version: str) -> tuple[int, int] | None:
    parts = version.split(".")
    return (int(parts[0]), int(parts[1])) if len(parts) > 1 and parts[0].isdigit() and parts[1].isdigit() else None


def _devices() -> Iterator[Finding]:
    import torch

    if not torch.cuda.is_available():
        yield (
            "cuda",
            "none",
            f"torch is built for CUDA {torch.version.cuda}" if torch.version.cuda else "torch without CUDA",
        )
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield f"cuda:{index}", properties.name, f"{properties.total_memory / 2**30:.0f} GiB"
    if torch.backends.mps.is_available():
        yield "mps", "available", ""


def _processor() -> Iterator[Finding]:
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    yield "cpu", torch.backends.cpu.get_cpu_capability(), f"{platform.machine()}, {usable} usable cores"
    yield "threads", str(torch.get_num_threads()), "default of torch; features.threads overrides it"
    flags = _cpu_flags()
    bf16 = [flag for flag in ("amx_bf16", "avx512_bf16", "bf16") if flag in flags]
    if flags:
        note = "features.precision=bf16 is fast here" if bf16 else "features.precision=bf16 is slow here"
        yield "bf16 instructions", ", ".join(bf16) or "none", note


def _cpu_flags() -> set[str]:
    """Return the instruction sets listed by the kernel; empty if it lists none."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return set()
    return {flag for line in lines if line.startswith(("flags", "Features")) for flag in line.split(":", 1)[1].split()}


def _folders(folders: tuple[Path, ...]) -> Iterator[Finding]:
    for folder in folders:
        parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
        try:
            with tempfile.TemporaryFile(dir=parent):
                pass
        except OSError as error:
            yield str(folder), "not writable", f"{error.strerror}; choose another with --set output.{folder.name}=…"
        else:
            yield str(folder), "writable", str(folder.absolute())


def _hub() -> Iterator[Finding]:
    import urllib.error
    import urllib.request

    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        yield "model hub", "offline", "HF_HUB_OFFLINE is set; only weights on disk are used"
        return
    try:
        with urllib.request.urlopen(constants.ENDPOINT, timeout=_HUB_TIMEOUT_S):
            pass
    except urllib.error.HTTPError as error:
        yield "model hub", "reachable", f"{constants.ENDPOINT} answered {error.code}"
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        yield "model hub", "not reachable", f"{constants.ENDPOINT}: {reason}; weights from folders and `random` work"
    else:
        yield "model hub", "reachable", constants.ENDPOINT
