#!/usr/bin/env bash
# fuzz.sh BUILD TARGET SECONDS ROOM   Runs one target of tests/fuzz from its seeds. What it finds, and
# the inputs that reach further than the seeds, stay in ROOM. Ends with a line of counts.
set -uo pipefail
build=$1 target=$2 limit_s=$3 room=$4
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)

mkdir -p "$room/corpus-$target"
# Where layers are drawn; fastest on a tmpfs.
export TMPDIR=$room
[[ ! -w /dev/shm ]] || TMPDIR=/dev/shm
if "$build/tests/fuzz/plyfs-fuzz-$target" -seed=1 -timeout=60 -max_len=2048 -verbosity=1 \
  -max_total_time="$limit_s" -artifact_prefix="$room/$target-" -print_final_stats=1 \
  "$room/corpus-$target" "$repository/tests/fuzz/seeds/$target"; then
  echo "1 passed, 0 failed, 0 skipped"
else
  echo "FAILED: the input is in $room/$target-*; a test beside what is wrong, and the file in" \
    "tests/fuzz/seeds/$target"
  exit 1
fi
