"""Options of trained models are validated without the libraries that train them."""

import subprocess
import sys
from pathlib import Path

HEAVY = ("torch", "torchvision", "lightning", "swanlab", "tensorboard")
LOOK_UP = (
    "from heads.models import options_class; "
    "assert all(options_class(name)(name=name) for name in ('m5', 'cnn', 'crnn', 'resnet18', 'resnext101_32x8d'))"
)
TRACKING = "from heads.finetuning.options import Tracking; Tracking.model_validate('tensorboard')"
CONFIG = (
    "from pipeline.config.config import Config; "
    "from pipeline.config.finetune_entries import options_class; "
    "assert options_class('resnet18')(name='resnet18', augment={'mixup': 0.2})"
)


STEPS = ["import heads.finetuning.options", "import heads.models.options", LOOK_UP, TRACKING, CONFIG]


def test_options_are_validated_without_heavy_imports():
    check = f"found = [name for name in {HEAVY} if name in sys.modules]; assert not found, (found, {{step!r}})"
    code = "\n".join(["import sys", *(line for step in STEPS for line in (step, check.format(step=step)))])
    ended = subprocess.run([sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
