// What this machine offers for mounting. Asked once, before threads.
#pragma once

#include <string>
#include <string_view>

#include "plyfs/result.h"

namespace plyfs::sys {

enum class Answer : unsigned char { kNo, kYes };

struct HostFacts {
  std::string kernel_release;
  Status dev_fuse;                 ///< /dev/fuse can be opened by us
  Answer may_mount = Answer::kNo;  ///< mount(2) is ours: CAP_SYS_ADMIN over this mount namespace
  std::string fusermount;          ///< path of fusermount3; empty when there is none
  Answer fusermount_works = Answer::kNo;   ///< it is setuid root or has CAP_SYS_ADMIN as a file
  Answer no_new_privileges = Answer::kNo;  ///< prctl(2): setuid programs gain nothing
  Answer mount_table = Answer::kNo;        ///< /etc/mtab can be read: fusermount3 -u looks there
  Answer over_io_uring = Answer::kNo;      ///< the kernel offers FUSE over io_uring (enable_uring)
  Answer user_allow_other = Answer::kNo;   ///< /etc/fuse.conf lets ordinary users use allow_other
};

/// `search_path` is $PATH, consulted after /usr/bin.
HostFacts host_facts(std::string_view search_path);

/// Tries to make a user namespace in a child process. Not to be called once threads exist.
Status probe_user_namespace();

}  // namespace plyfs::sys
