"""Sources of the corpora: a table of addresses, checksums and licences.

A checksum is listed only if a published loader (torchaudio, soundata) or the publisher states it and other published
values agree. Otherwise the SHA-256 of the first download is recorded next to the data.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CorpusSource:
    """One corpus.

    Attributes:
        title: Its display name.
        kind: Its reader, see `features.datasets.KINDS`.
        root: Its folder in the shipped configs.
        homepage: Address of its description.
        url: Address of the archive; empty if it has to be downloaded manually.
        archive: The archive's file name; empty if the corpus comes in several, which are unpacked manually.
        checksum: `sha256:…` or `md5:…` of the archive; empty if none is known for certain.
        size_mb: Approximate size of the archive in megabytes.
        clips: Number of clips in a complete copy.
        licence: Name of the licence, and what it forbids.
        licence_url: Address of the licence text.
        citation: The publication that the authors ask to cite.
        strip: Whether the archive's only top-level folder is omitted when unpacking.
        by_hand: Why the corpus is not downloaded and what to do instead, or another note.
    """

    title: str
    kind: str
    root: str
    homepage: str
    url: str
    archive: str
    checksum: str
    size_mb: int
    clips: int
    licence: str
    licence_url: str
    citation: str
    strip: bool = True
    by_hand: str = ""


SOURCES: dict[str, CorpusSource] = {
    "esc50": CorpusSource(
        title="ESC-50",
        kind="esc50",
        root="data/ESC-50",
        homepage="https://github.com/karolpiczak/ESC-50",
        url="https://github.com/karolpiczak/ESC-50/archive/33c8ce9eb2cf0b1c2f8bcf322eb349b6be34dbb6.zip",
        archive="ESC-50-33c8ce9e.zip",
        checksum="sha256:661183a6f53ef04f12c9bd618fed0ddc1713280d6c94a5a5431e844ba6f6a21f",
        size_mb=646,
        clips=2000,
        licence="CC BY-NC 3.0 (no commercial use); its subset ESC-10 is CC BY",
        licence_url="https://github.com/karolpiczak/ESC-50/blob/master/LICENSE",
        citation="K. J. Piczak. ESC: Dataset for Environmental Sound Classification. ACM Multimedia, 2015.",
    ),
    "urbansound8k": CorpusSource(
        title="UrbanSound8K",
        kind="urbansound8k",
        root="data/UrbanSound8K",
        homepage="https://urbansounddataset.weebly.com/urbansound8k.html",
        url="https://zenodo.org/records/1203745/files/UrbanSound8K.tar.gz",
        archive="UrbanSound8K.tar.gz",
        checksum="md5:9aa69802bbf37fb986f71ec1483a196e",
        size_mb=6000,
        clips=8732,
        licence="CC BY-NC 4.0 (no commercial use)",
        licence_url="https://zenodo.org/records/1203745",
        citation="J. Salamon, C. Jacoby and J. P. Bello. A Dataset and Taxonomy for Urban Sound Research. ACM "
        "Multimedia, 2014.",
        by_hand="this is the authors' copy on Zenodo; their homepage asks for a form that describes your use",
    ),
    "gtzan": CorpusSource(
        title="GTZAN",
        kind="gtzan",
        root="data/GTZAN",
        homepage="http://marsyas.info/downloads/datasets.html",
        url="",
        archive="genres.tar.gz",
        checksum="sha256:24347e0223d2ba798e0a558c4c172d9d4a19c00bb7963fe055d183dadb4ef2c6",
        size_mb=1226,
        clips=1000,
        licence="none stated: excerpts of commercial recordings, used for research",
        licence_url="http://marsyas.info/downloads/datasets.html",
        citation="G. Tzanetakis and P. Cook. Musical genre classification of audio signals. IEEE Transactions on "
        "Speech and Audio Processing 10(5), 2002.",
        strip=False,
        by_hand="it has no licence and its host (opihi.cs.uvic.ca) no longer serves it, so it is not downloaded. "
        "Copies are at https://huggingface.co/datasets/marsyas/gtzan (genres.tar.gz) and "
        "https://www.kaggle.com/datasets/andradaolteanu/gtzan-dataset-music-genre-classification (needs an account)",
    ),
    "fsdd": CorpusSource(
        title="Free Spoken Digit Dataset",
        kind="fsdd",
        root="data/free-spoken-digit-dataset",
        homepage="https://github.com/Jakobovski/free-spoken-digit-dataset",
        url="https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip",
        archive="free-spoken-digit-dataset-1.0.10.zip",
        checksum="",
        size_mb=16,
        clips=3000,
        licence="CC BY-SA 4.0",
        licence_url="https://creativecommons.org/licenses/by-sa/4.0/",
        citation="Z. Jackson and others. Free Spoken Digit Dataset. doi:10.5281/zenodo.1342401.",
    ),
    "speech_commands": CorpusSource(
        title="Speech Commands v2",
        kind="speech_commands",
        root="data/speech_commands_v0.02",
        homepage="https://arxiv.org/abs/1804.03209",
        url="https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
        archive="speech_commands_v0.02.tar.gz",
        checksum="sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
        size_mb=2429,
        clips=105829,
        licence="CC BY 4.0",
        licence_url="https://creativecommons.org/licenses/by/4.0/",
        citation="P. Warden. Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition. arXiv:1804.03209, "
        "2018.",
        strip=False,
    ),
    "ravdess": CorpusSource(
        title="RAVDESS, speech",
        kind="ravdess",
        root="data/RAVDESS",
        homepage="https://zenodo.org/records/1188976",
        url="https://zenodo.org/records/1188976/files/Audio_Speech_Actors_01-24.zip",
        archive="Audio_Speech_Actors_01-24.zip",
        checksum="md5:bc696df654c87fed845eb13823edef8a",
        size_mb=208,
        clips=1440,
        licence="CC BY-NC-SA 4.0 (no commercial use, share alike)",
        licence_url="https://creativecommons.org/licenses/by-nc-sa/4.0/",
        citation="S. R. Livingstone and F. A. Russo. The Ryerson Audio-Visual Database of Emotional Speech and Song "
        "(RAVDESS). PLoS ONE 13(5), 2018.",
        strip=False,
    ),
    "voxceleb1": CorpusSource(
        title="VoxCeleb1, identification",
        kind="voxceleb1",
        root="data/VoxCeleb1",
        homepage="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
        url="",
        archive="",
        checksum="",
        size_mb=36000,
        clips=153516,
        licence="CC BY 4.0 as stated by its authors; the copyright remains with the owners of the videos",
        licence_url="https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html",
        citation="A. Nagrani, J. S. Chung and A. Zisserman. VoxCeleb: A Large-Scale Speaker Identification Dataset. "
        "Interspeech, 2017.",
        by_hand="it needs a registration, see https://www.robots.ox.ac.uk/~vgg/data/voxceleb/vox1.html. Unpack "
        "vox1_dev_wav.zip (four parts, to be joined with cat) and vox1_test_wav.zip, which contain wav/, into one "
        "folder, and add https://www.robots.ox.ac.uk/~vgg/data/voxceleb/meta/iden_split.txt",
    ),
}
