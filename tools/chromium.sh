#!/usr/bin/env bash
# Find a Chromium for the browser tests, or install one: apt as root, else Playwright's own download. $1 is the venv's bin.
set -u
for name in "${LIVELATENT_CHROMIUM:-}" chromium chromium-browser google-chrome; do
  [ -n "$name" ] && command -v "$name" >/dev/null 2>&1 && exit 0
done
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  echo "== installing Debian's chromium for the browser tests"
  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium; } >/dev/null 2>&1 &&
    command -v chromium >/dev/null 2>&1 && exit 0
fi
"$1/python" -m playwright install chromium >/dev/null 2>&1 && exit 0
echo "The browser tests need Chromium and none was found: run 'apt-get install chromium' as root, or '$1/python -m playwright install chromium', or set LIVELATENT_CHROMIUM to one."
exit 1
