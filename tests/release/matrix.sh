#!/usr/bin/env bash
# Runs a part of the tests with other versions of what the package needs: tests/release/matrix.sh [lowest] [newest]
#   lowest  the lowest version that pyproject.toml allows of each dependency, on Python 3.11
#   newest  the newest of each, on Python 3.13
# Needs uv. A Python that is not there is not fetched: the row is skipped, which is said.
set -euo pipefail
cd "$(dirname "$0")/../.."
UV=${UV:-uv}
# Laws of all solvers and operators, and a part for each dependency: checkpoints, pictures, exported runs, commands, cache.
TESTS=${TESTS:-"tests/solvers/test_solver_laws.py tests/operators/test_operator_laws.py tests/test_io.py
  tests/test_exporting.py tests/test_training.py tests/test_pictures.py tests/strangers/test_stranger_pictures.py
  tests/cli/test_commands.py tests/cli/test_cache.py"}
# Tools of the tests are the newest in both rows.
TOOLS=("pytest>=8" "pytest-timeout>=2" "pytest-xdist>=3" "hypothesis>=6.100" "scikit-image>=0.25" "h5py")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export UV_NO_PROGRESS=1 PYTHONPATH=

find_python() { # VERSION -> path, nothing if there is none
  "$UV" python find --no-python-downloads --no-project "$1" 2>/dev/null && return
  local each
  for each in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1"*/bin/python "/usr/bin/python$1"; do
    if [ -x "$each" ]; then echo "$each"; return; fi
  done
}

row() { # NAME VERSION RESOLUTION
  local python
  python=$(find_python "$2")
  if [ -z "$python" ]; then
    echo "matrix: $1: skipped, as there is no Python $2 here (uv python install $2)"
    return
  fi
  "$UV" pip compile -q --python-version "$2" --resolution "$3" pyproject.toml -o "$work/$1.txt"
  "$UV" venv -q --no-project --python "$python" "$work/$1"
  "$UV" pip install -q --python "$work/$1/bin/python" -r "$work/$1.txt" "${TOOLS[@]}"
  echo "matrix: $1: $("$work/$1/bin/python" --version), $(grep -E '^(jax|flax|optax|orbax-checkpoint|numpy)==' "$work/$1.txt" | tr '\n' ' ')"
  # shellcheck disable=SC2086
  "$work/$1/bin/python" -m pytest -p no:cacheprovider $TESTS || failed="$failed $1"
}

failed=
for name in "${@:-lowest}" $([ $# -gt 0 ] || echo newest); do
  case $name in
    lowest) row lowest 3.11 lowest-direct ;;
    newest) row newest 3.13 highest ;;
    *) echo "matrix: $name is not lowest or newest"; exit 2 ;;
  esac
done
times > "$work/times"
echo "matrix: $(tail -1 "$work/times") of user and system time${failed:+; failed:$failed}"
[ -z "$failed" ]
