#!/usr/bin/env bash
# Build the bundle anew and compare it with the committed one, byte by byte.
set -eu
cd "$(dirname "$0")/.."
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
(cd js && LIVELATENT_STATIC="$fresh" npm run --silent build)
if ! diff -rq "$fresh" src/livelatent/widget/static; then
  echo "The committed bundle is not what js/src builds: run 'npm --prefix js run build' and commit src/livelatent/widget/static."
  exit 1
fi
