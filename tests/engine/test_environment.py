"""Which commit a run names: the source tree's, and nobody else's."""

import subprocess
from pathlib import Path

from ugc.engine import environment


def git(folder, *words):
    me = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", str(folder), *me, *words], check=True, capture_output=True)


def test_an_installation_in_somebodys_repository_has_no_commit(tmp_path, monkeypatch):
    """A virtual environment usually lies in the user's own project."""
    git(tmp_path, "init")
    (tmp_path / "mine.py").write_text("")
    git(tmp_path, "add", "mine.py")
    git(tmp_path, "commit", "-m", "mine")
    here = tmp_path / ".venv/ugc/engine/environment.py"
    here.parent.mkdir(parents=True)
    here.write_text(Path(environment.__file__).read_text())
    monkeypatch.setattr(environment, "__file__", str(here))
    assert environment.commit() is None
    git(tmp_path, "add", "-f", str(here))
    git(tmp_path, "commit", "-m", "ugc is mine, too")
    assert environment.commit().isalnum()
    here.write_text("changed")
    assert environment.commit().endswith("+")
    monkeypatch.setattr(environment, "__file__", str(tmp_path.parent / "environment.py"))
    assert environment.commit() is None
