"""The publishers: the packages with their code, and the presets that it is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True)
class Publisher:
    """A publisher's code.

    Attributes:
        call: The package and the call that are compared, for the files of golden vectors.
        requirements: Its packages, each with its version; what they need beyond is part of this project.
        presets: Names of the presets.
        seeded: Whether, without published weights at hand, random ones are compared: its module then has a function
            `save(preset, state, folder)`, which writes a network's tensors to a file as its publisher would, or the
            publisher reads the folders that `features.backbones.bundle` writes.
        files: Addresses of its code that is in no package.
        bare: Packages whose `__init__.py` is not run, since it needs other packages or downloads files.
    """

    call: str
    requirements: tuple[str, ...]
    presets: tuple[str, ...]
    seeded: bool = False
    files: tuple[str, ...] = ()
    bare: tuple[str, ...] = ()


# module in recipes/parity/publishers -> its facts
PUBLISHERS = {
    "aves": Publisher(
        "esp-aves 1.0.0, load_feature_extractor",
        ("esp-aves==1.0.0",),
        ("aves-bio",),
        seeded=True,
    ),
    "beats": Publisher(
        "avex 1.4.0, models/beats of the publisher",
        ("avex==1.4.0",),
        ("beats-iter3-plus-as2m",),
        seeded=True,
        bare=("avex", "avex.models"),
    ),
    "bird_mae": Publisher(
        "the code in the folder of the weights",
        (),
        ("bird-mae-base", "bird-mae-large", "bird-mae-huge"),
    ),
    "ced": Publisher(
        "the code in the folder of the weights",
        (),
        ("ced-tiny", "ced-mini", "ced-small", "ced-base"),
    ),
    "dasheng": Publisher(
        "dasheng 0.0.9, Dasheng.forward and the inputs of its blocks",
        ("dasheng==0.0.9", "einops==0.8.2"),
        ("dasheng-base",),
        seeded=True,
    ),
    "eat": Publisher("the code in the folder of the weights, extract_features", ("timm==0.9.16",), ("eat-base",)),
    "ecapa": Publisher(
        "speechbrain 1.1.2, Fbank, InputNormalization and ECAPA_TDNN",
        ("speechbrain==1.1.2",),
        ("ecapa-voxceleb",),
        seeded=True,
        bare=(
            "speechbrain",
            "speechbrain.lobes",
            "speechbrain.lobes.models",
            "speechbrain.nnet",
            "speechbrain.processing",
            "speechbrain.dataio",
            "speechbrain.utils",
        ),
    ),
    "huggingface": Publisher(  # a dependency of this project, so that it needs no packages of its own
        f"transformers {version('transformers')}, AutoModel and AutoFeatureExtractor",
        (),
        (
            "wav2vec2-nano",
            "wav2vec2-base",
            "wav2vec2-emotion-msp-dim",
            "hubert-base",
            "distilhubert",
            "mert-v1-95m",
            "wavlm-base",
            "data2vec-audio-base",
            "unispeech-sat-base",
            "ast",
            "clap",
            "larger-clap-general",
            "whisper-tiny",
            "whisper-base",
            "whisper-small",
            "sew-tiny",
            "sew-mid",
            "sew-small",
            "encodec-24khz",
            "encodec-32khz",
            "dac-16khz",
            "dac-44khz",
            "mimi",
            "pe-a-frame-small",
        ),
        seeded=True,
    ),
    "m2d": Publisher(
        "portable_m2d.py at 955401e, PortableM2D.encode",
        ("timm==0.9.16", "einops==0.8.2", "nnAudio==0.3.4"),
        ("m2d-mr7",),
        seeded=True,
        files=(
            "https://raw.githubusercontent.com/nttcslab/m2d/955401ecdaf37c6f57d0f4a95beb6de2c89242bd"
            "/examples/portable_m2d.py",
        ),
    ),
    "muq": Publisher(
        "muq 0.1.0 with transformers 4.47.1, MuQ.forward",
        (
            "muq==0.1.0",
            "transformers==4.47.1",
            "huggingface-hub==0.27.1",
            "tokenizers==0.21.0",
            "easydict==1.13",
            "einops==0.8.2",
        ),
        ("muq-large-msd-iter",),
        seeded=True,
        bare=("muq",),
    ),
    "openl3": Publisher(
        "torchopenl3 1.0.1, get_audio_embedding",
        ("torchopenl3==1.0.1", "julius==0.2.7", "six==1.17.0"),
        ("openl3-env",),
        seeded=True,
    ),
    "opensmile": Publisher(
        "opensmile 2.6.0, Smile.process_signal",
        (
            "opensmile==2.6.0",
            "audinterface==1.4.0",
            "audobject==0.7.13",
            "audeer==2.7.0",
            "audformat==1.4.3",
            "audiofile==1.6.1",
            "audmath==1.4.4",
            "audresample==1.3.6",
            "oyaml==1.0",
            "iso3166==3.0.0",
            "iso639-lang==2.6.3",
        ),
        ("egemaps", "compare2016"),
    ),
    "panns": Publisher(
        "panns-inference 0.1.1, models.Cnn14",
        ("panns-inference==0.1.1", "torchlibrosa==0.1.0"),
        ("panns-cnn14",),
        seeded=True,
        bare=("panns_inference",),
    ),
    "passt": Publisher(
        "hear21passt 0.0.26, get_scene_embeddings and the outputs of the blocks",
        ("hear21passt==0.0.26", "timm==0.9.16"),
        (
            "passt-s-swa-p16-128-ap476",
            "passt-s-p16-s16-128-ap468",
            "passt-s-swa-f128-stfthop160-p16-s10-ap473",
        ),
        seeded=True,
    ),
    "resemblyzer": Publisher(
        "Resemblyzer 0.1.4, normalize_volume and VoiceEncoder.embed_utterance",
        ("resemblyzer==0.1.4", "webrtcvad-wheels==2.0.14.post1"),
        ("ge2e",),
    ),
    "speech_embedding": Publisher("the file in onnxruntime", (), ("speech-embedding",)),
    "torchvggish": Publisher(
        f"torchvggish {version('torchvggish')}, waveform_to_examples and VGG",
        (),
        ("vggish",),
        seeded=True,
    ),
    "usad": Publisher(
        "the code in the folder of the weights",
        (),
        ("usad-small", "usad-base", "usad-large"),
    ),
    "yamnet": Publisher("the file in ai-edge-litert", (), ("yamnet",)),
}
