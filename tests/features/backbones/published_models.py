"""Small models with the interfaces of publishers' code, in folders as their repositories on the hub.

The modules in `published/` have the names, signatures, outputs, shapes and order of tokens of the published ones; their
networks are small, and their weights are random.
"""

import json
import shutil
from importlib import import_module
from pathlib import Path

import torch

from features.backbones.loading.remote_code import trust_of

CODE = Path(__file__).parent / "published"
# name -> the classes of its configurations, values of `config.json`, and of `preprocessor_config.json` if it has one
MODELS = {
    "ced": (
        {
            "AutoConfig": "configuration_ced.CedConfig",
            "AutoModelForAudioClassification": "modeling_ced.CedForAudioClassification",
        },
        {"model_type": "ced", "name": "ced-tiny", "outputdim": 527},
        {
            "auto_map": {"AutoFeatureExtractor": "feature_extraction_ced.CedFeatureExtractor"},
            "feature_extractor_type": "CedFeatureExtractor",
            "f_max": 8000,
        },
    ),
    "bird_mae": (
        {"AutoConfig": "configuration_bird_mae.BirdMAEConfig", "AutoModel": "modeling_bird_mae.BirdMAEModel"},
        {},
        {
            "auto_map": {"AutoFeatureExtractor": "feature_extractor.BirdMAEFeatureExtractor"},
            "feature_extractor_type": "BirdMAEFeatureExtractor",
            "sampling_rate": 32000,
        },
    ),
    "usad": (
        {"AutoConfig": "configuration_usad.USADConfig", "AutoModel": "modeling_usad.USADModel"},
        {"model_type": "usad"},
        None,
    ),
}


def save_published(name: str, folder: Path) -> dict[str, str]:
    """Write the folder of a model; return the weights and the trust of an entry."""
    classes, config, preprocessor = MODELS[name]
    folder.mkdir(parents=True)
    for module in CODE.glob("*.py"):
        shutil.copy(module, folder)
    (folder / "config.json").write_text(json.dumps({**config, "auto_map": classes}))
    if preprocessor is not None:
        (folder / "preprocessor_config.json").write_text(json.dumps(preprocessor))
    torch.save(published_model(name).state_dict(), folder / "pytorch_model.bin")
    return {"weights": str(folder), "trust": trust_of(name, str(folder), folder)}


def published_model(name: str) -> torch.nn.Module:
    """Return the model in the folder, made by its code; no value is at its initial value."""
    classes, config, _ = MODELS[name]
    config_class, model_class = (_imported(path) for kind, path in classes.items() if kind != "AutoFeatureExtractor")
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        model = model_class(config_class.from_dict({**config, "outputdim": 5}))
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        for key, buffer in model.named_buffers():
            if key.endswith(("running_mean", "running_var")):
                buffer.add_(torch.rand_like(buffer))
    return model.eval()


def _imported(path: str):
    module, _, name = path.partition(".")
    return getattr(import_module(f"tests.features.backbones.published.{module}"), name)
