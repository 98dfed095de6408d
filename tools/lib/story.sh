#!/usr/bin/env bash
# The story that tools/quickstart tells, run as the user whom it is about. Every sentence with "ok"
# before it has been checked; the first that does not hold ends the story with an error.
#
# story.sh --plyfs PROGRAM --examples DIR [--prefix "COMMAND "] [DIR...]
#   --plyfs     the program to mount with
#   --examples  the example layers; used when no DIR is given
#   --prefix    what to put before a command so that it runs as this user (for the closing hint)
#   DIR...      mount these instead, the first is the topmost
set -eEuo pipefail
trap 'echo "quickstart: line $LINENO failed: $BASH_COMMAND" >&2' ERR
repository=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

readonly limit_s=60 # for one command on the mount: a hang shall end the story, not join it
readonly program=quickstart
readonly added_line='changed in the union'

plyfs='' examples='' prefix=''
lowers=()
mount_options=()
room='' upper='' work='' merged=''
changed='' deleted='' # paths below the merged root, with a leading slash

# ---- telling ---------------------------------------------------------------------------------

chapter() { printf '\n%s%s%s\n' "$bold" "$*" "$plain"; }
tell() { printf '%s\n' "$*" | fold -s -w 94 | sed 's/^/  /; s/ *$//'; }
row() { printf '  %-8s  %-*s  %s%s%s\n' "$1" "$path_width" "$2" "$dim" "$3" "$plain"; }
indented() { fold -s -w 94 | sed 's/^/      /; s/ *$//'; }

# Runs a command on the mount, its output in $room/output. A command that waits for a hung mount
# cannot be killed, so at the limit the daemon is: the command then gets an error.
limited() {
  local gate code
  exec {gate}< <({ "$@" >"$room/output" 2>&1 && echo 0; } || echo $?)
  if ! read -r -t "$limit_s" code <&"$gate"; then
    kill_daemon
    echo "no answer within $limit_s s; the daemon was killed" >>"$room/output"
    code=124
  fi
  exec {gate}<&-
  return "$code"
}

# holds SENTENCE COMMAND...   The sentence is true if the command succeeds.
holds() {
  local sentence=$1
  shift
  if ! limited "$@"; then
    indented <"$room/output" >&2
    fail "this does not hold: $sentence"
  fi
  printf '  %sok%s  %s\n' "$green" "$plain" "$sentence"
}

# shows TITLE COMMAND...   Runs a command that must succeed and prints what it says.
shows() {
  local title=$1
  shift
  printf '  %s%s%s\n' "$dim" "$title" "$plain"
  if ! limited "$@"; then
    indented <"$room/output" >&2
    fail "$title"
  fi
  indented <"$room/output"
}

# ---- facts -----------------------------------------------------------------------------------

# The topmost lower layer's version of a path.
lower_of() {
  local lower
  for lower in "${lowers[@]}"; do
    if [[ -f ${lower%/}$1 ]]; then
      printf '%s\n' "${lower%/}$1"
      return 0
    fi
  done
  return 1
}

# Everything that may not change about a lower's file.
fingerprint() { stat -c '%i %s %Y %a %u:%g' -- "$1" && sha256sum -- "$1"; }

# The same of whole layers, as far as they are small enough to read twice; never of "/".
fingerprint_layers() {
  local lower
  for lower in "${lowers[@]}"; do
    [[ $lower != / ]] || continue
    { find "$lower" -xdev -printf '%P %y %m %s %T@\n' 2>/dev/null || true; } | head -n 5000
    { find "$lower" -xdev -type f -readable -size -100k -print0 2>/dev/null || true; } |
      head -z -n 2000 | xargs -0 -r sha256sum --
  done | sha256sum
}

whiteout_kind() {
  local path=$upper$1 directory name
  directory=${path%/*} name=${path##*/}
  if [[ -c $path && $(stat -c %t:%T -- "$path") == 0:0 ]]; then
    echo "a character device 0:0"
  elif [[ -f $directory/.wh.$name ]]; then
    echo "an empty file .wh.$name"
  elif [[ -f $path && ! -s $path ]] && getfattr -d -m overlay.whiteout -- "$path" 2>/dev/null |
    grep -q whiteout; then
    echo "an empty file with an extended attribute"
  else
    return 1
  fi
}

# Neither found by its name nor among the names of its directory. An "ls" that fails proves nothing.
hidden() {
  local names
  names=$(ls -A -- "${1%/*}") || return
  [[ ! -e $1 && ! -L $1 && $'\n'$names$'\n' != *$'\n'"${1##*/}"$'\n'* ]]
}
hidden_but_in() { hidden "$1" && [[ -e $2 ]]; }
same_text() { [[ $1 == "$2" ]]; }
holds_only() { same_text "$(ls -A -- "$1")" "$2"; }
is_empty_directory() { [[ -d $1 ]] && holds_only "$1" ''; }
no_marks_in() { [[ -z $(find "$@" -maxdepth 3 -name '.wh.*' 2>/dev/null) ]]; }
append_line() { echo "$added_line" >>"$1"; }
ends_with_added_line() { tail -c "$((${#added_line} + 1))" -- "$1" | cmp - <(echo "$added_line"); }
list_upper() {
  (cd "$upper" && find . -mindepth 1 -printf '%M %6s  %P\n' | sort -k 3 | head -n 20)
}

# ---- mounting --------------------------------------------------------------------------------

mount_command() {
  local lower
  mounting=("$plyfs" mount)
  ((${#mount_options[@]})) && mounting+=(-o "$(IFS=,; echo "${mount_options[*]}")")
  for lower in "${lowers[@]}"; do mounting+=(--lower "$lower"); done
  mounting+=(--upper "$upper" --work "$work" "$merged")
}

# The processes that were started with the mountpoint as an argument of its own.
daemons() {
  local file
  # grep also complains of processes that end while it looks; that is no error here.
  { grep -lsxzF -- "$merged" /proc/[0-9]*/cmdline || true; } | while IFS= read -r file; do
    file=${file#/proc/}
    [[ ${file%%/*} == "$$" ]] || echo "${file%%/*}"
  done
}

kill_daemon() {
  local pid
  for pid in $(daemons); do kill -KILL "$pid" 2>/dev/null || true; done
}

mount_it() {
  if ! limited "${mounting[@]}"; then
    indented <"$room/output" >&2
    fail "plyfs could not mount"
  fi
  mountpoint -q "$merged" || fail "plyfs said that it had mounted, but $merged is no mount"
}

unmount() {
  if is_root; then umount "$@" "$merged"; else fusermount3 -u ${1:+-z} "$merged"; fi
}

# Also waits for the daemon's end: then all is written, and the upper is free for the next mount.
unmount_it() {
  local pids pid
  pids=$(daemons)
  unmount || fail "$merged could not be unmounted"
  for pid in $pids; do
    timeout "$limit_s" tail --pid="$pid" -s 0.05 -f /dev/null ||
      fail "plyfs (process $pid) did not end after the unmounting; does another mount namespace" \
        "still hold the mount? grep -l $merged /proc/[0-9]*/mountinfo"
  done
}

on_exit() {
  local code=$?
  if [[ -n $merged ]] && mountpoint -q "$merged" 2>/dev/null; then
    unmount 2>/dev/null || unmount -l 2>/dev/null || true
  fi
  rm -f "$room/output"
  ((code == 0)) || echo "What was written is left in $room" >&2
}

make_room() {
  local base=${TMPDIR:-/tmp}
  [[ -d $base && -w $base ]] || base=/tmp
  room=$(cd "$(mktemp -d "$base/plyfs-quickstart.XXXXXX")" && pwd -P)
  trap on_exit EXIT
  trap 'exit 130' INT TERM HUP
  upper=$room/upper work=$room/work merged=$room/merged
  mkdir "$upper" "$work" "$merged"
}

# ---- the story -------------------------------------------------------------------------------

introduce_layers() {
  local path_width=0 number=0 lower note
  chapter "The layers, and who mounts them"
  for lower in "$merged" "${lowers[@]}"; do
    ((${#lower} <= path_width)) || path_width=${#lower}
  done
  row who "$(id -un) (uid $(id -u))" "$(is_root && echo 'all privileges' || echo 'no privileges')"
  row upper "$upper" "writable, empty"
  for lower in "${lowers[@]}"; do
    number=$((number + 1))
    note=read-only
    [[ $lower == / ]] && note="read-only, this machine's root"
    row "lower $number" "$lower" "$note"
  done
  row merged "$merged" "what programs see"
}

tell_of_the_merged_tree() {
  chapter "One tree out of all of them"
  mount_it
  holds "plyfs has mounted it" mountpoint -q "$merged"
  shows "ls merged" ls -C -T 0 -w 88 "$merged"
}

tell_of_the_mountpoint_inside_a_layer() {
  local lower mounted
  # Where another filesystem is mounted, as /tmp often is, the layer has ended before.
  mounted=$(stat -c %m "$room")
  for lower in "${lowers[@]}"; do
    if [[ $mounted == "${lower%/}"/?* ]]; then
      holds "another filesystem is mounted at $mounted, and the layer $lower ends there" \
        is_empty_directory "$merged/${mounted#"${lower%/}/"}"
      return
    fi
    if [[ $merged == "${lower%/}"/* ]]; then
      holds "the mountpoint lies inside the layer $lower, and ends there: no recursion" \
        is_empty_directory "$merged/${merged#"${lower%/}/"}"
      return
    fi
  done
}

tell_of_the_example_layers() {
  local hello=$merged/opt/hello
  chapter "What the example layers say about each other"
  holds "hello-1.1 lies above hello-1.0: its greeting wins" \
    grep -qx 'hello 1.1 greets you' "$hello/greeting"
  holds "hello-1.1 whites out KNOWN-PROBLEMS: gone, though hello-1.0 has it" \
    hidden_but_in "$hello/KNOWN-PROBLEMS" "${lowers[1]}/opt/hello/KNOWN-PROBLEMS"
  holds "its directory plugins is opaque: of three plugins one is left" \
    holds_only "$hello/plugins" wave
  if [[ -e /etc/motd ]]; then
    holds "it whites out /etc/motd of this machine as well" \
      hidden_but_in "$merged/etc/motd" /etc/motd
  fi
  holds "the marks themselves are not seen" \
    no_marks_in "$hello" "$merged/etc"
}

tell_of_a_program_inside() {
  chapter "A program that has the merged tree as its root directory"
  if ! unshare -Ur true 2>/dev/null; then
    tell "left out: this machine does not let $(id -un) have a user namespace"
    return
  fi
  shows "unshare -Ur -R merged /bin/sh -c 'cat /etc/debian_version; ls /'" look_around_inside
  if [[ -x $merged/opt/hello/bin/hello ]]; then
    shows "unshare -Ur -R merged /opt/hello/bin/hello" \
      unshare -Ur -R "$merged" /opt/hello/bin/hello
  fi
}

look_around_inside() {
  unshare -Ur -R "$merged" /bin/sh -c 'cat /etc/debian_version; ls /' | pack_lines
}

# The first line as it is; the names that follow, one a line, as a paragraph.
pack_lines() {
  awk 'NR == 1 { print; next }
       length(line) + length($0) > 84 { print line; line = "" }
       { line = line (line == "" ? "" : "  ") $0 }
       END { if (line != "") print line }'
}

tell_of_the_change() {
  local lower before
  lower=$(lower_of "$changed")
  before=$(fingerprint "$lower")
  chapter "A file of a lower layer is changed"
  holds "echo '$added_line' >> merged$changed" \
    append_line "$merged$changed"
  holds "the merged tree shows the new line" \
    ends_with_added_line "$merged$changed"
  holds "the upper holds the whole file: it was copied up" cmp "$upper$changed" "$merged$changed"
  holds "$lower is what it was, byte for byte" same_text "$before" "$(fingerprint "$lower")"
}

tell_of_the_deletion() {
  local lower before kind
  lower=$(lower_of "$deleted")
  before=$(fingerprint "$lower")
  chapter "A file of a lower layer is deleted"
  holds "rm merged$deleted" rm -f -- "$merged$deleted"
  holds "the merged tree shows it no more" hidden "$merged$deleted"
  kind=$(whiteout_kind "$deleted") || fail "there is no whiteout of $deleted in $upper"
  holds "in the upper lies its whiteout: $kind" true
  holds "$lower is still there, untouched" same_text "$before" "$(fingerprint "$lower")"
}

# tell_of_the_remount CHANGED DELETED   Either may be empty.
tell_of_the_remount() {
  chapter "Unmounted, and mounted again"
  unmount_it
  holds "unmounted; plyfs has ended" is_empty_directory "$merged"
  mount_it
  holds "mounted again from the same layers" mountpoint -q "$merged"
  if [[ -n $1 ]]; then
    holds "the change is there" ends_with_added_line "$merged$1"
  fi
  if [[ -n $2 ]]; then
    holds "the deleted file is gone" hidden "$merged$2"
  fi
}

tell_of_a_new_file() {
  changed='/written by quickstart'
  chapter "A file is written (the layers hold none that could be changed)"
  holds "echo '$added_line' > 'merged$changed'" \
    append_line "$merged$changed"
  holds "it lies in the upper" cmp "$upper$changed" "$merged$changed"
}

tell_of_the_end() {
  unmount_it
  chapter "What is left"
  holds "unmounted" is_empty_directory "$merged"
  shows "the upper: the difference to the layers, and nothing else" \
    list_upper
  chapter "To try it by hand"
  print_mount_command
  printf '  %sls %s\n' "$prefix" "$merged"
  printf '  %sfusermount3 -u %s\n' "$prefix" "$merged"
}

print_mount_command() {
  local word line='' quoted
  for word in "${mounting[@]}"; do
    quoted=$word
    [[ $word =~ ^[A-Za-z0-9_@%+=:,./-]+$ ]] || quoted=$(printf '%q' "$word")
    # A new line before each option, so that a pair is never torn apart.
    if [[ -n $line && ($word == -* || $word == "$merged") ]]; then
      printf '  %s \\\n' "$line"
      line="   "
    fi
    line+=${line:+ }$quoted
    [[ $word == "$plyfs" ]] && line=$prefix$quoted
  done
  printf '  %s\n' "$line"
}

# ---- what to change and delete ---------------------------------------------------------------

# The first of some files of the machine that can be changed in the union: ours to read.
first_file_of() {
  local path
  for path in "$@"; do
    if [[ -f /$path && ! -L /$path && -r /$path && -s /$path ]] && ! mountpoint -q "/$path"; then
      printf '/%s\n' "$path"
      return
    fi
  done
  fail "none of these files is here: $*"
}

# Up to two files of the merged tree that we may change, found in it and readable below.
find_files() {
  local path count=0
  while ((count < 2)) && IFS= read -r -d '' path; do
    path=${path#"$merged"}
    [[ $path != *$'\n'* && -r $(lower_of "$path") && -w $merged${path%/*} ]] || continue
    printf '%s\n' "$path"
    count=$((count + 1))
  done < <(timeout "$limit_s" find "$merged" -xdev -type f -writable -size -20000k -print0 \
    2>/dev/null | head -z -n 1000)
}

story_of_the_machine() {
  changed=$(first_file_of etc/debian_version etc/os-release etc/profile)
  deleted=$(first_file_of etc/issue etc/issue.net etc/bash.bashrc etc/services)
  tell_of_the_merged_tree
  tell_of_the_mountpoint_inside_a_layer
  tell_of_the_example_layers
  tell_of_a_program_inside
  tell_of_the_change
  tell_of_the_deletion
  tell_of_the_remount "$changed" "$deleted"
}

story_of_directories() {
  local files=()
  tell_of_the_merged_tree
  tell_of_the_mountpoint_inside_a_layer
  [[ ! -x $merged/bin/sh ]] || tell_of_a_program_inside
  mapfile -t files < <(find_files)
  if ((${#files[@]} == 0)); then
    tell_of_a_new_file
    tell_of_the_remount "$changed" ''
    return
  fi
  changed=${files[0]}
  tell_of_the_change
  if ((${#files[@]} > 1)); then
    deleted=${files[1]}
    tell_of_the_deletion
    tell_of_the_remount "$changed" "$deleted"
  else
    # One file has to play both parts, one after the other.
    deleted=$changed
    tell_of_the_remount "$changed" ''
    tell_of_the_deletion
    tell_of_the_remount '' "$deleted"
  fi
}

main() {
  while (($#)); do
    case $1 in
      --plyfs) plyfs=$2 && shift 2 ;;
      --examples) examples=$2 && shift 2 ;;
      --prefix) prefix=$2 && shift 2 ;;
      *) break ;;
    esac
  done
  # An unprivileged user owns none of a root directory's files. Shown as ours, they can be changed:
  # the copies in the upper belong to us anyway.
  is_root || mount_options=("squash_to_uid=$(id -u)" "squash_to_gid=$(id -g)")
  lowers=("$@")
  (($#)) || lowers=("$examples/hello-1.1" "$examples/hello-1.0" /)
  make_room
  mount_command
  local before
  before=$(fingerprint_layers)
  introduce_layers
  if (($#)); then story_of_directories; else story_of_the_machine; fi
  tell_of_the_end
  same_text "$before" "$(fingerprint_layers)" || fail "a read-only layer is not what it was"
  printf '\n%sEverything held.%s\n' "$green" "$plain"
}

main "$@"
