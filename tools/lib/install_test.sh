#!/usr/bin/env bash
# install_test.sh BUILD ROOM   Installs BUILD below ROOM and uses what is there: programs, helpers of
# mount(8), man pages, completions. Needs no root. Ends with a line of counts.
set -uo pipefail
build=$1 room=$2
passed=0 failed=0 skipped=0

# expect WHAT COMMAND...   The command is to succeed.
expect() {
  local what=$1
  shift
  if "$@" >"$room/last" 2>&1; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "FAILED: $what"
    sed 's/^/    /' "$room/last" | head -n 20
  fi
}

skip() {
  skipped=$((skipped + 1))
  echo "SKIPPED: $1"
}

have() { command -v "$1" >/dev/null 2>&1; }

# groff tells on stderr what it cannot set.
renders() {
  man --warnings=w -E UTF-8 -l -Tutf8 "$1" >"$room/page" 2>"$room/warnings" || return
  cat "$room/warnings"
  [[ -s $room/page && ! -s $room/warnings ]]
}

# fish_completes LINE WORD
fish_completes() {
  fish --no-config -c "source '$top/share/fish/vendor_completions.d/plyfs.fish'; complete -C '$1'" |
    cut -f 1 | grep -qxF -- "$2"
}

dest=$room/dest
expect "meson install" env DESTDIR="$dest" meson install -C "$build" --no-rebuild --quiet
prefix=$(meson introspect "$build" --buildoptions |
  python3 -c 'import json,sys; print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
top=$dest$prefix

# ---- programs, under each of their names ------------------------------------------------------

for program in plyfs plyfs-dump; do
  expect "$program tells its version" grep -q "^$program version " <("$top/bin/$program" --version)
done
for helper in mount.plyfs mount.fuse.plyfs umount.plyfs umount.fuse.plyfs; do
  # Relative, so that it leads to the program wherever the tree is put.
  expect "$helper leads to plyfs" test "$top/sbin/$helper" -ef "$top/bin/plyfs"
done

# mounts WORDS...   Mounts one layer at $room/m by that command line, reads through it, unmounts.
mounts() {
  "$@" || return
  local content
  content=$(cat "$room/m/f")
  # As umount(8) calls its helper.
  "$top/sbin/umount.fuse.plyfs" "$room/m" -n -t fuse.plyfs && [[ $content == text ]]
}

mkdir -p "$room/layer" "$room/m" "$room/bin"
echo text >"$room/layer/f"
if [[ -w /dev/fuse ]] && have fusermount3; then
  expect "plyfs mounts" mounts "$top/bin/plyfs" mount --lower "$room/layer" "$room/m"
  # As mount(8) calls its helpers: source, mount point, options; fstab's words among them.
  for helper in mount.plyfs mount.fuse.plyfs; do
    expect "$helper mounts" mounts \
      "$top/sbin/$helper" plyfs "$room/m" -o "ro,nosuid,nodev,lowerdir=$room/layer"
  done
  ln -sf "$top/bin/plyfs" "$room/bin/fuse-overlayfs"
  expect "called fuse-overlayfs it mounts" mounts \
    "$room/bin/fuse-overlayfs" -o "lowerdir=$room/layer" "$room/m"
else
  skip "mounts by the installed programs: no /dev/fuse or no fusermount3"
fi

# ---- man pages --------------------------------------------------------------------------------

if have scdoc; then
  for page in man1/plyfs.1 man1/plyfs-dump.1 man5/plyfs-mount.5; do
    expect "$page is there" test -s "$top/share/man/$page"
    if have man; then
      expect "$page renders without a complaint" renders "$top/share/man/$page"
    elif have mandoc; then
      expect "$page renders without a complaint" mandoc -T lint -W error "$top/share/man/$page"
    fi
  done
  have man || have mandoc || skip "man pages are not rendered: neither man nor mandoc"
else
  skip "man pages are not built: no scdoc"
fi

# ---- completions ------------------------------------------------------------------------------

# bash_completes PROGRAM WORD... -- EXPECTED...   What bash offers behind these words.
bash_completes() {
  bash --norc -c '
    source "$1" || exit 1
    shift
    COMP_WORDS=()
    while (($#)) && [[ $1 != -- ]]; do COMP_WORDS+=("$1") && shift; done
    shift
    COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
    function=$(complete -p "${COMP_WORDS[0]}" | sed "s/.*-F \([^ ]*\).*/\1/")
    "$function"
    for wanted; do
      printf "%s\n" "${COMPREPLY[@]}" | grep -qxF -- "$wanted" ||
        { echo "no $wanted in: ${COMPREPLY[*]}" && exit 1; }
    done
  ' - "$top/share/bash-completion/completions/$1" "$@"
}

expect "bash completes commands" bash_completes plyfs "" -- mount umount ls inspect rm volume check diff \
  commit flatten convert
expect "bash completes options" bash_completes plyfs commit --f -- --format
expect "bash completes values" bash_completes plyfs convert x --to a -- aufs
expect "bash completes questions" bash_completes plyfs-dump w -- which
expect "bash completes --only" bash_completes plyfs-dump tree --only w -- whiteouts

if have zsh; then
  expect "zsh reads its completions" zsh -fc \
    'fpath=("$1" $fpath); autoload -Uz compinit && compinit -u -d "$2" && autoload +X _plyfs && (($+functions[_plyfs]))' \
    - "$top/share/zsh/site-functions" "$room/zcompdump"
else
  skip "completions of zsh: zsh is not installed"
fi
if have fish; then
  expect "fish completes commands" fish_completes 'plyfs co' commit
  expect "fish completes questions" fish_completes 'plyfs-dump w' which
else
  skip "completions of fish: fish is not installed"
fi

# ---- what is documented is what there is ------------------------------------------------------

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
if have scdoc; then
  expect "each option is in man page and completions, and no other" \
    python3 -B "$here/documented_test.py" options "$top"
  if [[ -w /dev/fuse ]] && have fusermount3; then
    mkdir "$room/examples"
    expect "the examples of the man pages run" \
      python3 -B "$here/documented_test.py" examples "$top" "$room/examples"
    mkdir "$room/json"
    expect "each member of the JSON reports is documented" \
      python3 -B "$here/documented_test.py" json "$top" "$room/json"
    expect "the sessions in the pages print what they say" \
      python3 -B "$here/documented_test.py" console "$top" "$room/console"
  else
    skip "examples of the man pages: no /dev/fuse or no fusermount3"
  fi
else
  skip "options and examples of the man pages: no scdoc"
fi

echo "$passed passed, $failed failed, $skipped skipped"
((failed == 0))
