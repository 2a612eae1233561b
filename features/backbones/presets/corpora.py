"""Corpora by name: where their clips come from, and which of them are parts of others.

Two corpora can share recordings if one is a part of the other, or if both were collected from the same public source.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

FREESOUND, YOUTUBE, LIBRIVOX = "Freesound", "YouTube", "LibriVox"


@dataclass(frozen=True)
class Corpus:
    """A corpus of labelled or unlabelled audio.

    Attributes:
        name: Its usual name.
        sources: Public collections that its recordings were taken from; empty: recorded for it, or bought.
        part_of: A corpus that contains all of its clips.
        kinds: Kinds of dataset and other spellings under which a config names it.
    """

    name: str
    sources: tuple[str, ...] = ()
    part_of: str | None = None
    kinds: tuple[str, ...] = ()


CORPORA = {
    corpus.name: corpus
    for corpus in (
        Corpus("200 million clips of Lin et al. 2020", (YOUTUBE,)),
        Corpus("ACAV100M", (YOUTUBE,)),
        Corpus("AudioCaps", (YOUTUBE,), part_of="AudioSet"),
        Corpus("AudioSet", (YOUTUBE,)),
        Corpus("BABEL"),
        Corpus("Clotho", (FREESOUND,)),
        Corpus("Common Voice", kinds=("mozilla common voice",)),
        Corpus("DAPS"),
        Corpus("DNS Challenge 4", (LIBRIVOX, FREESOUND, YOUTUBE)),
        Corpus("ESC-10", (FREESOUND,), part_of="ESC-50"),
        Corpus("ESC-50", (FREESOUND,)),
        Corpus("FSD50K", (FREESOUND,)),
        Corpus("FSDD", kinds=("free spoken digit dataset",)),
        Corpus("FSDKaggle2018", (FREESOUND,)),
        Corpus("FSDnoisy18k", (FREESOUND,)),
        Corpus("Fisher"),
        Corpus("GTZAN"),
        Corpus("GigaSpeech", (YOUTUBE, LIBRIVOX)),
        Corpus("ImageNet"),
        Corpus("LAION-Audio-630K", (FREESOUND,)),
        Corpus("Libri-Light", (LIBRIVOX,)),
        Corpus("LibriSpeech", (LIBRIVOX,)),
        Corpus("MMS-lab-U"),
        Corpus("MSP-Podcast"),
        Corpus("MTG-Jamendo", ("Jamendo",)),
        Corpus("MUSDB18"),
        Corpus("Million Song Dataset", ("7digital",), kinds=("msd",)),
        Corpus("Multilingual LibriSpeech", (LIBRIVOX,), kinds=("mls",)),
        Corpus("OpenMIC-2018", ("Free Music Archive",)),
        Corpus("RAVDESS"),
        Corpus("Speech Commands"),
        Corpus("Switchboard"),
        Corpus("UrbanSound8K", (FREESOUND,)),
        Corpus("VCTK"),
        Corpus("VGGSound", (YOUTUBE,)),
        Corpus("VoxCeleb1", (YOUTUBE,)),
        Corpus("VoxCeleb2", (YOUTUBE,)),
        Corpus("VoxLingua107", (YOUTUBE,)),
        Corpus("VoxPopuli", ("the European Parliament",)),
        Corpus("Xeno-canto", ("Xeno-canto",)),
        Corpus("YouTube-8M", (YOUTUBE,)),
        Corpus("iNaturalist", ("iNaturalist",)),
        Corpus("synthetic sounds of audioheads", ("audioheads",), kinds=("synthetic",)),
        Corpus("Tierstimmenarchiv"),
    )
}


def find_corpus(*names: str | None) -> Corpus | None:
    """Return the corpus with the first of some names that is known: names of datasets, subsets and kinds."""
    known = {_plain(name): corpus for corpus in CORPORA.values() for name in (corpus.name, *corpus.kinds)}
    return next((known[plain] for name in names if name and (plain := _plain(name)) in known), None)


def contained_in(corpus: Corpus) -> tuple[str, ...]:
    """Return the names of a corpus and of those that contain it."""
    names = [corpus.name]
    while (outer := CORPORA[names[-1]].part_of) is not None:
        names.append(outer)
    return tuple(names)


def _plain(name: str) -> str:
    """Return a name without case, blanks and marks: `speech_commands` is `Speech Commands`."""
    return re.sub(r"[^a-z0-9]", "", name.casefold())
