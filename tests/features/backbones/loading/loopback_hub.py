"""A model hub on the loopback address."""

import hashlib
import json
import os

COMMITS = {"main": "a" * 40, "old": "b" * 40}


def hub(files, repos=("org/model",), refuse=None):
    """Answers as the hub does for `model_info` and for files."""

    def answer(method, path):
        if path == "/":
            return 200, {}, b""
        api = path.startswith("/api/models/")
        parts = path.removeprefix("/api/models/").lstrip("/").split("?")[0].split("/")
        repo, rest = "/".join(parts[:2]), parts[2:]
        if refuse and (refusal := refuse(method, path)):
            return refusal
        if repo not in repos:
            return 401, {"X-Error-Code": "RepoNotFound"}, b"{}"
        revision = rest[1] if rest else "main"
        revision = {commit: name for name, commit in COMMITS.items()}.get(revision, revision)
        if revision not in files:
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if api:
            siblings = [{"rfilename": name} for name in files[revision]]
            info = {"id": repo, "modelId": repo, "sha": COMMITS[revision], "siblings": siblings}
            return 200, {"Content-Type": "application/json"}, json.dumps(info).encode()
        body = files[revision].get(rest[2])
        commit = {"X-Repo-Commit": COMMITS[revision]}
        if body is None:
            return 404, {"X-Error-Code": "EntryNotFound", **commit}, b""
        return 200, {"ETag": f'"{hashlib.sha256(body).hexdigest()}"', **commit}, body

    return answer


def environment_of(endpoint, home):
    """Variables of a process that uses this hub, with a cache of its own."""
    keep = {key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))}
    keep = {key: value for key, value in keep.items() if not key.lower().endswith("_proxy")}
    return keep | {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "OMP_NUM_THREADS": "1"}
