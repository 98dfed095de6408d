#include "base/remedy.h"

#include <cerrno>

namespace plyfs {

bool is_of_filesystem(int error) {
  return error == EIO || error == ESTALE || error == EUCLEAN || error == ENOSPC || error == EDQUOT;
}

std::string remedy_for(int error, const std::string& place) {
  switch (error) {
    case EIO:
      return "; the kernel's log (dmesg) names the device that fails";
    case ESTALE:
      return "; a layer was changed or replaced beneath the mount: mount it again";
    case EUCLEAN:
      return "; its filesystem is damaged: unmount it and run fsck";
    case ENOSPC:
      return "; free some space on the filesystem of " + place;
    case EDQUOT:
      return "; free some space on the filesystem of " + place + ", or raise the quota";
    case EMFILE:
      return "; raise the limit of open files (ulimit -n)";
    case ENFILE:
      return "; raise the machine's limit of open files (sysctl fs.file-max)";
    default:
      return {};
  }
}

}  // namespace plyfs
