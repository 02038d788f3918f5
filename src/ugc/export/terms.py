"""Whose pictures a saved net learnt from: what its `config.json` says, for whatever is passed on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

OWN = "Trained on pictures of the user's own, which keep their own terms"


def attribution(config: Mapping[str, Any]) -> str:
    """The attribution of a net's data, and that of the given original that it learnt from or began with."""
    texts = [str(config.get("attribution") or OWN)]
    if given := config.get("original") or {}:
        texts.append(f"The original was given: a net of {given.get('data') or 'unknown data'}")
        texts.append(str(given.get("attribution") or ""))
    *most, last = filter(None, texts)
    return " ".join([*(text.rstrip(". ") + "." for text in most), last])
