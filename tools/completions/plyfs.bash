# bash completion of plyfs and plyfs-dump
_plyfs_mounts() {
  awk '$3 ~ /^fuse\.(plyfs|fuse-overlayfs)$/ { print $2 }' /proc/self/mounts 2>/dev/null
}

# Behind an option that takes one of a few words, or a directory. False: no such option.
_plyfs_value() {
  local current=$1 words=
  case $2 in
    --lower | --upper | --work)
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      return
      ;;
    --config | --save | --output | --input | -i | --env-file)
      mapfile -t COMPREPLY < <(compgen -f -- "$current")
      return
      ;;
    --format | --to) words='overlay userxattr aufs' ;;
    --progress) words='auto plain none' ;;
    --only) words='upper hidden whiteouts opaque volumes' ;;
    --volumes-from) words=$(plyfs ls -q 2>/dev/null) ;;
    --image) words=$(plyfs image ls -q 2>/dev/null) ;;
    --engine) words='auto fuse kernel' ;;
    --net) words='host none' ;;
    *) return 1 ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}

_plyfs_volume() {
  if ((COMP_CWORD == 2)); then
    echo create ls inspect rm prune export import
    return
  fi
  case ${COMP_WORDS[2]} in
    create) echo --label ;;
    ls) echo -q --quiet --filter --json ;;
    prune) echo -f --force -a --all --filter ;;
    rm) echo -f --force ;;
    export) echo -o --output --progress ;;
    import) echo -i --input -f --force --max-size --max-depth --progress ;;
  esac
  case ${COMP_WORDS[2]} in
    rm | inspect | export | import) plyfs volume ls -q 2>/dev/null ;;
  esac
}

_plyfs_image() {
  if ((COMP_CWORD == 2)); then
    echo import ls inspect history rm prune verify mount export
    return
  fi
  case ${COMP_WORDS[2]} in
    import)
      echo --ref --select --platform --no-blobs --max-size --max-entries --max-layers --max-depth --progress
      echo -q --quiet --json
      ;;
    ls) echo -q --quiet --json ;;
    history) echo --json ;;
    rm) echo -f --force ;;
    prune) echo -a --all ;;
  esac
  case ${COMP_WORDS[2]} in
    inspect | history | rm | verify | mount | export) plyfs image ls -q 2>/dev/null ;;
  esac
}

_plyfs() {
  local current=${COMP_WORDS[COMP_CWORD]} command=${COMP_WORDS[1]} words=--help
  local layers='-o --options --lower --upper --work'
  local inside='-e --env --env-file -w --workdir -u --user -i --interactive -t --tty'
  COMPREPLY=()
  _plyfs_value "$current" "${COMP_WORDS[COMP_CWORD - 1]}" && return
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W \
      'mount umount ls inspect rm volume image run exec ps unshare check diff commit flatten convert --help --version' -- "$current")
    return
  fi
  case $command in
    volume) words+=" $(_plyfs_volume)" ;;
    image) words+=" $(_plyfs_image)" ;;
    run)
      words+=" $layers $inside -v --volume --volumes-from --name --strict-volumes --config --image --keep --engine"
      words+=" --hostname --net --read-only --tmpfs --bind-host-devices --verbose $(plyfs ls -q 2>/dev/null)"
      ;;
    exec) words+=" $inside $(plyfs ls -q 2>/dev/null)" ;;
    ps) words+=' --json' ;;
    ls) words+=' -q --quiet --json' ;;
    inspect) words+=" $(plyfs ls -q 2>/dev/null)" ;;
    rm) words+=" -v --volumes $(plyfs ls -q 2>/dev/null)" ;;
    mount)
      words+=" $layers -v --volume --volumes-from --name --strict-volumes --config --save --image"
      words+=' -f --foreground -d --debug'
      ;;
    umount) words+=" -l --lazy $(_plyfs_mounts)" ;;
    check) words+=" $layers --config --image --json" ;;
    diff) words+=" $layers --all --json $(_plyfs_mounts)" ;;
    commit) words+=" $layers --image --message --author -c --change --format --progress --json $(_plyfs_mounts)" ;;
    flatten) words+=" $layers --progress --json $(_plyfs_mounts)" ;;
    convert) words+=' --to --userxattr --progress --json' ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"; [[ $current == -* ]] || compgen -f -- "$current")
}

_plyfs_dump() {
  local current=${COMP_WORDS[COMP_CWORD]}
  COMPREPLY=()
  _plyfs_value "$current" "${COMP_WORDS[COMP_CWORD - 1]}" && return
  local words="which tree layers copyups verify stats snapshot compare
    -o --options --lower --upper --work --json --bytes --help --version --digest --depth --only --no-content
    --progress --repair --watch --interval $(_plyfs_mounts)"
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"; [[ $current == -* ]] || compgen -f -- "$current")
}

complete -o filenames -F _plyfs plyfs
complete -o filenames -F _plyfs_dump plyfs-dump
