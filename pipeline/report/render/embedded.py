"""Content embedded in the page: escaped JSON, scripts, styles, and a policy that allows no other scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import math
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from markupsafe import Markup

_ASSETS = resources.files("pipeline.report") / "assets"
_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def json_text(value: Any) -> str:
    """Return compact JSON. NaN and infinities become null; NumPy scalars and arrays become numbers and lists.

    Raises:
        TypeError: A value has no JSON form.
    """
    return json.dumps(_plain(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def json_script(value: Any, **attributes: str) -> Markup:
    """Return a `<script type="application/json">` element with a value that cannot end the element early.

    Args:
        value: JSON values.
        attributes: Attributes of the element; write `class_` for `class`.
    """
    text = json_text(value)
    for mark, escaped in _ESCAPES.items():
        text = text.replace(mark, escaped)
    named = "".join(Markup(' {}="{}"').format(name.rstrip("_"), own) for name, own in attributes.items())
    return Markup('<script type="application/json"{}>{}</script>').format(Markup(named), Markup(text))


@cache
def plotly_script() -> str:
    """Return Plotly's script, the smallest bundle with all charts of the page; see `assets/plotly/README.md`."""
    return _inline((_ASSETS / "plotly" / "plotly-cartesian.min.js").read_text(encoding="utf-8"))


@cache
def scripts() -> tuple[str, ...]:
    """Return the page's scripts: `report.js`, then the others by name."""
    return _assets(".js", first="report.js")


@cache
def styles() -> tuple[str, ...]:
    """Return the page's style sheets: `style.css`, then the others by name."""
    return _assets(".css", first="style.css")


def policy() -> str:
    """Return a content security policy that allows only the page's own scripts and no network requests."""
    allowed = " ".join(f"'sha256-{_digest(script)}'" for script in (*scripts(), plotly_script()))
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {allowed}",
            "style-src 'unsafe-inline'",
            "img-src data: blob:",
            "media-src 'self' file: data: blob:",
            "base-uri 'none'",
            "form-action 'none'",
        )
    )


def _assets(suffix: str, first: str) -> tuple[str, ...]:
    names = sorted(item.name for item in _ASSETS.iterdir() if item.name.endswith(suffix))
    ordered = sorted(names, key=lambda name: name != first)
    return tuple(_inline((_ASSETS / name).read_text(encoding="utf-8")) for name in ordered)


def _inline(text: str) -> str:
    """Normalise line ends as HTML parsers do, so that the digest matches the text of the element.

    Raises:
        ValueError: The text would end its element.
    """
    if "</script" in text.lower() or "</style" in text.lower() or "<!--" in text:
        raise ValueError("an asset must not contain </script, </style or <!--")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(own) for key, own in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, list | tuple):
        return [_plain(own) for own in value]
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
