#!/usr/bin/env bash
# pytest with its folders in memory where there is room: every store that a test writes is synced, and a disk takes longer
# for that than the rest of the test. They go when it ends, however it ends.
set -eu
bin=$1
shift
place=/dev/shm
need_kb=$((6 << 20))
free_kb() { df -kP "$1" 2>/dev/null | awk 'NR==2 {print $4}'; }
available_kb=$(awk '/^MemAvailable/ {print $2}' /proc/meminfo 2>/dev/null || echo 0)
if [ -w "$place" ] && [ "$(free_kb "$place")" -gt "$need_kb" ] && [ "${available_kb:-0}" -gt $((2 * need_kb)) ]; then
  folder=$(mktemp -d "$place/livelatent-tests-XXXXXX")
  trap 'rm -rf "$folder"' EXIT
  "$bin/python" -m pytest --basetemp="$folder/pytest" -o tmp_path_retention_policy=failed "$@"
else
  "$bin/python" -m pytest "$@"
fi
