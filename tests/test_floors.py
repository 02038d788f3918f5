"""The house stands: imports go down only, and what need not be loaded is not."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import ugc

ROOT = Path(ugc.__file__).parent
FLOORS = {"version": 0, "core": 0, "nn": 1, "models": 2, "losses": 2, "data": 2, "metrics": 2, "training": 3, "search": 3,
          "export": 3, "methods": 4, "engine": 5, "recipes": 6, "cli": 7}
FILES = sorted(path for path in ROOT.rglob("*.py") if path.parent != ROOT)
MODULES = sorted(".".join(("ugc", *path.relative_to(ROOT).with_suffix("").parts)).removesuffix(".__init__")
                 for path in FILES)


def imports(path):
    """(line, package of ugc) of every import in a file, inside functions and for type checking too."""
    here = ("ugc", *path.relative_to(ROOT).parts)
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = here[: -node.level] if node.level else ()
            base = ".".join((*start, *([node.module] if node.module else [])))
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "ugc" else [base]
        for name in names:
            parts = name.split(".")
            if parts[0] == "ugc":
                yield node.lineno, parts[1] if len(parts) > 1 else ""


def test_every_package_has_a_floor():
    assert {path.relative_to(ROOT).parts[0] for path in FILES} <= set(FLOORS)
    assert len(FILES) > 40


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports_go_down(path):
    own = path.relative_to(ROOT).parts[0]
    for line, other in imports(path):
        if other == "" or other.startswith("__"):  # the top itself: for its version, its `load`
            assert own == "cli", f"{path.name}:{line} imports the top of ugc"
        elif other != own:
            assert FLOORS[other] < FLOORS[own], f"{path.name}:{line}: {own} imports {other}, which is no lower"


def test_the_walk_sees(tmp_path, monkeypatch):
    """The walker is not blind: absolute, relative, in functions, from the top."""
    (tmp_path / "nn").mkdir()
    file = tmp_path / "nn" / "a.py"
    file.write_text("import ugc.models.x\nfrom ..search import y\nfrom . import z\n\n\ndef f():\n"
                    "    from ugc import data\n    import torch\n    from ugc.engine.run import b\n")
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    assert [name for _, name in sorted(imports(file))] == ["models", "search", "nn", "data", "engine"]


def test_the_top_imports_nothing_heavy():
    """`ugc/__init__.py` may import from the house inside functions only."""
    for path in ROOT.glob("*.py"):
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [node.module] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
                assert all(name.split(".")[0] in (*sys.stdlib_module_names, "ugc") for name in names)
                assert all(name == "ugc.version" for name in names if name.startswith("ugc"))


def run(code, **environment):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False,
                          env={**os.environ, **environment})


@pytest.mark.parametrize("module", [name for name in ("ugc", "ugc.cli.main") if name in ("ugc", *MODULES)])
def test_light_modules_load_no_torch(module):
    heavy = ("torch", "torchvision", "matplotlib", "onnx", "onnxruntime", "onnxscript", "pydantic", "scipy")
    heavy = heavy[: 6 if module == "ugc.cli.main" else 8]
    done = run(f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])")
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"


def test_a_broken_torchvision_breaks_nothing(tmp_path):
    first = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    before = run("import torchvision", PYTHONPATH=first)
    assert "nms does not exist" in before.stderr  # it is found first, and broken
    code = f"import importlib, sys\nfor name in {MODULES!r}: importlib.import_module(name)\n"
    code += "print(sorted(m for m in ('torchvision', 'timm', 'lpips', 'piq', 'torch_fidelity') if m in sys.modules))"
    done = run(code, PYTHONPATH=first)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().splitlines()[-1] == "[]"
