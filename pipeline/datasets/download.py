"""`audioheads datasets download`: fetch a corpus, verify it, unpack it where configs expect it, and audit it."""

from __future__ import annotations

import datetime
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
from features.json_files import try_object
from features.manifest import Manifest
from features.system.locks import CacheLock
from pipeline.config.errors import closest
from pipeline.console import Console
from pipeline.results.run_folder import write_json
from pipeline.results.table import counted

RECORD = "SOURCE.json"  # next to the data: its source and licence
DOWNLOADS = ".downloads"  # next to the corpora: archives being downloaded
PINNED = re.compile(r"(sha256:[0-9a-f]{64}|md5:[0-9a-f]{32})", re.IGNORECASE)


def list_sources(console: Console) -> None:
    """Print the corpora that can be downloaded, their licences and their folders."""
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
    """Download a corpus and unpack it.

    Args:
        name: A key of `features.datasets.download.sources.SOURCES`.
        to: Folder of the corpus; None: where the shipped configs expect it.
        origin: Another URL of the archive, or the archive as a local file; None: the URL in `SOURCES`.
        checksum: Expected checksum of the archive, instead of the one in `SOURCES`; `none`: no check.
        keep_archive: Keep the archive next to the folder of the corpus.
        audit: Also check for leaks and unreadable clips.
        console: Prints progress, licence and counts.

    Returns:
        The folder of the corpus.

    Raises:
        UserError: The corpus is unknown, must be downloaded manually, or its folder contains something else.
        RunError: The download fails, the archive is not the expected one, or the disk is full.
    """
    if name not in SOURCES:
        raise UserError(f"datasets download: no corpus {name!r}, {closest(name, SOURCES)}")
    source = SOURCES[name]
    root = to or Path(source.root)
    wanted = _checksum(source, checksum)
    if _is_there(root, name):
        console.line(f"{root}: already downloaded, see {root / RECORD}")
        _report(load_manifest({"kind": source.kind, "root": root}), source, console)
        return root
    _introduce(source, console)
    if not source.archive or (origin is None and not source.url):
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
                f"{given}: not the expected archive (checksum {wanted} does not match); "
                "if you trust it, pass --checksum none"
            )
        if not wanted:
            console.note(f"{source.title}: not verified, because no reliable checksum is known; SHA-256 {sha256}")
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
    """Return the checksum that the archive must match."""
    if given is None:
        return source.checksum
    if given.lower() != "none" and not PINNED.fullmatch(given):
        raise UserError(f"--checksum {given!r}: use sha256:HEX, md5:HEX or none")
    return "" if given.lower() == "none" else given.lower()


def _is_there(root: Path, name: str) -> bool:
    """Return whether this command has already unpacked the corpus there.

    Raises:
        UserError: The folder contains something else.
    """
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = try_object(root / RECORD)
    if record is not None and record.get("name") == name:
        return True
    raise UserError(f"{root}: exists but was not created by this command; move it away, or pass --to FOLDER")


def _introduce(source: CorpusSource, console: Console) -> None:
    """Print title, licence and size before the download."""
    console.line(f"{source.title}: {source.clips} clips, about {source.size_mb} MB, {source.homepage}")
    console.line(f"  licence: {source.licence}; {source.licence_url}")
    console.line(f"  cite: {source.citation}")
    if source.by_hand and source.url:
        console.line(f"  note: {source.by_hand}")


def _by_hand(name: str, source: CorpusSource, root: Path) -> str:
    """Return the instructions for a manual download."""
    if not source.archive:
        return f"{source.title}: {source.by_hand}; the shipped configs expect the folder {root}"
    return (
        f"{source.title}: {source.by_hand}. Then run `audioheads datasets download {name} --from {source.archive}` "
        f"(a file or a URL; expected {source.checksum}), or put the corpus' folders into {root} yourself"
    )


def _given_file(origin: str | None) -> Path | None:
    """Return the archive if `origin` is a local file; None if it is a URL.

    Raises:
        UserError: It is neither.
    """
    if origin is None or re.match(r"https?://", origin):
        return None
    if not Path(origin).is_file():
        raise UserError(f"--from {origin!r}: neither an existing file nor a URL that starts with http:// or https://")
    return Path(origin)


def _fetch(url: str, archive: Path, checksum: str, source: CorpusSource, console: Console) -> str:
    console.note(f"fetching {url}")
    with _bar(source, console) as advance:
        return fetch(url, archive, checksum, advance)


@contextmanager
def _bar(source: CorpusSource, console: Console) -> Iterator[Advance]:
    """Show download progress in megabytes."""
    with console.progress(f"download {source.title}", None, "MB") as work:
        come = 0

        def advance(more: int, total: int | None) -> None:
            nonlocal come
            come += more
            work.bar.update(work.task, total=None if total is None else total / 1e6)
            work.advance(int(come / 1e6) - work.done)

        yield advance


def _record(name: str, source: CorpusSource, origin: str | None, sha256: str, checksum: str) -> dict[str, Any]:
    """Return the content of `SOURCE.json`."""
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
    """Unpack the corpus into its folder, completely or not at all, and return its manifest."""
    console.note(f"unpacking {archive.name}")
    unpacking = root.with_name(f".{root.name}.unpacking")
    shutil.rmtree(unpacking, ignore_errors=True)
    try:
        done: Unpacked = unpack(archive, unpacking, strip=source.strip)
        write_json(unpacking / RECORD, {**about, "files": done.files, "links_left_out": done.links})
        try:
            load_manifest({"kind": source.kind, "root": unpacking})
        except ManifestError as error:
            raise RunError(f"{archive}: does not contain {source.title} in the expected layout: {error}") from error
        if root.is_dir():
            root.rmdir()  # empty
        unpacking.rename(root)
    finally:
        shutil.rmtree(unpacking, ignore_errors=True)
    if done.links:
        console.note(f"skipped {counted(len(done.links), 'link')}, first {done.links[0]!r}")
    return load_manifest({"kind": source.kind, "root": root})


def _report(manifest: Manifest, source: CorpusSource, console: Console) -> None:
    """Print the number of clips, with a warning if it is not the expected one."""
    groups = f", {manifest.clips['group'].nunique()} groups" if "group" in manifest.clips else ""
    console.line(f"{manifest.root}: {len(manifest)} clips, {len(manifest.labels)} classes{groups}")
    if len(manifest) != source.clips:
        console.warning(f"{source.title} should have {source.clips} clips, this copy has {len(manifest)}")


def _audit(name: str, source: CorpusSource, root: Path, console: Console) -> None:
    """Run `datasets audit` as with a config that only names the corpus."""
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
