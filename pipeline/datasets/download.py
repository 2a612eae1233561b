"""`audioheads datasets download`: a corpus fetched, checked, unpacked where configs expect it, indexed and audited."""

from __future__ import annotations

import datetime
import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from features.datasets import load_manifest
from features.datasets.download.archives import Unpacked, unpack
from features.datasets.download.fetch import Advance, fetch, file_digest, matches
from features.datasets.download.sources import SOURCES, CorpusSource
from features.errors import ManifestError, RunError, UserError
from features.manifest import Manifest
from features.system.locks import CacheLock
from pipeline.config.errors import closest
from pipeline.console import Console
from pipeline.results.run_folder import write_json
from pipeline.results.table import counted

RECORD = "SOURCE.json"  # beside the data: where it came from, and under which licence
DOWNLOADS = ".downloads"  # beside the corpora: archives on their way
PINNED = re.compile(r"(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})", re.IGNORECASE)


def list_sources(console: Console) -> None:
    """Print what can be downloaded, under which licence, and where it goes."""
    rows = [
        (
            name,
            f"{source.size_mb} MB",
            source.clips,
            source.licence,
            "by hand" if not source.url else "pinned" if source.checksum else "not pinned",
            source.root,
        )
        for name, source in SOURCES.items()
    ]
    columns = ("name", "size", "clips", "licence", "checksum", "goes to")
    console.table(columns, rows, right=("size", "clips"), foldable=["licence"])


def run_download(
    name: str,
    *,
    to: Path | None,
    origin: str | None,
    checksum: str | None,
    keep_archive: bool,
    audit: bool,
    console: Console,
) -> Path:
    """Fetch a corpus and make it ready.

    Args:
        name: A line of `features.datasets.download.sources.SOURCES`.
        to: The corpus' folder; None: where shipped configs expect it.
        origin: Another address of the archive, or the archive itself as a file; None: the table's address.
        checksum: What the archive has to have instead of the table's; `none`: anything is taken.
        keep_archive: Leave the archive beside the corpus' folder.
        audit: Look for leaks and unreadable clips, too.
        console: Where progress, licence and counts go.

    Returns:
        The corpus' folder.

    Raises:
        UserError: No such corpus, one that has to be fetched by hand, or something else lies in its place.
        RunError: It cannot be fetched, is not what was expected, or the disk is full.
    """
    if name not in SOURCES:
        raise UserError(f"datasets download: no corpus {name!r}, {closest(name, SOURCES)}")
    source = SOURCES[name]
    root = to or Path(source.root)
    wanted = _checksum(source, checksum)
    if _is_there(root, name):
        console.line(f"{root}: there already, see {root / RECORD}")
        _report(load_manifest({"kind": source.kind, "root": root}), source, console)
        return root
    _introduce(source, console)
    if origin is None and not source.url:
        raise UserError(_by_hand(name, source, root))
    archive = root.parent / DOWNLOADS / source.archive
    with CacheLock(archive, console.note):
        given = _given_file(origin)
        if given is None:
            sha256 = _fetch(origin or source.url, archive, wanted, source, console)
        elif matches(given, wanted):
            sha256 = file_digest(given, "sha256")
        else:
            raise RunError(
                f"{given}: not the archive that was expected (checksum {wanted} does not match); "
                "if you trust it, pass --checksum none"
            )
        if not wanted:
            console.note(f"{source.title}: no checksum is known for certain, so nothing was checked; SHA-256 {sha256}")
        about = _record(name, source, origin, sha256, wanted)
        manifest = _unpack(given or archive, root, source, about, console)
        if not keep_archive:
            archive.unlink(missing_ok=True)
    if not keep_archive:
        _remove_if_empty(archive.parent)
    _report(manifest, source, console)
    if audit:
        _audit(name, source, root, console)
    console.line(f"next: audioheads init {root}")
    return root


def _checksum(source: CorpusSource, given: str | None) -> str:
    """What the archive has to match."""
    if given is None:
        return source.checksum
    if given.lower() != "none" and not PINNED.fullmatch(given):
        raise UserError(f"--checksum {given!r}: write sha256:HEX, md5:HEX or none")
    return "" if given.lower() == "none" else given.lower()


def _is_there(root: Path, name: str) -> bool:
    """Whether this command put the corpus there before.

    Raises:
        UserError: Something else is there.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    try:
        if json.loads((root / RECORD).read_text(encoding="utf-8"))["name"] == name:
            return True
    except (OSError, ValueError, KeyError, TypeError):
        pass
    raise UserError(
        f"{root}: something is there that this command did not put there; move it away, or pass --to FOLDER"
    )


def _introduce(source: CorpusSource, console: Console) -> None:
    """What a person should know before it is fetched."""
    console.line(f"{source.title}: {source.clips} clips, about {source.size_mb} MB, {source.homepage}")
    console.line(f"  licence: {source.licence}; {source.licence_url}")
    console.line(f"  cite: {source.citation}")
    if source.by_hand and source.url:
        console.line(f"  note: {source.by_hand}")


def _by_hand(name: str, source: CorpusSource, root: Path) -> str:
    """Where to go and what to put where."""
    return (
        f"{source.title}: {source.by_hand}. Then run `audioheads datasets download {name} --from {source.archive}` "
        f"(a file or an address; expected {source.checksum}), or put the corpus' folders into {root} yourself"
    )


def _given_file(origin: str | None) -> Path | None:
    """The archive, where it is a file here; None where it is an address.

    Raises:
        UserError: Neither.
    """
    if origin is None or re.match(r"https?://", origin):
        return None
    if not Path(origin).is_file():
        raise UserError(f"--from {origin!r}: no such file, and no address that starts with http:// or https://")
    return Path(origin)


def _fetch(url: str, archive: Path, checksum: str, source: CorpusSource, console: Console) -> str:
    console.note(f"fetching {url}")
    with _bar(source, console) as advance:
        return fetch(url, archive, checksum, advance)


@contextmanager
def _bar(source: CorpusSource, console: Console) -> Iterator[Advance]:
    """Progress in megabytes."""
    with console.progress(f"download {source.title}", None, "MB") as work:
        come = 0

        def advance(more: int, total: int | None) -> None:
            nonlocal come
            come += more
            work.bar.update(work.task, total=None if total is None else total / 1e6)
            work.advance(int(come / 1e6) - work.done)

        yield advance


def _record(name: str, source: CorpusSource, origin: str | None, sha256: str, checksum: str) -> dict[str, Any]:
    """What is kept beside the data."""
    return {
        "name": name,
        "title": source.title,
        "homepage": source.homepage,
        "fetched_from": origin or source.url,
        "sha256": sha256,
        "checked_against": checksum or None,
        "downloaded_utc": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "licence": source.licence,
        "licence_url": source.licence_url,
        "citation": source.citation,
    }


def _unpack(archive: Path, root: Path, source: CorpusSource, about: dict[str, Any], console: Console) -> Manifest:
    """The corpus in its place, whole or not at all; its clips."""
    console.note(f"unpacking {archive.name}")
    beside = root.with_name(f".{root.name}.unpacking")
    shutil.rmtree(beside, ignore_errors=True)
    try:
        done: Unpacked = unpack(archive, beside, strip=source.strip)
        write_json(beside / RECORD, {**about, "files": done.files, "links_left_out": done.links})
        try:
            load_manifest({"kind": source.kind, "root": beside})
        except ManifestError as error:
            raise RunError(f"{archive}: does not hold {source.title} as its reader knows it: {error}") from error
        if root.is_dir():
            root.rmdir()  # empty
        beside.rename(root)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    if done.links:
        console.note(f"left out {counted(len(done.links), 'link')}, first {done.links[0]!r}")
    return load_manifest({"kind": source.kind, "root": root})


def _report(manifest: Manifest, source: CorpusSource, console: Console) -> None:
    """How many clips there are, and whether that is all."""
    groups = f", {manifest.clips['group'].nunique()} groups" if "group" in manifest.clips else ""
    console.line(f"{manifest.root}: {len(manifest)} clips, {len(manifest.labels)} classes{groups}")
    if len(manifest) != source.clips:
        console.note(f"warning: {source.title} should have {source.clips} clips, this copy has {len(manifest)}")


def _audit(name: str, source: CorpusSource, root: Path, console: Console) -> None:
    """`datasets audit` as with a config that says nothing but where the corpus is."""
    from pipeline.audit.run import run_audit
    from pipeline.config.config import load_config
    from pipeline.config.yaml import dump_yaml

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.yaml"
        path.write_text(dump_yaml({"dataset": {"kind": source.kind, "root": str(root)}}), encoding="utf-8")
        config = load_config(path)
    run_audit(config, strict=False, console=console)


def _remove_if_empty(folder: Path) -> None:
    left = [item for item in folder.iterdir() if item.suffix != ".lock"] if folder.is_dir() else [folder]
    if not left:
        shutil.rmtree(folder)
