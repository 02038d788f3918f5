"""A measurement in a process of its own, or in several by torchrun: a fresh start, and a peak of memory that is its own.

A benchmark calls itself: `apart(__file__, case)` in the process that drives, `answer(row)` in the one that measures.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from ugc.core import rank

MARK = "row of results: "
TOLD = 20  # lines of a failed process that are repeated


class CaseError(RuntimeError):
    """The process that measured a case ended badly; says how."""


def apart(script: str, case: Mapping[str, Any], threads: int, processes: int = 1, **environment: str) -> dict[str, Any]:
    """What `script --case CASE` answers.

    Args:
        threads: of each process.
        environment: variables beside those of this process, such as UGC_HOME.

    Raises:
        CaseError: it ended without an answer.
    """
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    command = [sys.executable, *(torchrun if processes > 1 else []), script, "--case", json.dumps(case)]
    done = subprocess.run(command, check=False, capture_output=True, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": str(threads), **environment})
    rows = [line.removeprefix(MARK) for line in done.stdout.splitlines() if line.startswith(MARK)]
    if done.returncode or len(rows) != 1:
        end = "\n".join(done.stderr.splitlines()[-TOLD:])
        raise CaseError(f"{json.dumps(case)}: exit status {done.returncode}\n{end}")
    row: dict[str, Any] = json.loads(rows[0])
    return row


def answer(row: Mapping[str, Any]) -> None:
    """Hand the row to the process that drives; of several processes the first one does."""
    if rank.lead():
        print(MARK + json.dumps(row), flush=True)
