"""Miniature corpora in their real layouts: seeded tones that tell the class."""

from pathlib import Path

import numpy as np
import soundfile as sf


def tone(path: Path, pitch_hz: float, seconds: float, rate: int, seed: int) -> None:
    """A noisy tone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    samples = 0.4 * np.sin(2 * np.pi * pitch_hz * time * rng.uniform(0.95, 1.05)) + 0.05 * rng.standard_normal(
        len(time)
    )
    sf.write(path, samples.astype(np.float32), rate)


def gtzan(root: Path, per_genre: int = 6) -> Path:
    """Two genres of `genres_original/`."""
    for number, genre in enumerate(("blues", "rock")):
        for take in range(per_genre):
            clip = root / "genres_original" / genre / f"{genre}.{take:05d}.wav"
            tone(clip, 300 + 500 * number, 0.6 + 0.1 * take, 22_050, 100 * number + take)
    return root


def urbansound8k(root: Path, folds: int = 3) -> Path:
    """Two classes in some of the ten folds."""
    lines = ["slice_file_name,fsID,start,end,salience,fold,classID,class"]
    for fold in range(1, folds + 1):
        for number, label in enumerate(("dog_bark", "siren")):
            for take in range(2):
                recording = 1000 * fold + 10 * number + take
                name = f"{recording}-{number}-0-0.wav"
                tone(root / "audio" / f"fold{fold}" / name, 300 + 500 * number, 0.5 + 0.2 * take, 16_000, recording)
                lines.append(f"{name},{recording},0,1,1,{fold},{number},{label}")
    (root / "metadata").mkdir(parents=True)
    (root / "metadata" / "UrbanSound8K.csv").write_text("\n".join(lines) + "\n")
    return root


def esc10(root: Path, folds: int = 5) -> Path:
    """Two classes of the first publication's layout."""
    for number, label in enumerate(("001 - Dog bark", "002 - Rain")):
        for fold in range(1, folds + 1):
            for take in "AB":
                clip = root / label / f"{fold}-{1000 * fold + number}-{take}.ogg"
                tone(clip, 300 + 500 * number, 0.7, 16_000, 100 * fold + number)
    return root
