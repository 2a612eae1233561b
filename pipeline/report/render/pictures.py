"""Small pictures of clips for the page's player: the envelope of the waveform and a log-mel spectrogram."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cache, partial
from itertools import pairwise

import numpy as np

from features.audio.decoding import Waveform
from features.errors import AudioError
from features.system.attempts import Attempts
from pipeline.report.analysis.hard_clips import difficulty
from pipeline.report.render.audio import Clip, audio_of, decoded
from pipeline.report.render.picture_store import COLUMNS, Picture, read_pictures, write_pictures
from pipeline.report.study import Study

MOST_PICTURES = 1500  # about 0.6 kB of page and 15 ms of one core each
BANDS = 40  # height of a spectrogram in pixels; it has as many columns as the envelope
FRAMES_PER_COLUMN = 3
WINDOW_S = 0.046  # of a frame; as many samples as the next power of two, at least `LEAST_N_FFT`
LEAST_N_FFT = 1024
RANGE_DB = 60.0
QUALITY = 30  # of WebP, 0…100
LEVELS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"  # 0…63, as in base64


def pictures_of(study: Study, clips: np.ndarray, advance: Callable[[], object] = lambda: None) -> list[Picture | None]:
    """Return a picture of each clip; None for clips without readable audio and beyond `MOST_PICTURES`.

    Pictures are kept in the run folder. Only clips that are new or changed are decoded.

    Args:
        study: The experiment.
        clips: Numbers of test clips, ascending, shape (n,). If there are too many, the most difficult have pictures.
        advance: Called after each clip that has or cannot have a picture.
    """
    drawn = most_difficult(study, clips)
    kept = read_pictures(study.config.run_dir)
    shown = dict(zip(drawn.tolist(), audio_of(study, drawn), strict=True))
    missing = [clip for clip in shown.values() if _key(clip) not in kept]

    def one(clip: Clip, attempts: Attempts) -> Picture | None:
        try:
            with attempts.attempt(clip.key.partition("#")[0]) as isolated:
                return picture_of(decoded(replace(clip, isolated=isolated))) if clip.key else None
        except AudioError:
            return None
        finally:
            advance()

    with Attempts(study.cache_folder) as attempts, ThreadPoolExecutor(os.cpu_count()) as threads:
        pictures = list(threads.map(partial(one, attempts=attempts), missing))
    found = kept | {_key(clip): picture for clip, picture in zip(missing, pictures, strict=True) if picture}
    of_clips = {number: found[_key(clip)] for number, clip in shown.items() if _key(clip) in found}
    used = {_key(shown[number]): picture for number, picture in of_clips.items()}
    if used != kept:
        write_pictures(study.config.run_dir, used)
    return [of_clips.get(clip) for clip in clips.tolist()]


def _key(clip: Clip) -> str:
    """Return a text that identifies the samples of a clip."""
    return f"{clip.key} {clip.start_s} {clip.duration_s}"


def most_difficult(study: Study, clips: np.ndarray, most: int = MOST_PICTURES) -> np.ndarray:
    """Return the clips with the highest mean difficulty over models, ascending; all if there are at most `most`."""
    if len(clips) <= most:
        return clips
    hard = difficulty([model.outcomes for model in study.learned])[clips]
    return np.sort(clips[np.argsort(-hard, kind="stable")[:most]])


def picture_of(wave: Waveform) -> Picture:
    """Return the picture of mono samples; the same samples give the same picture."""
    return envelope(wave.samples), base64.b64encode(webp(log_mel(wave.samples, wave.sample_rate))).decode("ascii")


def envelope(samples: np.ndarray) -> str:
    """Return the highest absolute value of each column, relative to that of the clip, on a scale of 64 levels."""
    edges = np.linspace(0, len(samples), COLUMNS + 1).astype(int)
    peaks = np.array([np.abs(samples[low : max(high, low + 1)]).max(initial=0) for low, high in pairwise(edges)])
    highest = peaks.max(initial=0)
    scaled = np.rint(peaks / highest * (len(LEVELS) - 1)) if highest > 0 else np.zeros(COLUMNS)
    return "".join(LEVELS[int(level)] for level in scaled)


def log_mel(samples: np.ndarray, rate: int) -> np.ndarray:
    """Return a log-mel spectrogram from 0 (`RANGE_DB` below the loudest point) to 1, shape (bands, columns).

    Each column is the mean power of a few frames, so that a long clip costs no more than a short one.
    """
    n_fft = max(LEAST_N_FFT, 2 ** round(np.log2(rate * WINDOW_S)))
    padded = np.pad(samples, n_fft // 2)
    centres = np.linspace(0, max(0, len(samples) - 1), COLUMNS * FRAMES_PER_COLUMN).astype(int)
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[centres] * np.hanning(n_fft).astype(np.float32)
    power = (np.abs(np.fft.rfft(frames)) ** 2) @ _filters(rate, n_fft).T
    power = power.reshape(COLUMNS, FRAMES_PER_COLUMN, BANDS).mean(axis=1).T
    loudest = power.max(initial=0)
    if loudest <= 0:
        return np.zeros((BANDS, COLUMNS))
    return np.clip(10 * np.log10(np.maximum(power / loudest, 1e-12)) / RANGE_DB + 1, 0, 1)


def webp(values: np.ndarray) -> bytes:
    """Return a grey picture of values in 0…1 as WebP, lowest band at the bottom."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(np.rint(255 * values[::-1]).astype(np.uint8)).save(buffer, "WEBP", quality=QUALITY)
    return buffer.getvalue()


@cache
def _filters(rate: int, n_fft: int) -> np.ndarray:
    """Return the weights of the mel bands, shape (bands, n_fft / 2 + 1)."""
    from librosa.filters import mel

    weights: np.ndarray = mel(sr=rate, n_fft=n_fft, n_mels=BANDS)
    return weights
