#!/bin/sh
# Measures in about ten minutes what needs an accelerator, and writes JSON into a folder:
#
#     benchmarks/gpu.sh OUT            on one accelerator, with this package installed
#     benchmarks/gpu.sh OUT --tiny     a rehearsal of a minute, on any machine
#
# PYTHON=... chooses the interpreter. PyTorch, if it is there, is measured beside. Every part has its limit and is tried
# whatever became of those before; the status is 1 if one failed.
set -u
mkdir -p "${1:?folder of the results}"
out=$(cd "$1" && pwd)
tiny=${2:-}
python=${PYTHON:-python}
cd "$(dirname "$0")/.." || exit 1
failed=0

part() { # part NAME SECONDS COMMAND...
    name=$1 seconds=$2
    shift 2
    echo "== $name, at most $seconds s"
    timeout --signal=INT --kill-after=10 "$seconds" "$@" >"$out/$name.log" 2>&1 || {
        echo "$name: status $?, see $out/$name.log"
        tail -n 3 "$out/$name.log"
        failed=1
    }
}

"$python" -c 'import jax; d = jax.devices()[0]; print(d.platform, d.device_kind, jax.__version__, d.memory_stats())' |
    tee "$out/device.txt"
part invariance 180 "$python" -m benchmarks.gpu invariance --out "$out" --seconds 160 $tiny
part batches 150 "$python" -m benchmarks.gpu batches --out "$out" --seconds 120 $tiny
part restore 150 "$python" -m benchmarks.gpu restore --out "$out" --seconds 80 $tiny
if "$python" -c 'import torch, azula' 2>/dev/null; then
    small="--steps 2 --rounds 1 --batches 1 --sizes 32 --methods RED-diff"
    [ -n "$tiny" ] || small="--batches 1 16 --grow --dtypes float32 bfloat16 --methods RED-diff"
    part speed 120 "$python" -m benchmarks.speed --only 5M $small --out "$out"
fi
ls "$out"
exit $failed
