#!/usr/bin/env bash
# Make .venv-peers/NAME for each NAME.txt beside this file, or for the names that are given: peers that cannot lie in .venv.
#
# PyTorch is .venv's own, linked and pinned: both sides of a comparison compute with the same build, and its five
# gigabytes lie on the disk once. The rest is what NAME.txt asks for. A finished environment is left alone.
set -euo pipefail
cd "$(dirname "$0")/../.."
site() { "$1" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; }

fail() { echo "bench-peers: $*" >&2; exit 1; }

[ $# -gt 0 ] || set -- $(basename -s .txt benchmarks/peers/*.txt)
for name; do
    asked=benchmarks/peers/$name.txt place=.venv-peers/$name
    [ -f "$asked" ] || fail "no $asked; there are: $(ls benchmarks/peers)"
    [ -x .venv/bin/python ] || fail "no .venv here; run: make setup"
    if [ "$place/.ready" -nt "$asked" ]; then continue; fi
    echo "bench-peers: making $place" >&2
    rm -rf "$place"
    .venv/bin/python -m venv "$place"
    for part in torch torchgen functorch torchvision torchvision.libs nvidia triton cuda \
        {torch,torchvision,triton,nvidia_*,cuda_*}-[0-9]*.dist-info; do
        for found in "$(site .venv/bin/python)"/$part; do
            if [ -e "$found" ]; then ln -s "$(realpath "$found")" "$(site "$place/bin/python")/"; fi
        done
    done
    "$place/bin/python" -m pip list --format=freeze | grep -E '^(torch|torchvision)==' >"$place/torch.txt"
    "$place/bin/python" -m pip install --quiet --disable-pip-version-check -c "$place/torch.txt" -r "$asked"
    touch "$place/.ready"
done
