#!/usr/bin/env bash
# One call on the borrowed machine, from the repository's root: tools/gpu/leg.sh FOLDER OUT SECONDS [lite0|lite ...]
#
# FOLDER is what was sent along: *.tar slices, wheels/, teacher.onnx, start-NAME.npz. The first call installs the wheels;
# every call hands new slices on, starts the named trainings unless they run, waits for SECONDS, and leaves log and newest
# weights of each in OUT. Trainings go on between the calls. GPU_SECONDS: how long each is to take, 1260 s if not said;
# GPU_WORK: a folder to work in; GPU_TEACHER: the description of teacher.onnx; GPU_OPTIONS: more flags for train.py.
set -euo pipefail
from=$1 out=$2 wait=$3
shift 3
work=${GPU_WORK:-/tmp/fcoslite-gpu}
mkdir -p "$work/slices" "$out"
export KERAS_BACKEND=jax PYTHONUNBUFFERED=1 JAX_COMPILATION_CACHE_DIR=$work/compiled
export PYTHONPATH=$work/site:$PWD/src${PYTHONPATH:+:$PYTHONPATH}

if [ -d "$from/wheels" ] && [ ! -d "$work/site" ]; then
  python3 -m pip install -q --no-index --no-deps --no-compile --target "$work/site" "$from"/wheels/*.whl
fi
# the package runs from src/, and asks for its own version
if [ ! -d "$work/site/fcoslite-0.dist-info" ]; then
  mkdir -p "$work/site/fcoslite-0.dist-info"
  printf 'Metadata-Version: 2.1\nName: fcoslite\nVersion: 0\n' >"$work/site/fcoslite-0.dist-info/METADATA"
fi
cp -n "$from"/*.onnx "$from"/*.npz "$work/" 2>/dev/null || true
for slice in "$from"/*.tar; do
  [ -e "$slice" ] || continue
  mv "$slice" "$work/slices/.arriving" && mv "$work/slices/.arriving" "$work/slices/$(basename "$slice")"
done
if [ ! -e "$work/depthwise" ]; then
  python3 tools/gpu/depthwise.py 2>"$work/depthwise.log" >"$work/depthwise" || echo grouped >"$work/depthwise"
  cat "$work/depthwise.log" "$work/depthwise"
fi
for name in "$@"; do
  mkdir -p "$work/$name"
  if [ -e "$work/$name/pid" ] && kill -0 "$(cat "$work/$name/pid")" 2>/dev/null || [ -e "$work/$name/done.json" ]; then
    continue
  fi
  start=()
  [ -e "$work/start-$name.npz" ] && start=(--start "$work/start-$name.npz")
  setsid nohup python3 tools/gpu/train.py "$work/$name" --config "$name" --slices "$work/slices" \
    --teacher "$work/teacher.onnx:${GPU_TEACHER:-rtmdet}" --seconds "${GPU_SECONDS:-1260}" --depthwise "$(cat "$work/depthwise")" \
    "${start[@]}" ${GPU_OPTIONS:-} >"$work/$name/out.txt" 2>&1 </dev/null &
  echo $! >"$work/$name/pid"
done
sleep "$wait"
for folder in "$work"/*/; do
  name=$(basename "$folder")
  [ -e "$folder/out.txt" ] || continue
  echo "== $name"
  tail -n 12 "$folder/log.txt" || true
  grep -v -e '^$' "$folder/out.txt" | tail -n 12 || true
  cp "$folder/log.txt" "$out/$name.log.txt" || true
  cp "$folder/weights.npz" "$out/$name.npz" 2>/dev/null || true
done
