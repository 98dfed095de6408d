# bash completion of plyfs and plyfs-dump
_plyfs_mounts() {
  awk '$3 ~ /^fuse\.(plyfs|fuse-overlayfs)$/ { print $2 }' /proc/self/mounts 2>/dev/null
}

_plyfs() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]} command=${COMP_WORDS[1]}
  COMPREPLY=()
  case $previous in
    --lower | --upper | --work)
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      return
      ;;
    --format | --to)
      mapfile -t COMPREPLY < <(compgen -W 'overlay userxattr aufs' -- "$current")
      return
      ;;
    --progress)
      mapfile -t COMPREPLY < <(compgen -W 'auto plain none' -- "$current")
      return
      ;;
  esac
  if ((COMP_CWORD == 1)); then
    mapfile -t COMPREPLY < <(compgen -W \
      'mount umount ls inspect rm volume check diff commit flatten convert --help --version' -- "$current")
    return
  fi
  local words='--help'
  if [[ $command == volume ]]; then
    if ((COMP_CWORD == 2)); then
      words+=' create ls inspect rm prune export import'
    else
      case ${COMP_WORDS[2]} in
        create) words+=' --label' ;;
        ls) words+=' -q --filter --json' ;;
        prune) words+=' -f --all --filter' ;;
        rm) words+=" -f $(plyfs volume ls -q 2>/dev/null)" ;;
        inspect) words+=" $(plyfs volume ls -q 2>/dev/null)" ;;
        export) words+=" -o --progress $(plyfs volume ls -q 2>/dev/null)" ;;
        import) words+=" -i --force --progress $(plyfs volume ls -q 2>/dev/null)" ;;
      esac
    fi
  fi
  case $command in
    ls) words+=' -q --json' ;;
    inspect | rm) words+=" -v $(plyfs ls -q 2>/dev/null)" ;;
    mount) words+=' -o --lower --upper --work -v --volume --volumes-from --name --strict-volumes --config --save -f -d' ;;
    umount) words+=" --lazy $(_plyfs_mounts)" ;;
    check) words+=' -o --lower --upper --work --config --json' ;;
    diff) words+=" -o --lower --upper --work --all --json $(_plyfs_mounts)" ;;
    commit) words+=" -o --lower --upper --work --format --progress --json $(_plyfs_mounts)" ;;
    flatten) words+=" -o --lower --upper --work --progress --json $(_plyfs_mounts)" ;;
    convert) words+=' --to --progress --json' ;;
  esac
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"; [[ $current == -* ]] || compgen -f -- "$current")
}

_plyfs_dump() {
  local current=${COMP_WORDS[COMP_CWORD]} previous=${COMP_WORDS[COMP_CWORD - 1]}
  COMPREPLY=()
  case $previous in
    --lower | --upper | --work)
      mapfile -t COMPREPLY < <(compgen -d -- "$current")
      return
      ;;
    --only)
      mapfile -t COMPREPLY < <(compgen -W 'upper hidden whiteouts opaque volumes' -- "$current")
      return
      ;;
  esac
  local words="which tree layers copyups verify stats snapshot compare
    -o --lower --upper --work --json --bytes --help --version --digest --depth --only --no-content
    --repair --watch --interval $(_plyfs_mounts)"
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current"; [[ $current == -* ]] || compgen -f -- "$current")
}

complete -o filenames -F _plyfs plyfs
complete -o filenames -F _plyfs_dump plyfs-dump
