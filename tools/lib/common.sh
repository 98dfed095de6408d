# Shared by tools/quickstart and tools/check; sourced, never run.
# shellcheck shell=bash

# The top of the checkout. Scripts set it before sourcing when they know better.
repository=${repository:-$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd -P)}

# Where useradd and runuser are; "su" without "-" leaves root with the caller's PATH.
PATH=$PATH:/usr/sbin:/sbin

# The user that stands for "somebody without privileges" when a script is started by root.
readonly test_user=plyfs-test

if [[ -t 1 && -z ${NO_COLOR:-} ]]; then
  readonly bold=$'\e[1m' dim=$'\e[2m' green=$'\e[32m' red=$'\e[31m' yellow=$'\e[33m' plain=$'\e[0m'
else
  readonly bold='' dim='' green='' red='' yellow='' plain=''
fi

fail() {
  printf '%s: %sfailed%s: %s\n' "${program:-${0##*/}}" "$red" "$plain" "$*" >&2
  exit 1
}

have() { command -v "$1" >/dev/null 2>&1; }

is_root() { [[ $(id -u) -eq 0 ]]; }

# True if as_root can work: root itself, or a sudo that needs no password, or one that may ask on a
# terminal. A script without a terminal never hangs at a password prompt.
can_be_root() {
  is_root && return 0
  have sudo || return 1
  sudo -n true 2>/dev/null && return 0
  [[ -t 0 ]] && sudo -v
}

as_root() {
  if is_root; then "$@"; else sudo "$@"; fi
}

# Runs a command as the unprivileged user: the test user when root asks, else whoever we are.
# Starts in / because the checkout may be out of the test user's reach.
as_test_user() {
  if is_root; then
    (cd / && exec runuser -u "$test_user" -- "$@")
  else
    "$@"
  fi
}
