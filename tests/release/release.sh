#!/usr/bin/env bash
# Builds the sdist, and from it the wheel; checks both; installs the wheel alone into an empty environment and uses it there.
# What is built stays in dist/. Needs uv; other tools come into environments of uv's own cache. Uploads nothing.
set -euo pipefail
cd "$(dirname "$0")/../.."
root=$PWD
UV=${UV:-uv}
PYTHON=${PYTHON:-python3}
PYRIGHT=${PYRIGHT:-"$UV tool run -q --no-project pyright"}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export UV_NO_PROGRESS=1 PYTHONPATH= REDDIFF_JAX_CACHE=off

rm -rf dist
"$UV" build -q --python "$PYTHON" --out-dir dist .
"$PYTHON" tests/release/distributions.py dist
"$UV" tool run -q --python "$PYTHON" twine check --strict dist/*.whl dist/*.tar.gz
"$UV" tool run -q --python "$PYTHON" cffconvert --validate -i CITATION.cff

"$UV" venv -q --no-project --python "$PYTHON" "$work/env"
"$UV" pip install -q --python "$work/env/bin/python" dist/*.whl
"$UV" pip check -q --python "$work/env/bin/python"
mkdir "$work/user"
cp tests/release/typed_user.py "$work/user/typed.py"
sed 's/restored: jax.Array/restored: str/' tests/release/typed_user.py > "$work/user/wrong.py"
cd "$work/user"
"$work/env/bin/python" -W error::DeprecationWarning:reddiff_jax "$root/tests/release/use_installed.py"
$PYRIGHT --pythonpath "$work/env/bin/python" typed.py
# Without the package's types nothing would be wrong in this one.
if $PYRIGHT --pythonpath "$work/env/bin/python" wrong.py > wrong.log; then
  echo "a type checker does not see the installed package's types: is py.typed in the wheel?"
  exit 1
fi
grep -q '"Array" is not assignable to.*"str"' wrong.log
times > "$work/times"
echo "release: dist/ is good, checked in $(tail -1 "$work/times") of user and system time"
