"""A file on a server: the rest of it where that can be had, and is of the file that the beginning was of."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from typing import Any, Self

TIMEOUT = 30.0  # seconds without a byte


class NetworkError(Exception):
    """Why no more bytes came; `final` where another try would not help."""

    def __init__(self, reason: object, final: bool = False) -> None:
        super().__init__(f"nothing came for {TIMEOUT:g} s" if isinstance(reason, TimeoutError) else str(reason))
        self.final = final


@dataclass
class Answer:
    """What a server sends of a file; a context that closes the connection."""

    response: HTTPResponse
    start: int  # the first byte that comes
    size: int  # of the whole file

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.response.close()

    @property
    def kind(self) -> str:
        return self.response.headers.get_content_type()

    @property
    def validator(self) -> str | None:
        return _validator(self.response.headers)

    def read(self, most: int) -> bytes:
        """What has come, at most so many bytes; none at the end. Raises NetworkError."""
        try:
            return self.response.read1(most)
        except (OSError, HTTPException) as problem:
            raise NetworkError(problem) from None


def ask(address: str, have: int = 0, said: Mapping[str, Any] | None = None) -> Answer:
    """Ask for the bytes from `have` on; the answer may start at 0 all the same.

    Args:
        have: how many bytes are here already.
        said: `size` and `validator` of the file that they are of, where known; of another file all is sent.

    Raises:
        NetworkError: no connection, refused, or an answer that does not say how long the file is.
    """
    said = said or {}
    headers = {"Range": f"bytes={have}-"} if have else {}
    if have and said.get("validator"):
        headers["If-Range"] = said["validator"]
    try:
        response: HTTPResponse = urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as problem:
        if problem.code == 416 and have:  # the file has become shorter
            return ask(address)
        final = problem.code < 500 and problem.code not in (408, 429)
        raise NetworkError(f"{address} answered {problem.code} {problem.reason}", final) from None
    except urllib.error.URLError as problem:
        raise NetworkError(f"no connection to {address} ({problem.reason})", final=True) from None
    except TimeoutError as problem:
        raise NetworkError(problem) from None
    except (OSError, HTTPException, ValueError) as problem:
        raise NetworkError(f"no connection to {address} ({problem})") from None
    start, size = _extent(response)
    if response.status == 206 and have and not (start == have and _same(response, size, said)):
        response.close()
        return ask(address)  # not what was asked for, or of another file
    if response.status not in (200, 206) or start != (have if response.status == 206 else 0) or size is None:
        response.close()
        why = "does not say how long the file is" if start == 0 else f"answered {response.status} {response.reason} wrongly"
        raise NetworkError(f"{address} {why}", final=True)
    return Answer(response, start, size)


def _same(response: HTTPResponse, size: int | None, said: Mapping[str, Any]) -> bool:
    """Whether a part belongs to the file that the bytes before it are of, as far as the server tells."""
    before, now = said.get("validator"), _validator(response.headers)
    return size == said.get("size", size) and (not before or now in (None, before))


def _extent(response: HTTPResponse) -> tuple[int, int | None]:
    """Where an answer starts in its file, and how long that file is (None: it does not say)."""
    if response.status == 206:
        found = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", "").strip())
        return (int(found[1]), None if found[2] == "*" else int(found[2])) if found else (-1, None)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if re.fullmatch(r"\d{1,18}", length) else None


def _validator(headers: Message) -> str | None:
    """What a server names this state of its file by: a strong ETag, else the date."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")
