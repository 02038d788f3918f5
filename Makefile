# Two commands: `make demo` and `make test`. Both make .venv first; constraints.txt pins what a machine without a
# CUDA build of torch needs (remove CONSTRAINTS, or set it empty, to take the newest torch).
PYTHON ?= python3
CONSTRAINTS ?= -c constraints.txt
VENV ?= .venv

.PHONY: demo test lint clean

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --disable-pip-version-check -q $(CONSTRAINTS) torch
	$(VENV)/bin/python -m pip install --disable-pip-version-check -q $(CONSTRAINTS) -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(VENV)/bin/ugc run sans2serif-demo --out runs/demo

test: $(VENV)/.installed
	$(VENV)/bin/ruff check src tests benchmarks
	$(VENV)/bin/mypy
	$(VENV)/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile

lint: $(VENV)/.installed
	$(VENV)/bin/ruff check --fix src tests benchmarks
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info
