"""A little HTML: elements that escape what they are given, pictures as base64, numbers as people read them."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from PIL import Image

DASH = "–"
HEAVY = 400_000  # bytes from which a progress grid is made lighter
WIDEST = 1400  # pixels of a lighter grid


class Html(str):
    """Text that is markup already. Every other str is escaped when it enters an element."""

    __slots__ = ()


Child = str | Iterable[Any] | None


def markup(*children: Child) -> Html:
    """Children one behind the other: markup as it is, text escaped, lists flattened, None left out."""
    parts = []
    for child in children:
        if isinstance(child, Html):
            parts.append(str(child))
        elif isinstance(child, str):
            parts.append(html.escape(child))
        elif child is not None:
            parts.append(markup(*child))
    return Html("".join(parts))


def tag(name: str, /, *children: Child, **attributes: str | int | bool | None) -> Html:
    """`tag("td", "1 < 2", class_="n")`: attributes lose a trailing `_`; True is a bare one, None and False are none."""
    text = ""
    for key, value in attributes.items():
        if value is not None and value is not False:
            text += " " + key.rstrip("_").replace("_", "-")
            text += "" if value is True else f'="{html.escape(str(value))}"'
    if name in ("img", "meta", "br"):
        return Html(f"<{name}{text}>")
    return Html(f"<{name}{text}>{markup(*children)}</{name}>")


def definitions(pairs: Iterable[tuple[str, Child]], **attributes: str) -> Html:
    """A list of terms; those with nothing to say are left out."""
    return tag("dl", [tag("div", tag("dt", term), tag("dd", value)) for term, value in pairs if value], **attributes)


def fold(summary: str, *children: Child) -> Html:
    """Closed until somebody looks."""
    return tag("details", tag("summary", summary), *children)


def picture(path: Path, alt: str, **attributes: str | int) -> Html:
    """A PNG as it is, embedded, with its size in pixels so that nothing jumps while the page is laid out."""
    width, height = picture_size(path)
    return tag("img", src=_embedded(path.read_bytes(), "png"), alt=alt, width=width, height=height, **attributes)


def light_picture(path: Path, alt: str) -> Html:
    """A PNG that only shows progress: a big one is shrunk and written as JPEG."""
    if path.stat().st_size <= HEAVY:
        return picture(path, alt, loading="lazy")
    with Image.open(path) as image:
        small = image.convert("L" if image.mode in ("1", "L", "I", "I;16") else "RGB")
    small.thumbnail((WIDEST, 8 * WIDEST))
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=85)
    src = _embedded(buffer.getvalue(), "jpeg")
    return tag("img", src=src, alt=alt, width=small.width, height=small.height, loading="lazy")


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height."""
    with Image.open(path) as image:
        return image.size


def _embedded(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def inline_svg(svg: str, label: str, colours: Mapping[str, str]) -> Html:
    """An SVG file's text as an element of the page: scales with its column, its colours follow light and dark.

    Args:
        label: what a screen reader says.
        colours: name -> the hex colour that was drawn with; it becomes the page's `var(--name)`.
    """
    svg = svg[svg.index("<svg"):]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.S)
    head, rest = svg.split(">", 1)
    view = re.search(r'viewBox="[^"]*"', head)
    for name, colour in colours.items():
        rest = rest.replace(colour, f"var(--{name})")
    return Html(f'<svg {view.group(0) if view else ""} role="img" aria-label="{html.escape(label)}">{rest.strip()}')


def si(value: float) -> str:
    """Three digits and a prefix: 21.3 M, 1.50 G, 512."""
    for limit, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= limit * 0.9995:
            return f"{three(value / limit)}{prefix}"
    return f"{value:.0f}" if float(value).is_integer() else three(value)


def three(value: float) -> str:
    """Three significant digits without an exponent where that is readable."""
    if value and not 1e-3 <= abs(value) < 1e5:
        return f"{value:.2e}"
    for limit, digits in ((99.95, 0), (9.995, 1), (0.9995, 2)):
        if abs(value) >= limit:
            return f"{value:,.{digits}f}"
    return f"{value:.3g}"


def duration(seconds: float) -> str:
    """12 s, 3 min 20 s, 2 h 05 min."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def plain(value: Any) -> str:
    """A value of a recipe as one reads it. Of a path on somebody's machine only the last name is shown."""
    if isinstance(value, str):
        absolute = re.match(r"(/|~|[A-Za-z]:\\)", value)
        return "…/" + re.split(r"[/\\]", value.rstrip("/\\"))[-1] if absolute else value
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return "[" + ", ".join(plain(v) for v in value) + "]"
    return str(value)


def flat(data: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested tables as dotted names, the form that `--set` takes."""
    rows: list[tuple[str, str]] = []
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            rows += flat(value, f"{prefix}{key}.")
        else:
            rows.append((f"{prefix}{key}", plain(value) if not isinstance(value, Mapping) else "{}"))
    return rows
