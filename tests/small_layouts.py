"""Common layouts of labelled audio in miniature: two classes, three speakers or recordings."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile as sf

RATE = 16_000
CLASSES = ("dog", "siren")
SPEAKERS = ("ada", "bob", "eve")


def sound(label: str, take: int, seconds: float = 0.5) -> np.ndarray:
    """A noisy tone whose pitch tells the class."""
    rng = np.random.default_rng([CLASSES.index(label), take])
    time = np.arange(round(seconds * RATE)) / RATE
    tone = np.sin(2 * np.pi * (300 + 500 * CLASSES.index(label)) * time * rng.uniform(0.95, 1.05))
    return (0.4 * tone + 0.05 * rng.standard_normal(len(time))).astype(np.float32)


def encoded(label: str, take: int, kind: str = "WAV") -> bytes:
    """The bytes of an audio file."""
    buffer = io.BytesIO()
    sf.write(buffer, sound(label, take), RATE, format=kind)
    return buffer.getvalue()


def clips(per_class: int = 6):
    """Yield label, take and speaker of each clip."""
    for take in range(per_class):
        for label in CLASSES:
            yield label, take, SPEAKERS[take % 3]


def write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def audiofolder(root: Path) -> Path:
    """`metadata.csv` in each split folder."""
    for split, takes in {"train": range(4), "test": range(4, 6)}.items():
        lines = ["file_name,label,speaker_id"]
        for label, take, speaker in clips():
            if take in takes:
                write(root / split / "audio" / f"{label}{take}.wav", encoded(label, take))
                lines.append(f"audio/{label}{take}.wav,{label},{speaker}")
        (root / split / "metadata.csv").write_text("\n".join(lines) + "\n")
    return root


def features(names=CLASSES) -> dict[bytes, bytes]:
    """The schema metadata of `datasets`."""
    declared = {
        "audio": {"sampling_rate": RATE, "_type": "Audio"},
        "label": {"names": list(names), "_type": "ClassLabel"},
        "speaker_id": {"dtype": "string", "_type": "Value"},
    }
    return {b"huggingface": json.dumps({"info": {"features": declared}}).encode()}


def audio_table(takes=range(6), kind: str = "WAV") -> pa.Table:
    """Rows of `datasets`: audio, class number, speaker."""
    rows = [
        {
            "audio": {"bytes": encoded(label, take, kind), "path": f"{label}{take}.{kind.lower()}"},
            "label": CLASSES.index(label),
            "speaker_id": speaker,
        }
        for label, take, speaker in clips()
        if take in takes
    ]
    audio = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    schema = pa.schema([("audio", audio), ("label", pa.int64()), ("speaker_id", pa.string())], features())
    return pa.Table.from_pylist(rows, schema)


def parquet_dataset(root: Path) -> Path:
    """The `data/` folder of a dataset on the model hub."""
    (root / "data").mkdir(parents=True)
    for split, takes in {"train": range(4), "test": range(4, 6)}.items():
        pq.write_table(audio_table(takes), root / "data" / f"{split}-00000-of-00001.parquet", row_group_size=3)
    return root


def saved_dataset(root: Path) -> Path:
    """`DatasetDict.save_to_disk`."""
    for split, takes in {"train": range(4), "test": range(4, 6)}.items():
        table = audio_table(takes)
        (root / split).mkdir(parents=True)
        file = str(root / split / "data-00000-of-00001.arrow")
        with pa.OSFile(file, "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            for batch in table.to_batches(max_chunksize=5):
                writer.write_batch(batch)
        (root / split / "state.json").write_text(
            json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}], "_split": split})
        )
        (root / split / "dataset_info.json").write_text("{}")
    (root / "dataset_dict.json").write_text(json.dumps({"splits": ["train", "test"]}))
    return root


def kaldi(root: Path) -> Path:
    """A Kaldi data folder with audio beside it, whole recordings as utterances."""
    folder = root / "data" / "all"
    folder.mkdir(parents=True)
    lists: dict[str, list[str]] = {"wav.scp": [], "utt2spk": [], "text": []}
    for label, take, speaker in clips():
        utterance = f"{speaker}-{label}{take}"
        write(root / "wav" / f"{utterance}.wav", encoded(label, take))
        lists["wav.scp"].append(f"{utterance} ../../wav/{utterance}.wav")
        lists["utt2spk"].append(f"{utterance} {speaker}")
        lists["text"].append(f"{utterance} {label}")
    for name, lines in lists.items():
        (folder / name).write_text("\n".join(sorted(lines)) + "\n")
    return folder


def webdataset(root: Path) -> Path:
    """Archives with audio and JSON."""
    root.mkdir(parents=True, exist_ok=True)
    for number, takes in enumerate((range(3), range(3, 6))):
        with tarfile.open(root / f"clips-{number:06d}.tar", "w") as archive:
            for label, take, speaker in clips():
                if take in takes:
                    about = json.dumps({"label": label, "speaker": speaker}).encode()
                    for suffix, content in {"flac": encoded(label, take, "FLAC"), "json": about}.items():
                        add(archive, f"./{label}{take}.{suffix}", content)
    return root


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    archive.addfile(info, io.BytesIO(content))


def recordings(root: Path) -> dict[str, list[tuple[float, float, str]]]:
    """Three recordings of four sounds each; returns start, end and label of each sound."""
    root.mkdir(parents=True, exist_ok=True)
    labels = {}
    for number, name in enumerate(SPEAKERS):
        order = [CLASSES[(number + at) % 2] for at in range(4)]
        sf.write(
            root / f"{name}.wav",
            np.concatenate([sound(label, 10 * number + at) for at, label in enumerate(order)]),
            RATE,
        )
        labels[name] = [(0.5 * at, 0.5 * at + 0.5, label) for at, label in enumerate(order)]
    return labels


def audacity(root: Path) -> Path:
    """Recordings with label files."""
    for name, labels in recordings(root).items():
        lines = [f"{start:.6f}\t{end:.6f}\t{label}\n\\\t100.0\t900.0" for start, end, label in labels]
        (root / f"{name}.txt").write_text("\n".join(lines) + "\n")
    return root


def raven(root: Path) -> Path:
    """Recordings with selection tables; every selection has a row per view."""
    header = "Selection\tView\tChannel\tBegin Time (s)\tEnd Time (s)\tLow Freq (Hz)\tHigh Freq (Hz)\tSpecies"
    for name, labels in recordings(root).items():
        lines = [header]
        for number, (start, end, label) in enumerate(labels, 1):
            for view in ("Waveform 1", "Spectrogram 1"):
                lines.append(f"{number}\t{view}\t1\t{start:.9f}\t{end:.9f}\t100.0\t900.0\t{label}")
        (root / f"{name}.Table.1.selections.txt").write_text("\r\n".join(lines) + "\r\n")
    return root
