#include "sys/path_check.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <utility>

#include "sys/object_stat.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {
namespace {

// A loop in the ancestors cannot happen; a mount moved meanwhile must not keep us here either.
constexpr int kDeepestPath = 4096;

struct Place {
  FileIdentity identity;
  std::uint64_t mount_id = 0;
};

Result<Place> place_of(BorrowedFd fd) {
  struct statx facts = {};
  if (::statx(fd.get(), "", AT_EMPTY_PATH | AT_NO_AUTOMOUNT, STATX_INO | STATX_MNT_ID, &facts) !=
      0) {
    return Errno{errno};
  }
  Place place;
  place.identity.device = gnu_dev_makedev(facts.stx_dev_major, facts.stx_dev_minor);
  place.identity.inode = facts.stx_ino;
  if ((facts.stx_mask & STATX_MNT_ID) != 0) {
    place.mount_id = facts.stx_mnt_id;
  }
  return place;
}

bool same_mount(const Place& a, const Place& b) {
  if (a.mount_id != 0 && b.mount_id != 0) {
    return a.mount_id == b.mount_id;
  }
  return a.identity.device == b.identity.device;
}

std::vector<FileIdentity> chain_from(UniqueFd directory, Place place) {
  std::vector<FileIdentity> chain{place.identity};
  for (int depth = 0; depth < kDeepestPath; ++depth) {
    UniqueFd parent{::openat(directory.borrow().get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (!parent.valid()) {
      return chain;
    }
    const Result<Place> above = place_of(parent.borrow());
    if (!above || above->identity == place.identity || !same_mount(*above, place)) {
      return chain;
    }
    chain.push_back(above->identity);
    place = *above;
    directory = std::move(parent);
  }
  return chain;
}

Status check_access(BorrowedFd directory, DirectoryUse use) {
  const int mode = use == DirectoryUse::kWrite  ? R_OK | W_OK | X_OK
                   : use == DirectoryUse::kRead ? R_OK | X_OK
                                                : X_OK;
  if (::faccessat(directory.get(), ".", mode, AT_EACCESS) != 0) {
    return Errno{errno};
  }
  return {};
}

}  // namespace

Result<DirectoryFacts> inspect_directory(const std::string& path, DirectoryUse use) {
  UniqueFd directory{::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  if (!directory.valid()) {
    return Errno{errno};
  }
  TRY(check_access(directory.borrow(), use));
  if (use != DirectoryUse::kMountOn) {
    // Asks the filesystem itself: permission bits alone do not tell for FUSE, NFS or LSMs.
    const UniqueFd listing{
        ::openat(directory.borrow().get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!listing.valid()) {
      return Errno{errno};
    }
  }
  const Place place = TRY(place_of(directory.borrow()));
  struct statfs filesystem = {};
  if (::fstatfs(directory.borrow().get(), &filesystem) != 0) {
    return Errno{errno};
  }
  DirectoryFacts facts;
  facts.mount_id = place.mount_id;
  facts.filesystem_magic = static_cast<std::uint64_t>(filesystem.f_type);
  facts.chain = chain_from(std::move(directory), place);
  return facts;
}

bool any_ancestor(const std::string& path, const std::function<bool(const FileStat&)>& wanted) {
  UniqueFd directory{::open(path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
  FileIdentity below;
  for (int depth = 0; directory.valid() && depth < kDeepestPath; ++depth) {
    const auto stat = stat_object({directory.borrow(), ""});
    if (!stat) {
      return false;
    }
    if (wanted(*stat)) {
      return true;
    }
    const FileIdentity here{stat->dev, stat->ino};
    if (depth > 0 && here == below) {
      return false;  // the root is its own parent
    }
    below = here;
    directory =
        UniqueFd{::openat(directory.borrow().get(), "..", O_PATH | O_DIRECTORY | O_CLOEXEC)};
  }
  return false;
}

Status check_writable(const std::string& path) {
  if (::faccessat(AT_FDCWD, path.c_str(), W_OK, AT_EACCESS) != 0) {
    return Errno{errno};
  }
  return {};
}

std::string filesystem_name(std::uint64_t magic) {
  static constexpr std::array<std::pair<std::uint64_t, const char*>, 14> kNames{{
      {0xEF53, "ext4"},
      {0x01021994, "tmpfs"},
      {0x58465342, "xfs"},
      {0x9123683E, "btrfs"},
      {0x794C7630, "overlayfs"},
      {0x65735546, "fuse"},
      {0x6969, "nfs"},
      {0x2FC12FC1, "zfs"},
      {0xF2F52010, "f2fs"},
      {0xE0F5E1E2, "erofs"},
      {0x73717368, "squashfs"},
      {0x01021997, "9p"},
      {0xFF534D42, "cifs"},
      {0xFE534D42, "smb2"},
  }};
  for (const auto& [number, name] : kNames) {
    if (number == magic) {
      return name;
    }
  }
  std::array<char, 24> text{};
  (void)std::snprintf(text.data(), text.size(), "0x%llx", static_cast<unsigned long long>(magic));
  return text.data();
}

}  // namespace plyfs::sys
