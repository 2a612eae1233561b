"""What the server of `tests.processes` imports once for all the processes that it forks."""

import gc
import os

os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process with threads of its own is no good to fork

import numpy as np
import torch

import tests.features.toys
from features import backbones
from pipeline.cache import inspect
from pipeline.cli import app
from pipeline.report import run
from pipeline.stages import features, train_heads

IMPORTED = (tests.features.toys, inspect, app, run, features, train_heads)

torch.set_num_threads(1)
# What a backbone imports, its first clip imports too.
for entry in ({"name": "mfcc"}, {"name": "wav2vec2", "weights": "random", "size": "tiny"}):
    backbones.load(entry).embed([np.zeros(30_000, dtype=np.float32)])
gc.collect()
gc.freeze()  # else the first collection in a forked process would copy all of this memory
