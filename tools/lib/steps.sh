# The steps of tools/check: running, timing, counting. Sourced after common.sh.
# A step never ends the whole run; what fails is shown at once, counted, and summed up at the end.
# shellcheck shell=bash

passed=0 failed=0 skipped=0
skip_reasons=()
failed_steps=()

# Working directory of this run: logs, sanitizer reports, temporary files of the tests.
make_room() {
  room=$(mktemp -d /tmp/plyfs-check.XXXXXX)
  mkdir "$room/logs" "$room/reports" "$room/tmp" "$room/programs"
  # Tests write as several users.
  chmod 755 "$room" "$room/logs" "$room/programs"
  chmod 1777 "$room/tmp" "$room/reports"
  trap clear_room EXIT
}

# What failed is kept for reading; mounts are not, whatever happened.
clear_room() {
  local mountpoint
  withdraw_io_uring
  awk -v room="$room/" 'index($5, room) == 1 { print $5 }' /proc/self/mountinfo | sort -r |
    while IFS= read -r mountpoint; do
      umount -l "$mountpoint" 2>/dev/null || fusermount3 -uz "$mountpoint" 2>/dev/null
    done
  if ((failed == 0)); then
    rm -rf "$room" 2>/dev/null || as_root rm -rf "$room"
  fi
}

now_ms() { echo "$((${EPOCHREALTIME/./} / 1000))"; }

# announce NAME   On a terminal: what is being done, until the next report takes its place.
announce() {
  [[ ! -t 1 ]] || printf '\r\033[K%s... %s (%d min %02d s, %d passed so far)%s' "$dim" "$1" \
    $((SECONDS / 60)) $((SECONDS % 60)) "$passed" "$plain"
}

# report STATUS NAME STARTED_MS COUNTS [ENDED_MS]
report() {
  local colour=$green took_ms=$((${5:-$(now_ms)} - $3))
  [[ $1 == ok ]] || colour=$yellow
  [[ $1 != FAILED ]] || colour=$red
  [[ ! -t 1 ]] || printf '\r\033[K'
  printf '%s%-7s%s %6d.%d s  %-46s %s%s%s\n' "$colour" "$1" "$plain" $((took_ms / 1000)) \
    $((took_ms % 1000 / 100)) "$2" "$dim" "$4" "$plain"
}

# count PASSED FAILED SKIPPED
count() {
  passed=$((passed + $1)) failed=$((failed + $2)) skipped=$((skipped + $3))
}

# skip_step NAME REASON
skip_step() {
  count 0 0 1
  skip_reasons+=("$1: $2")
  report SKIPPED "$1" "$(now_ms)" "$2"
}

# Shows why a step failed, without drowning the reader.
show_failure() {
  local log=$1
  {
    if (($(wc -l <"$log") <= 60)); then
      cat "$log"
    else
      grep -n -m 30 -E '^(FAILED|WATCHDOG)|FAILED:|error:|warning:|SUMMARY:' "$log"
      echo "--- last lines of $log"
      tail -n 30 "$log"
    fi
  } | cut -c -200 | sed 's/^/    /'
}

# run_limited LIMIT_S LOG COMMAND...   Exit code of the command, 124 if it did not end in time. A
# program that hangs in a system call on a dead mount cannot be killed; it is left behind.
run_limited() {
  local limit_s=$1 log=$2 gate code
  shift 2
  exec {gate}< <({ timeout -k 5 "$limit_s" "$@" >"$log" 2>&1 </dev/null && echo 0; } || echo $?)
  read -r -t $((limit_s + 15)) code <&"$gate" || code=124
  exec {gate}<&-
  ((code != 124)) || echo "FAILED: no end after $limit_s s" >>"$log"
  return "$code"
}

# step NAME COMMAND...   One check: it passes or fails by its exit code. The command may be a
# function. Returns 1 when it failed.
step() {
  local name=$1 started log
  started=$(now_ms)
  log=$room/logs/$(log_name "$1")
  announce "$1"
  shift
  if "$@" >"$log" 2>&1 </dev/null; then
    count 1 0 0
    report ok "$name" "$started" "1 passed"
    return 0
  fi
  count 0 1 0
  failed_steps+=("$name")
  report FAILED "$name" "$started" "1 failed"
  show_failure "$log"
  return 1
}

log_name() { echo "$(date +%H%M%S)-${1//[^a-zA-Z0-9+]/-}.log"; }

# counted_step NAME LIMIT_S COMMAND...   A program that counts its own tests. Every report that a
# sanitizer wrote meanwhile, also in a background process, is one failure more. After `together` it
# is only started, and counted by `finish_together`.
counted_step() {
  local name=$1 limit_s=$2 started log
  started=$(now_ms)
  log=$room/logs/$(log_name "$1")
  announce "$1"
  shift 2
  if [[ $overlap == yes ]]; then
    ((${#under_way[@]} < 2)) || finish_first
    {
      local code=0
      run_limited "$limit_s" "$log" "$@" || code=$?
      echo "$code $(now_ms)" >"$log.code"
    } &
    under_way+=("$!|$started|$log|$name")
    return 0
  fi
  local code=0
  run_limited "$limit_s" "$log" "$@" || code=$?
  account "$name" "$started" "$log" "$code" "$(now_ms)"
}

# Between `together` and `finish_together` two counted steps run at a time: most tests wait for
# one process after the other, and keep one processor busy.
overlap=no under_way=()
together() { overlap=yes; }
finish_together() {
  overlap=no
  while ((${#under_way[@]})); do finish_first; done
}

# Waits for the end of one of the steps, and counts it.
finish_first() {
  local index pid started log name code ended
  wait -n "${under_way[@]%%|*}"
  for index in "${!under_way[@]}"; do
    IFS='|' read -r pid started log name <<<"${under_way[index]}"
    [[ -s $log.code ]] || continue
    unset "under_way[index]"
    under_way=("${under_way[@]}")
    read -r code ended <"$log.code"
    account "$name" "$started" "$log" "$code" "$ended"
    return
  done
  # None has ended, and nothing can be waited for: only somebody who kills processes does that.
  IFS='|' read -r pid started log name <<<"${under_way[0]}"
  under_way=("${under_way[@]:1}")
  echo "FAILED: its process is gone" >>"$log"
  account "$name" "$started" "$log" 1 "$(now_ms)"
}

# account NAME STARTED_MS LOG EXIT_CODE ENDED_MS
account() {
  local name=$1 started=$2 log=$3 code=$4 ended=$5 counts
  read -r -a counts < <(python3 "$repository/tools/lib/count_results.py" "$log" "$code")
  take_sanitizer_reports "$log"
  counts[1]=$((counts[1] + reports))
  count "${counts[@]}"
  mapfile -t -O "${#skip_reasons[@]}" skip_reasons < <(
    # A program that sums its reasons up has told each of them before.
    { grep -E '^SKIPPED [0-9]+ times' "$log" || grep -E '^SKIPPED' "$log"; } |
      sort | uniq | head -n 10 | sed "s/^/$name: /"
  )
  local text="${counts[0]} passed"
  ((counts[1] == 0)) || text+=", ${counts[1]} failed"
  ((counts[2] == 0)) || text+=", ${counts[2]} skipped"
  if ((counts[1])); then
    failed_steps+=("$name")
    report FAILED "$name" "$started" "$text" "$ended"
    show_failure "$log"
    return 1
  fi
  report ok "$name" "$started" "$text" "$ended"
}

# Moves new sanitizer reports away, appending them to LOG; sets `reports` to their number.
take_sanitizer_reports() {
  local file
  reports=0
  mkdir -p "$room/taken"
  for file in "$room"/reports/*; do
    [[ -s $file ]] || continue
    reports=$((reports + 1))
    {
      echo "FAILED: sanitizer report ${file##*/}"
      head -n 60 "$file"
      grep '^SUMMARY:' "$file"
    } >>"$1"
    mv "$file" "$room/taken/$passed-${file##*/}"
  done
}

# Prints what was left out and what failed, and the closing line; returns 1 if anything failed.
summary() {
  echo
  if ((${#skip_reasons[@]})); then
    printf '%sSkipped%s\n' "$yellow" "$plain"
    printf '  %s\n' "${skip_reasons[@]}" | cut -c -160
  fi
  if ((${#failed_steps[@]})); then
    printf '%sFailed%s\n' "$red" "$plain"
    printf '  %s\n' "${failed_steps[@]}"
    echo "Logs and reports: $room"
  fi
  printf '%d min %d s\n' $((SECONDS / 60)) $((SECONDS % 60))
  echo "$passed passed, $failed failed, $skipped skipped"
  ((failed == 0))
}
