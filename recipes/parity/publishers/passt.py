"""PaSST by the publisher's package hear21passt, which prints its networks."""

from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np

NETWORKS: dict[str, dict[str, Any]] = {  # arguments of `get_model`
    "passt-s-swa-p16-128-ap476": {"arch": "passt_s_swa_p16_128_ap476"},
    "passt-s-p16-s16-128-ap468": {"arch": "passt_s_p16_s16_128_ap468", "fstride": 16, "tstride": 16},
    "passt-s-swa-f128-stfthop160-p16-s10-ap473": {"arch": "stfthop160", "input_tdim": 2000},
}
HOP_SIZES = {"stfthop160": 160}


def save(preset: str, state: dict[str, Any], folder: Path) -> Path:
    """Write tensors as the published file has them: a state dict, with the classifiers."""
    import torch

    path = folder / f"{preset}.pt"
    own = {name: tensor for name, tensor in model(preset).net.state_dict().items() if name not in state}
    torch.save({**own, **state}, path)
    return path


def embed(preset: str, clips: list[np.ndarray], sample_rate: int, weights: str | None) -> list[np.ndarray]:
    """Return the class tokens' mean after each layer, (L, 1, D) of each clip; the last is the scene embedding."""
    import torch

    wrapper = model(preset)
    wrapper.net.load_state_dict(torch.load(str(weights), map_location="cpu", weights_only=True))
    outputs: list[torch.Tensor] = []
    for block in wrapper.net.blocks:
        block.register_forward_hook(lambda module, given, output: outputs.append(output[:, :2].mean(1)))
    embedded = []
    with torch.inference_mode(), redirect_stdout(StringIO()):
        for clip in clips:
            outputs.clear()
            scene = wrapper.get_scene_embeddings(torch.from_numpy(clip)[None])
            embedded.append(torch.stack([*outputs[:-1], scene]).numpy())
    return embedded


def model(preset: str) -> Any:
    """Return the publisher's front end and network with the settings of its `base.py`, without weights."""
    from hear21passt.models.passt import get_model
    from hear21passt.models.preprocess import AugmentMelSTFT
    from hear21passt.wrapper import PasstBasicWrapper

    arguments = NETWORKS[preset]
    with redirect_stdout(StringIO()):
        mel = AugmentMelSTFT(
            n_mels=128,
            sr=32_000,
            win_length=800,
            hopsize=HOP_SIZES.get(arguments["arch"], 320),
            n_fft=1024,
            freqm=48,
            timem=192,
            htk=False,
            fmin=0.0,
            fmax=None,
            norm=1,
            fmin_aug_range=10,
            fmax_aug_range=2000,
        )
        net = get_model(pretrained=False, **arguments)
    return PasstBasicWrapper(mel=mel, net=net, mode="embed_only").eval()
