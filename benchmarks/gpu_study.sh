#!/usr/bin/env bash
# The study of docs/results.md on a GPU, in calls of a few minutes that go on from one another on the same machine.
#
#     bash benchmarks/gpu_study.sh SECONDS JOBS [options of study.py, such as --group core --seed 0 1 2 3 4]
#
# Small nets wait for their layers to be launched, so JOBS runs share the GPU, with the cores shared among them. After
# SECONDS every run ends its step and saves. Run folders stay in runs/study-gpu; what the page needs goes to
# benchmarks/results/study-gpu and, as study-gpu.tar.gz, to $OUT where that is set. Wheels in .whl are installed first
# (benchmarks/README.md says which): such machines often reach no package index.
set -euo pipefail
cd "$(dirname "$0")/.."
seconds=$1 jobs=$2
shift 2
if [ -d .whl ] && [ ! -e runs/site/.installed ]; then
    python3 -m pip install -q --no-index --no-deps --no-compile --target runs/site .whl/*.whl
    touch runs/site/.installed
fi
export PYTHONPATH="$PWD/src:$PWD/runs/site${PYTHONPATH:+:$PYTHONPATH}" UGC_HOME="${UGC_HOME:-$PWD/runs/ugc-home}" PYTHONUNBUFFERED=1
cores=$(nproc)
threads=$((cores > jobs ? cores / jobs : 1))
results=benchmarks/results/study-gpu
mkdir -p "$results" runs/study-gpu
status=0
timeout -s TERM -k 60 "$seconds" \
    python3 benchmarks/study.py --out runs/study-gpu --results "$results" --jobs "$jobs" --threads "$threads" "$@" || status=$?
if [ -n "${OUT:-}" ]; then
    tar czf "$OUT/study-gpu.tar.gz" -C "$results" .
fi
python3 benchmarks/study.py --out runs/study-gpu --results "$results" "$@" --list
[ "$status" = 124 ] && exit 0 # out of time: the next call goes on
exit "$status"
