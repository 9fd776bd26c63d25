#!/usr/bin/env bash
# Ten minutes with a GPU: is it right, and how fast is it, as shares of what the card can do.
#
#     benchmarks/gpu_once.sh OUT            nine minutes; needs a checkout, what it and its tests import, no network
#     benchmarks/gpu_once.sh OUT --toy      the same code in small, also without a GPU
#
# WHEELS: a folder of wheels for what the machine lacks. PYTHON: which interpreter. PARTS: which of them, "smoke steps";
# of the others OUT keeps what it has. Each part has its own time, writes OUT/<part>.json row by row, and
# OUT/<part>.log; at the end come OUT/summary.md and benchmarks/results/gpu/<card>.json.
set -uo pipefail
cd "$(dirname "$0")/.."
out=$(realpath -m "${1:?usage: benchmarks/gpu_once.sh OUT [--toy]}")
toy=${2:-}
python=${PYTHON:-python3}
mkdir -p "$out"

export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
if [ -n "${WHEELS:-}" ]; then
    "$python" -m pip install --quiet --no-index --no-deps --upgrade --target "$out/wheels" "$WHEELS"/*.whl || exit 1
    export PYTHONPATH="$PYTHONPATH:$out/wheels"
fi

all=530 # seconds; the summary has what is left of nine minutes
part() {
    [[ " ${PARTS:-$1} " == *" $1 "* ]] || return 0
    local left=$((all - SECONDS)) most=$2 begun=$SECONDS code
    # In small nothing is measured, and a busy machine may take its time.
    [ -z "$toy" ] && [ "$most" -le "$left" ] || most=$left
    if [ "$most" -lt 5 ]; then
        "$python" -m benchmarks.gpu ended "$out" "$1" 124 0
        return
    fi
    echo "$1: up to $most s" >&2
    timeout --kill-after=5 "$most" "$python" -m benchmarks.gpu "$1" "$out" $toy >"$out/$1.log" 2>&1
    code=$?
    "$python" -m benchmarks.gpu ended "$out" "$1" "$code" $((SECONDS - begun))
}

# In order of worth.
part tests 120
part smoke 120
part limits 25
part teachers 120
part steps 90
part mining 55
"$python" -m benchmarks.gpu summary "$out" $toy
