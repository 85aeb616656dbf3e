#!/usr/bin/env bash
# Make the environment at $1, once: a second call sees its stamp and ends in a blink.
set -eu
venv=$1
cd "$(dirname "$0")/.."
wanted=$(cat pyproject.toml tools/setup.sh | sha256sum | cut -d' ' -f1)
stamp=$venv/.livelatent-setup
if [ -x "$venv/bin/livelatent" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then exit 0; fi

python=
for name in python3.13 python3.12 python3; do
  if command -v "$name" >/dev/null 2>&1 &&
     "$name" -c 'import sys; sys.exit(sys.version_info < (3, 12))' >/dev/null 2>&1; then
    python=$name
    break
  fi
done
if [ -z "$python" ]; then
  echo "livelatent needs Python 3.12 or newer; looked for python3.13, python3.12 and python3 on the PATH and found none that new. Install one (https://www.python.org/downloads/), then run this again."
  exit 1
fi
echo "== $("$python" --version) makes $venv (once; PyTorch is large, so this takes some minutes)"
[ -x "$venv/bin/python" ] && "$venv/bin/python" -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null || {
  rm -rf "$venv"
  "$python" -m venv "$venv"
}
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --progress-bar off -e '.[dev]'
echo "$wanted" >"$stamp"
