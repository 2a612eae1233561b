"""Cache files changed by somebody who made every digest right again."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from features.store import file_header as header
from features.store.hdf5_file import array_digest, attribute_digest
from features.store.layered import checksums_name, digest_of_layers


@contextmanager
def forged(path: Path) -> Iterator[h5py.File]:
    """Open a cache file for any change; when the block ends, its digests and its header fit the new contents."""
    with h5py.File(path, "r+") as file:
        yield file
        file.attrs["digest"] = attribute_digest(file)
    with h5py.File(path, "r") as file:
        bulk = [item for name, item in file.items() if name in ("embeddings", "frames")]
        ranges = header.array_ranges(
            [
                group[name]
                for group in bulk
                for name in group
                if isinstance(group.get(name, getlink=True), h5py.HardLink) and group[name].chunks
            ]
        )
    content = path.read_bytes()[header.HEADER_BYTES :]
    path.write_bytes(bytes(header.HEADER_BYTES) + content)
    path.write_bytes(header.make_header(path, ranges) + content)


def replaced(file: h5py.File, name: str, change: Callable | None = None, digest: bool = True, **options) -> None:
    """Write a dataset again with other values, or as another kind of dataset, with its new checksum."""
    values, kind = file[name][()], file[name].dtype
    del file[name]
    values = values if change is None else change(values)
    dataset = file.create_dataset(name, data=values, **({"dtype": kind} | options))
    stored = dataset[()] if digest else values
    stored = stored.astype(object) if stored.dtype.kind == "S" else stored
    if not name.startswith("embeddings/"):
        dataset.attrs["sha256"] = array_digest(stored).hexdigest()
        return
    digests = [array_digest(layer).hexdigest() for layer in stored.swapaxes(0, 1)]
    dataset.attrs["sha256"] = digest_of_layers(digests)
    replaced(file, checksums_name(name), lambda _: np.array(digests, "S64"))


def as_version_1(path: Path) -> None:
    """Rewrite a cache file as programs did before arrays could be read by layer: chunks and checksums of whole rows."""
    with forged(path) as file:
        for name in [f"embeddings/{method}" for method in file["embeddings"]]:
            values = file[name][()]
            del file[name]
            options = {"chunks": (max(1, len(values) // 2), *values.shape[1:]), "fletcher32": True}
            dataset = file.create_dataset(name, data=values, **(options if len(values) else {}))
            dataset.attrs["sha256"] = array_digest(values).hexdigest()
        if "checksums" in file:
            del file["checksums"]
        file.attrs["format_version"] = 1
