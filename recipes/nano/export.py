"""Export the best state of a run as a model folder: `python -m recipes.nano.export RUN FOLDER`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from recipes.nano.clips import SAMPLE_RATE
from recipes.nano.student import averaged_weights, new_student
from recipes.nano.train import best_state


def main(arguments: Sequence[str] | None = None) -> None:
    """Write `config.json`, `preprocessor_config.json` and `model.safetensors` in half precision."""
    from transformers import Wav2Vec2FeatureExtractor

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path, help="the --out folder of recipes.nano.train")
    parser.add_argument("folder", type=Path, help="folder to write the model to")
    given = parser.parse_args(arguments)
    encoder = new_student()
    encoder.load_state_dict(averaged_weights(best_state(given.run), "encoder"))
    encoder.half().save_pretrained(given.folder)
    Wav2Vec2FeatureExtractor(sampling_rate=SAMPLE_RATE, do_normalize=True, return_attention_mask=False).save_pretrained(
        given.folder
    )


if __name__ == "__main__":
    main()
