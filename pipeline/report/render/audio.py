"""Audio for the page: relative links to the user's files, copies in a folder, or audio embedded in the page."""

from __future__ import annotations

import base64
import hashlib
import io
import os
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
import soundfile as sf

from features.audio.containers import open_audio, split_member
from features.audio.decoding import Waveform, read_waveform, resample
from features.audio.quiet import quiet_codecs
from features.errors import AudioError, RunError, decoder_error
from features.manifest import Manifest
from features.records import Records
from features.store.content_keys import ClipContent
from features.system.atomic_write import atomic_write
from features.system.attempts import Attempts
from pipeline.report.study import Study

AudioMode = Literal["link", "copy", "embed"]
FOLDER = "audio"
# Container and encoding (libsndfile names) that Chromium, Firefox and Safari all play.
PLAYABLE = {
    ("WAV", "PCM_U8"): ".wav",
    ("WAV", "PCM_16"): ".wav",
    ("WAV", "PCM_24"): ".wav",
    ("WAV", "PCM_32"): ".wav",
    ("WAV", "FLOAT"): ".wav",
    ("WAVEX", "PCM_16"): ".wav",
    ("WAVEX", "PCM_24"): ".wav",
    ("MP3", "MPEG_LAYER_III"): ".mp3",
    ("FLAC", "PCM_16"): ".flac",
    ("FLAC", "PCM_24"): ".flac",
    ("OGG", "VORBIS"): ".ogg",
    ("OGG", "OPUS"): ".opus",
}
MP3_RATES_HZ = (8000, 11025, 12000, 16000, 22050, 24000)  # MP3 rates up to 24 kHz, enough for compact audio
MP3_LEVEL = 0.5  # libsndfile compression level with variable bit rate: about 39 kbit/s on ESC-10 at 24 kHz
_COPIED = re.compile(r".*-[0-9a-f]{12}\.\w+")


@dataclass(frozen=True)
class Clip:
    """The audio of a clip: a file or a segment of a file.

    Attributes:
        path: The file.
        start_s: Start of the clip in the file, in seconds.
        duration_s: Duration of the clip in seconds; None for the rest of the file.
        key: Digest of its content; empty if the file cannot be read.
        isolated: Decode it in a process of its own, because an earlier process ended while decoding it.
    """

    path: Path
    start_s: float
    duration_s: float | None
    key: str
    isolated: bool = False

    @property
    def is_whole(self) -> bool:
        """Whether the clip is the whole file."""
        return not self.start_s and self.duration_s is None

    def name(self, suffix: str) -> str:
        """Return the file name of a copy: safe in URLs and on every system, and unique to the content."""
        stem = re.sub(r"[^\w-]", "_", self.path.stem, flags=re.ASCII)[:40]
        return f"{stem}-{hashlib.sha256(self.key.encode()).hexdigest()[:12]}{suffix}"


def audio_sources(
    study: Study,
    clips: Sequence[Clip],
    folder: Path,
    mode: AudioMode = "link",
    advance: Callable[[], object] = lambda: None,
) -> list[str | None]:
    """Return the URL of the audio of some clips, relative to the page. Missing copies are created.

    Args:
        study: The experiment.
        clips: From `audio_of` or `audio_of_windows`.
        folder: The folder of the page.
        mode: `link` links to the user's files, and to FLAC copies in `audio/` for formats that browsers do not play.
            Audio in containers is copied, too. `copy` copies all clips to `audio/`. `embed` returns data URLs with
            compact mono MP3.
        advance: Called once per clip.

    Returns:
        One URL per clip; None if the file is missing or cannot be read.

    Raises:
        RunError: A copy cannot be written.
    """
    makers: dict[AudioMode, Callable[[Clip], str]] = {
        "link": partial(_linked, folder),
        "copy": partial(_copied, folder),
        "embed": _embedded,
    }
    make = makers[mode]

    def one(clip: Clip, attempts: Attempts) -> str | None:
        try:
            with attempts.attempt(clip.key.partition("#")[0]) as isolated:
                return make(replace(clip, isolated=isolated)) if clip.key else None
        except AudioError:
            return None
        except OSError as error:
            raise RunError(f"cannot write audio to {folder / FOLDER} ({error.strerror or error})") from error
        finally:
            advance()

    with Attempts(study.cache_folder) as attempts, ThreadPoolExecutor(os.cpu_count()) as threads:
        return list(threads.map(partial(one, attempts=attempts), clips))


def audio_of(study: Study, clips: np.ndarray) -> list[Clip]:
    """Return the audio of some test clips; `clips` are their numbers, see `Study.tested`."""
    return _clips(study.manifest, study.inputs.contents, study.tested[clips].tolist())


def audio_of_windows(study: Study, windows: Sequence[int]) -> list[Clip]:
    """Return the audio of some windows of background, given by their rows."""
    background = study.inputs.background
    return [] if background is None else _clips(background.manifest, background.contents, windows)


def _clips(manifest: Manifest, contents: Records[ClipContent], rows: Sequence[int]) -> list[Clip]:
    return [Clip(manifest.path_of(row), *manifest.segment_of(row), contents[row].key) for row in rows]


def remove_unused(folder: Path, sources: Iterable[str | None]) -> None:
    """Remove copies from earlier reports that are not in `sources`; other files are kept."""
    used = {source for source in sources if source}
    for path in (folder / FOLDER).glob("*") if (folder / FOLDER).is_dir() else ():
        if f"{FOLDER}/{path.name}" not in used and _COPIED.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _linked(folder: Path, clip: Clip) -> str:
    if split_member(clip.path) is not None:
        return _copied(folder, clip)
    if _suffix(clip) is None:
        return _converted(folder, clip)
    try:
        # Symbolic links are not resolved, because browsers resolve URLs without following them.
        relative = os.path.relpath(clip.path.absolute(), folder.absolute())
    except ValueError:  # another drive
        return clip.path.absolute().as_uri() + _part(clip)
    url = relative.replace(os.sep, "/")
    return quote(url if url.startswith("..") else f"./{url}") + _part(clip)


def _part(clip: Clip) -> str:
    """Return the media fragment (`#t=…`) of a segment; empty for a whole file."""
    if clip.is_whole:
        return ""
    end = "" if clip.duration_s is None else f",{clip.start_s + clip.duration_s:.3f}"
    return f"#t={clip.start_s:.3f}{end}"


def _copied(folder: Path, clip: Clip) -> str:
    suffix = _suffix(clip) if clip.is_whole else None
    if suffix is None:
        return _converted(folder, clip)

    def write(path: Path) -> None:
        with open_audio(clip.path) as stored, path.open("wb") as copy:
            shutil.copyfileobj(stored, copy)

    return _write(folder, clip.name(suffix), write)


def _converted(folder: Path, clip: Clip) -> str:
    def write(path: Path) -> None:
        wave = decoded(clip)
        path.write_bytes(_encoded(wave.samples, wave.sample_rate, format="FLAC", subtype="PCM_16"))

    return _write(folder, clip.name(".flac"), write)


def _write(folder: Path, name: str, write: Callable[[Path], object]) -> str:
    """Write a file in `audio/` atomically unless it exists, and return its URL."""
    path = folder / FOLDER / name
    if not path.is_file():
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, sync="none") as temporary:
            write(temporary)
    return f"{FOLDER}/{name}"


def _embedded(clip: Clip) -> str:
    wave = decoded(clip)
    rate = next((rate for rate in MP3_RATES_HZ if rate >= wave.sample_rate), MP3_RATES_HZ[-1])
    compact = _encoded(
        resample(wave.samples, wave.sample_rate, rate),
        rate,
        format="MP3",
        subtype="MPEG_LAYER_III",
        compression_level=MP3_LEVEL,
        bitrate_mode="VARIABLE",
    )
    return "data:audio/mpeg;base64," + base64.b64encode(compact).decode("ascii")


def decoded(clip: Clip) -> Waveform:
    """Decode a clip at its own rate; whatever a decoder raises is an `AudioError`."""
    try:
        return read_waveform(clip.path, None, clip.start_s, clip.duration_s, isolated=clip.isolated)
    except AudioError:
        raise
    except Exception as error:
        raise decoder_error(error) from error


def _encoded(samples: np.ndarray, rate: int, **options: Any) -> bytes:
    """Encode mono samples as a file; samples beyond ±1 are clipped."""
    buffer = io.BytesIO()
    sf.write(buffer, np.clip(samples, -1, 1), rate, **options)
    return buffer.getvalue()


def _suffix(clip: Clip) -> str | None:
    """Return the file name suffix for a format that browsers play; None for other formats and isolated files.

    Raises:
        AudioError: The file cannot be read.
    """
    if clip.isolated:
        return None
    try:
        with open_audio(clip.path) as file, quiet_codecs():
            info = sf.info(file)
    except (sf.LibsndfileError, OSError) as error:
        raise AudioError(f"{clip.path}: cannot be read") from error
    return PLAYABLE.get((info.format, info.subtype))
