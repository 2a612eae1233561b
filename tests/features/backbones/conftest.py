"""Fixtures of the backbone tests: weights, clips, tiny encoders, a server on the loopback address."""

import contextlib
import http.server
import json
import threading

import pytest
import torch

from features.backbones.contract.clips import make_clips as make_clips_of
from tests.features.backbones.contract_cases import CASES, QUICKLY_PRETENDED
from tests.paths import SHARED
from tests.places import PRETEND

YAMNET = SHARED / "weights" / "yamnet.tflite"

TINY = {
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "conv_dim": (24,) * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


@pytest.hookimpl(tryfirst=True)  # before pytest selects by marker
def pytest_collection_modifyitems(items):
    """Mark the contract on the pretend device as thorough, except for a few families."""
    for item in items:
        chosen = item.callspec.params if hasattr(item, "callspec") else {}
        if chosen.get("place") == PRETEND and chosen.get("options") in set(CASES) - set(QUICKLY_PRETENDED):
            item.add_marker("thorough")


@pytest.fixture(scope="session", autouse=True)
def _one_thread():
    """Use one thread: tiny networks gain nothing from more, and other tests run in parallel."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def yamnet():
    """Path of YAMNet's file."""
    pytest.importorskip("ai_edge_litert", reason="LiteRT is not installed")
    if not YAMNET.is_file():
        pytest.skip("no ../shared/weights/yamnet.tflite next to the checkout")
    return YAMNET


@pytest.fixture(scope="session")
def make_clips():
    """Clips of the given numbers of samples, unlike in level, offset and spectrum."""

    return make_clips_of


@pytest.fixture(scope="session")
def save_encoder(tmp_path_factory):
    """Write a tiny encoder as `save_pretrained` does, nothing in it at its initial value; give folder and model."""

    def save(model_type="wav2vec2", *, do_normalize=True, folder=None, seed=0, **architecture):
        import transformers

        from features.backbones.wav2vec2_architectures import MODEL_CLASSES

        folder = folder or tmp_path_factory.mktemp(model_type)
        config_class = transformers.AutoConfig.for_model(model_type).__class__
        sizes = {
            key: value for key, value in TINY.items() if model_type != "data2vec-audio" or "pos_embeddings" not in key
        }
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = getattr(transformers, MODEL_CLASSES[model_type])(config_class(**{**sizes, **architecture})).eval()
            _move_from_initial_values(model)
        model.save_pretrained(folder)
        if do_normalize is not None:
            extractor = {"do_normalize": do_normalize, "sampling_rate": 16000, "feature_size": 1, "padding_value": 0.0}
            (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
        return folder, model

    return save


def _move_from_initial_values(model):
    """Norm weights away from 1, all biases and running statistics away from 0."""
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if not tensor.is_floating_point():
            continue
        if name.endswith("running_var") or ("norm" in name and name.endswith("weight")):
            tensor.data.uniform_(0.5, 2.0)
        elif name.endswith(("bias", "running_mean", "gru_rel_pos_const")):
            tensor.data.normal_(0.0, 0.4)
        elif name.endswith("rel_attn_embed.weight"):
            tensor.data.normal_(0.0, 1.0)
        else:
            tensor.data.mul_(2.0)


@pytest.fixture
def serve():
    """Start an HTTP server on 127.0.0.1 that answers with a function; gives its address."""
    with contextlib.ExitStack() as stack:

        def start(answer):
            """`answer(method, path)` gives status, headers and body; the paths asked for are kept in its list."""
            asked = []

            class Handler(http.server.BaseHTTPRequestHandler):
                protocol_version = "HTTP/1.1"

                def do_GET(self):
                    asked.append((self.command, self.path))
                    status, headers, body = answer(self.command, self.path)
                    self.send_response(status)
                    for key, value in {"Content-Length": str(len(body)), **headers}.items():
                        self.send_header(key, value)
                    self.end_headers()
                    if self.command != "HEAD":
                        self.wfile.write(body)

                do_HEAD = do_GET  # noqa: N815

                def log_message(self, *args):
                    pass

            server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            stack.callback(server.server_close)
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_port}", asked

        yield start
