"""Saved nets on the Hugging Face hub: `org/name` or `org/name@revision` as a folder, and a folder as `org/name`.

Only `config.json` and `model.safetensors` are fetched: no code, no pickle. huggingface_hub does the work; it keeps its own
cache, tokens and `HF_*` variables.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ugc.core.errors import UserError, near
from ugc.core.log import say
from ugc.export.saved import load_net
from ugc.version import __version__

NAME = re.compile(r"(?P<name>[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(@(?P<revision>[^@\s]+))?", re.ASCII)
NET = ("config.json", "model.safetensors")
BESIDE = ("README.md", "model.onnx")  # go up with a net where they are there


def located(text: str | Path) -> Path:
    """The folder itself where it is one, or where it looks like no name of the hub; else the net of that name, fetched.

    `org/name` is a slip in a path, and nothing is asked of the network, where there is a folder `org`. A revision says that
    it is a name.

    Raises:
        UserError: a slip in a path; huggingface_hub is missing, no network and nothing in its cache, no such name or
            revision, no net there.
    """
    folder = Path(text)
    found = NAME.fullmatch(text if isinstance(text, str) else text.as_posix())  # as typed: ./a/b is a path
    if folder.exists():
        return folder
    if not found or (folder.parent.is_dir() and not found["revision"]):
        return _slip(folder, hub=bool(found))
    name, revision = found["name"], found["revision"]
    here = f"{folder} is no folder here"
    hub = _package(f"{here}; as a name on the Hugging Face hub it needs huggingface_hub")
    with _told(f"{here}, and not to be had from the hub", hub):
        fetched = Path(hub.snapshot_download(name, revision=revision, allow_patterns=list(NET), library_name="ugc",
                                             library_version=__version__))
    if missing := [file for file in NET if not (fetched / file).is_file()]:
        raise UserError(f"{name} on the hub holds no net of ugc: {' and '.join(missing)} not there")
    return fetched


def _slip(folder: Path, hub: bool) -> Path:
    """UserError that names the saved nets beside a folder that is not there; the folder, where nothing is to be said.

    Args:
        hub: whether it could be a name of the hub.
    """
    beside = sorted(p.parent.name for p in folder.parent.glob("*/config.json"))
    if not beside and not hub:
        return folder
    known = near(folder.name, beside) if beside else f"{folder.parent} holds none"
    raise UserError(f"{folder} holds no saved net, it is not there; expected one such as RUN/student ({known})"
                    + (f"; {folder.as_posix()}@main asks the Hugging Face hub" if hub else ""))


def push_to_hub(folder: str | Path, name: str, private: bool = False) -> str:
    """Upload a saved net to the Hugging Face hub, under the token of `hf auth login` or `HF_TOKEN`.

    Args:
        folder: a saved net; its `README.md` (the model card) and `model.onnx` go with it where they are there.
        name: `org/name`; made if there is none of that name yet.
        private: only for a new one.

    Returns:
        The address of its page.

    Raises:
        UserError: no saved net, no such form of name, huggingface_hub is missing, no network, no right to write there.
    """
    folder = Path(folder)
    found = NAME.fullmatch(name)
    if not found or found["revision"]:
        raise UserError(f"{name!r}: expected a name such as org/name")
    load_net(folder)  # what does not load is not passed on
    hub = _package("to upload to the Hugging Face hub, ugc needs huggingface_hub")
    files = [*NET, *(file for file in BESIDE if (folder / file).is_file())]
    if "README.md" not in files:
        say(f"{folder} has no model card: a run writes one for its student once it is tested")
    with _told(f"{folder} was not uploaded to {name}", hub):
        api = hub.HfApi(library_name="ugc", library_version=__version__)
        page = api.create_repo(name, private=private, exist_ok=True)
        api.upload_folder(repo_id=page.repo_id, folder_path=folder, allow_patterns=files,
                          commit_message=f"Upload with ugc {__version__}")
    return str(page)


def _package(why: str) -> Any:
    try:
        import huggingface_hub.errors
    except ImportError as error:
        raise UserError(f"{why} ({error}): pip install 'ugc[hub]'") from None
    return huggingface_hub


@contextmanager
def _told(what: str, hub: Any) -> Iterator[None]:
    """The package's errors as one sentence that starts with `what`."""
    try:
        yield
    except hub.errors.GatedRepoError:
        raise UserError(f"{what}: its owner gives access on request only; ask on its page, then run hf auth login") from None
    except hub.errors.RevisionNotFoundError:
        raise UserError(f"{what}: it has no such revision") from None
    except hub.errors.RepositoryNotFoundError:
        raise UserError(f"{what}: there is no such name, or it is private; for a private one run hf auth login") from None
    except hub.errors.LocalEntryNotFoundError as error:
        cause = error.__cause__ or error
        offline = isinstance(cause, hub.errors.OfflineModeIsEnabled)
        why = "HF_HUB_OFFLINE is set" if offline else f"no connection ({_line(cause)})"
        raise UserError(f"{what}: {why}, and it is not in the cache") from None
    except hub.errors.OfflineModeIsEnabled:
        raise UserError(f"{what}: HF_HUB_OFFLINE is set") from None
    except hub.errors.HfHubHTTPError as error:
        login = "; run hf auth login, or set HF_TOKEN" if error.response.status_code in (401, 403) else ""
        raise UserError(f"{what}: {_line(error)}{login}") from None
    except Exception as error:  # of whichever network library the package has; a token that is missing; a full disk
        raise UserError(f"{what}: {_line(error)}") from None


def _line(error: BaseException) -> str:
    """An error's name and first line."""
    text = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
