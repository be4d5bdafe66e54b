#!/usr/bin/env bash
# Checks and times the whole product on a machine with an accelerator, without a network, in eight minutes.
#
#   scripts/gpu_check.sh [--wheels DIR] [--weights FILE] [--out DIR] [--small] [--parts "machine tests ..."] [--seconds N]
#
# --wheels   folder of wheels of what the machine lacks (tyro, defusedxml, captum and what they need)
# --weights  SqueezeNet 1.1's real weights, a safetensors file (default: those in SALBOX_SHARED, else random ones)
# --out      folder of the JSON files (default: runs/gpu)
# --small    all of it on small networks and numbers, on a CPU too, in under three minutes
# --parts    some of machine tests occlusion gradient maps linear, in that order
# --seconds  what each part has at most (default: a limit of its own)
# PYTHON     the interpreter (default: python3)
#
# Every part has a process and a time limit of its own, writes its JSON as it goes, and stops none of the others.
set -uo pipefail
cd "$(dirname "$0")/.."

python=${PYTHON:-python3} wheels="" weights="" out=runs/gpu small="" every=""
parts="machine tests occlusion gradient maps linear"
while [ $# -gt 0 ]; do
  case $1 in
    --wheels) wheels=$2; shift 2 ;;
    --weights) weights=$2; shift 2 ;;
    --out) out=$2; shift 2 ;;
    --parts) parts=$2; shift 2 ;;
    --seconds) every=$2; shift 2 ;;
    --small) small=--small; shift ;;
    *) sed -n '2,/^$/{s/^# \{0,1\}//p}' "$0" >&2; exit 2 ;;
  esac
done

site=$(mktemp -d)
trap 'rm -rf "$site"' EXIT
if [ -n "$wheels" ]; then
  "$python" -m pip install --quiet --no-index --no-deps --no-compile --no-cache-dir --target "$site" "$wheels"/*.whl || exit 2
  export PYTHONPATH="$site${PYTHONPATH:+:$PYTHONPATH}"
fi
lacking=$("$python" - <<'END'
from importlib.util import find_spec
print(*(name for name in ("tyro", "docstring_parser", "typeguard", "defusedxml", "captum") if find_spec(name) is None))
END
)
needed=${lacking//captum/}
if [ -n "${lacking// /}" ]; then
  echo "not installed here: $lacking. On a machine with a network, from this folder, this fills a folder of wheels:"
  pins=""
  for name in $lacking; do pins="$pins $(grep -i "^$name==" constraints.txt)"; done
  echo "  python3 -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \\"
  echo "    --abi cp312 --abi abi3 --abi none --platform manylinux_2_28_x86_64 --platform manylinux2014_x86_64 --platform any \\"
  echo "    --dest WHEELS$pins"
  echo "and then: scripts/gpu_check.sh --wheels WHEELS"
  if [ -n "${needed// /}" ]; then exit 2; fi
  echo "without captum its own figures are left out; the rest goes on"
fi
if [ -z "$weights" ] && [ -f "${SALBOX_SHARED:-}/weights/squeezenet1_1.safetensors" ]; then
  weights=$SALBOX_SHARED/weights/squeezenet1_1.safetensors
fi

mkdir -p "$out"
export XLA_PYTHON_CLIENT_PREALLOCATE=false PYTHONUNBUFFERED=1 # torch and JAX take turns on one card
export XLA_FLAGS="${XLA_FLAGS-}"                               # set, so that the tests do not turn optimisation off
declare -A limit=([machine]=30 [tests]=90 [occlusion]=165 [gradient]=60 [maps]=50 [linear]=80)
total=475 begun=$SECONDS
if [ -n "$small" ]; then # a busy CPU may take several times its own time
  total=1500
  for part in "${!limit[@]}"; do limit[$part]=$((4 * limit[$part])); done
fi
for part in $parts; do
  left=$((total - (SECONDS - begun)))
  seconds=${every:-${limit[$part]:?no such part: $part}}
  if [ "$seconds" -gt "$left" ]; then seconds=$left; fi
  if [ "$seconds" -lt 5 ]; then echo "== $part: no time left"; continue; fi
  echo "== $part, $seconds s at most, begun after $((SECONDS - begun)) s"
  # the part itself stops a little earlier, so that what it has left out is in its file
  timeout --kill-after=5 "$seconds" "$python" -m scripts.benchmark gpu --part "$part" --out "$out" \
    --seconds "$((seconds - 3))" $small ${weights:+--weights "$weights"} || echo "== $part ended with exit code $?"
done
echo "== all, after $((SECONDS - begun)) s"
"$python" -m scripts.benchmark gpu --part table --out "$out"
