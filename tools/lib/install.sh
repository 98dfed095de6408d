# Makes the machine ready: packages, /dev/fuse, /etc/mtab, an unprivileged user.
# Sourced after common.sh. Everything here changes something only when it is missing, so a second
# run is quiet and quick.
# shellcheck shell=bash

# What building and mounting need.
readonly build_packages=(
  meson ninja-build g++ pkg-config
  libfuse3-dev fuse3 liburing-dev libxxhash-dev libspdlog-dev libcli11-dev nlohmann-json3-dev libtomlplusplus-dev libssl-dev libarchive-dev libseccomp-dev
  attr
)

# What the tests, the second compiler, the sanitizers and the linters need besides.
readonly check_packages=(
  clang libclang-rt-dev clang-tidy clang-format llvm python3
  catch2 libbenchmark-dev
  acl sshfs openssh-sftp-server umoci skopeo scdoc man-db zstd uidmap libcap2-bin busybox-static xfsprogs btrfs-progs e2fsprogs
)

# What tools/bench compares plyfs with, and what its workloads and its chart need.
readonly bench_packages=(
  fuse-overlayfs unionfs-fuse bindfs mergerfs
  e2fsprogs git gcc libc6-dev make tar sqlite3 redis-server gnuplot-nox
)

installed() { [[ $(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null) == installed ]]; }

# missing_packages PACKAGE...   Prints those that are not installed.
missing_packages() {
  local package
  for package in "$@"; do
    installed "$package" || echo "$package"
  done
}

# install_packages PACKAGE...   Asks apt only for what is missing.
install_packages() {
  local missing
  mapfile -t missing < <(missing_packages "$@")
  ((${#missing[@]})) || return 0
  have apt-get || fail "these packages are missing and there is no apt-get: ${missing[*]}"
  can_be_root || fail "these packages are missing; run as root or install sudo: ${missing[*]}"

  printf 'Installing %d packages: %s\n' "${#missing[@]}" "${missing[*]}" | fold -s -w 98 | sed 's, *$,,'
  local log
  log=$(mktemp)
  if ! { as_root env DEBIAN_FRONTEND=noninteractive apt-get update -q &&
    as_root env DEBIAN_FRONTEND=noninteractive \
      apt-get install -q -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
    tail -n 30 "$log" >&2
    fail "apt-get could not install the packages (whole log: $log)"
  fi
  rm -f "$log"
}

# Makes /dev/fuse exist and usable by everybody, as udev does on an ordinary Debian.
make_fuse_usable() {
  if [[ ! -c /dev/fuse ]]; then
    can_be_root || fail "/dev/fuse is missing; as root: mknod /dev/fuse c 10 229"
    as_root mknod /dev/fuse c 10 229 ||
      fail "/dev/fuse cannot be created; a container needs --device /dev/fuse"
  fi
  if [[ $(stat -c %a /dev/fuse) != 666 ]] && { is_root || [[ ! -w /dev/fuse ]]; }; then
    can_be_root || fail "/dev/fuse may not be opened by you; as root: chmod 666 /dev/fuse"
    as_root chmod 666 /dev/fuse || fail "/dev/fuse cannot be made usable (chmod 666)"
  fi
}

# Lets this kernel offer FUSE over io_uring, if it can, until withdraw_io_uring.
offer_io_uring() {
  local switch=/sys/module/fuse/parameters/enable_uring
  can_be_root || return 0
  [[ -e $switch ]] || as_root modprobe fuse 2>/dev/null || return 0
  [[ -e $switch && $(<"$switch") == N ]] || return 0
  echo Y | as_root tee "$switch" >/dev/null 2>&1 && withdraw=$switch
}

withdraw_io_uring() {
  [[ -z ${withdraw:-} ]] || echo N | as_root tee "$withdraw" >/dev/null
  withdraw=
}

# fusermount3 unmounts only what it finds in /etc/mtab, which minimal systems and chroots lack.
ensure_mount_table() {
  [[ ! -e /etc/mtab ]] || return 0
  can_be_root || fail "/etc/mtab is missing; as root: ln -s ../proc/self/mounts /etc/mtab"
  as_root ln -sfn ../proc/self/mounts /etc/mtab
  [[ -r /etc/mtab ]] || fail "/proc is not mounted; as root: mount -t proc proc /proc"
}

# The first id after every range handed out in FILE (/etc/subuid or /etc/subgid).
next_subordinate_id() {
  awk -F: 'BEGIN { first = 100000 } $2 + $3 > first { first = $2 + $3 } END { print first }' "$1" \
    2>/dev/null || echo 100000
}

# Started by root: creates the unprivileged user, with subordinate ids for user namespaces.
ensure_test_user() {
  is_root || return 0
  if ! id "$test_user" >/dev/null 2>&1; then
    useradd --create-home --shell /bin/bash --comment 'plyfs tests' "$test_user" ||
      fail "the unprivileged user $test_user could not be created"
  fi
  local first
  if ! grep -qs "^$test_user:" /etc/subuid; then
    first=$(next_subordinate_id /etc/subuid)
    usermod --add-subuids "$first-$((first + 65535))" "$test_user"
  fi
  if ! grep -qs "^$test_user:" /etc/subgid; then
    first=$(next_subordinate_id /etc/subgid)
    usermod --add-subgids "$first-$((first + 65535))" "$test_user"
  fi
}
