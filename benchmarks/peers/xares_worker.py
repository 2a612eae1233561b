"""Encode clips with X-ARES; runs in the Python of an environment with X-ARES, see `benchmarks.peers.loops.Xares`.

Reads one JSON line per request from standard input ({"paths": [...]}) and answers with one line when all clips are
encoded. The measured time covers what X-ARES does to encode a dataset: read a tar of clips, decode, resample, batch and
pad, run the encoder, write the frames of the last layer to a tar. X-ARES decodes with torchaudio.load, which has needed
FFmpeg since 2.9; here soundfile decodes instead, which is faster for X-ARES.
"""

import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
import soundfile as sf
import torch
import torchaudio
import webdataset as wds
from transformers import Wav2Vec2FeatureExtractor, Wav2Vec2Model
from xares.audiowebdataset import create_rawaudio_webdataset
from xares.task import TaskConfig

CONFIG = TaskConfig.__dataclass_fields__
BATCH = CONFIG["batch_size_encode"].default


class Encoder(torch.nn.Module):
    """The encoder of X-ARES' own Wav2Vec2 example: padded batches, last hidden state."""

    sampling_rate = 16_000

    def __init__(self, folder: str) -> None:
        """Load model and processor."""
        super().__init__()
        self.processor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
        self.model = Wav2Vec2Model.from_pretrained(folder).eval()

    def forward(self, audio: torch.Tensor) -> torch.Tensor:
        """(B, T) to (B, F, D)."""
        inputs = self.processor(list(audio.numpy()), sampling_rate=self.sampling_rate, return_tensors="pt")
        return self.model(inputs.input_values).last_hidden_state


def load(path: str) -> tuple[torch.Tensor, int]:
    """Return what torchaudio.load returned before it needed FFmpeg."""
    samples, rate = sf.read(path, dtype="float32", always_2d=True)
    return torch.from_numpy(samples.T), rate


def encode(tar: Path, encoder: Encoder, folder: Path) -> int:
    """Encode a tar as `TaskBase.make_encoded_tar` does; return the number of clips."""
    clips = create_rawaudio_webdataset(
        [tar.as_posix()], target_sample_rate=encoder.sampling_rate, batch_size=BATCH, num_workers=1, pad_last=True
    )
    count = 0
    with torch.inference_mode(), wds.TarWriter(str(folder / "encoded.tar"), encoder=False) as sink:
        for (audio, _), about, names in clips:
            for frames, one, name in zip(encoder(audio), about, names, strict=True):
                buffer = io.BytesIO()
                np.save(buffer, frames.numpy())
                sink.write({"npy": buffer.getvalue(), "json": json.dumps(one).encode(), "__key__": name})
                count += 1
    return count


def write_tar(paths: list[str], tar: Path) -> None:
    """Write the clips in X-ARES' format: `key.wav` and `key.json`."""
    with tarfile.open(tar, "w") as file:
        for number, path in enumerate(paths):
            file.add(path, f"{number:06d}{Path(path).suffix}")
            info = tarfile.TarInfo(f"{number:06d}.json")
            info.size = 2
            file.addfile(info, io.BytesIO(b"{}"))


def main() -> None:
    """Answer requests until there are no more."""
    torchaudio.load = load
    encoder = Encoder(sys.argv[1])
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made: dict[str, Path] = {}
        for line in sys.stdin:
            paths = json.loads(line)["paths"]
            key = "\n".join(paths)
            if key not in made:
                made[key] = folder / f"{len(made)}.tar"
                write_tar(paths, made[key])
            count = encode(made[key], encoder, folder)
            if count != len(paths):
                raise RuntimeError(f"{count} of {len(paths)} clips were encoded")
            sys.stdout.write(json.dumps({"clips": count}) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
