# Builds with meson and ninja. Sourced after common.sh.
# shellcheck shell=bash

# configure DIR [MESON_OPTION...]   Once; a directory that is configured keeps its options.
configure() {
  local directory=$1
  shift
  [[ -f $directory/build.ninja ]] && return 0
  # What a broken-off configuration left is of no use to anybody.
  rm -rf "$directory"/meson-{private,info,logs}
  meson setup "$directory" "$repository" "$@"
}

# build DIR [MESON_OPTION...] [-- NINJA_TARGET...]
# Configures DIR (below the checkout unless absolute) once, then builds it. Quiet unless it fails;
# returns 1 after printing the end of the log. Meson uses ccache by itself where there is one.
build() {
  local directory=$1
  shift
  [[ $directory == /* ]] || directory=$repository/$directory
  local options=()
  while (($#)) && [[ $1 != -- ]]; do
    options+=("$1")
    shift
  done
  [[ ${1:-} == -- ]] && shift

  mkdir -p "$directory" 2>/dev/null
  if [[ ! -w $directory ]]; then
    echo "$directory belongs to somebody else; remove it, or be the user who made it" >&2
    return 1
  fi
  local log=$directory/build.log
  {
    configure "$directory" "${options[@]}" && ninja -C "$directory" "$@"
  } >"$log" 2>&1 && return 0
  # The first errors say more than the last lines, but with several jobs they may lie anywhere.
  grep -n -m 20 -E '(error|ERROR|FAILED):' "$log" >&2 || tail -n 30 "$log" >&2
  echo "whole log: $log" >&2
  return 1
}
