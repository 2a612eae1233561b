"""Say why libsndfile does not read a file: its format, by its first bytes, or its codec, and how to convert it."""

from __future__ import annotations

import shlex
from pathlib import Path

import soundfile as sf

from features.audio.containers.member import Member

UNSUPPORTED = (4, 18, 106, 110, 117, 140, 141)  # libsndfile's codes for encodings that it does not read
INCOMPLETE = 24  # its code for a header without a usable sample rate or number of channels

OTHER_FORMATS = (  # name, position and value of the first bytes
    ("MPEG-4 audio (AAC, ALAC)", 4, b"ftyp"),
    ("Matroska or WebM", 0, b"\x1aE\xdf\xa3"),
    ("Windows Media Audio", 0, b"0&\xb2u\x8ef\xcf\x11"),
    ("AMR", 0, b"#!AMR"),
    ("AAC", 0, b"\xff\xf1"),
    ("AAC", 0, b"\xff\xf9"),
    ("Monkey's Audio", 0, b"MAC "),
    ("WavPack", 0, b"wvpk"),
    ("MIDI, which holds no audio", 0, b"MThd"),
    ("RealMedia", 0, b".RMF"),
    ("a web page", 0, b"<!DOCTYPE"),
    ("a web page", 0, b"<html"),
)


def unknown_format(path: Path | Member) -> str:
    """Describe a file that libsndfile does not know, with the format if its first bytes show it."""
    with path.open("rb") as file:
        head = file.read(16)
    known = next((name for name, at, mark in OTHER_FORMATS if head[at : at + len(mark)] == mark), None)
    what = f"libsndfile does not read {known}" if known else "its format is not recognised"
    name = Path(path.name).name
    names = f"{shlex.quote(name)} {shlex.quote(f'{Path(name).stem}.flac')}"
    return f"cannot be decoded ({what}); convert it to WAV or FLAC, for example with ffmpeg -i {names}"


def decoding_error(error: sf.LibsndfileError) -> str:
    """Return why libsndfile does not decode a file, with advice if another program may."""
    reason = error.error_string.strip().rstrip(".:")
    if error.code == INCOMPLETE:
        return "has an implausible sample rate or number of channels"
    advice = "; convert it to WAV or FLAC, for example with ffmpeg" if error.code in UNSUPPORTED else ""
    return f"cannot be decoded ({reason or f'libsndfile error {error.code}'}){advice}"
