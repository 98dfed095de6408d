#include "sys/host_check.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

#include "base/xattr_names.h"
#include "sys/creds.h"
#include "sys/unique_fd.h"

namespace plyfs::sys {
namespace {

// Documentation/admin-guide/devices.txt
constexpr unsigned kMiscMajor = 10;
constexpr unsigned kFuseMinor = 229;

Answer answer(int condition) { return condition != 0 ? Answer::kYes : Answer::kNo; }

char first_byte_of(const char* file) {
  std::ifstream stream{file};
  char byte = '\0';
  stream.get(byte);
  return byte;
}

Status open_device() {
  const UniqueFd device{::open("/dev/fuse", O_RDWR | O_CLOEXEC)};
  if (!device.valid()) {
    return Errno{errno};
  }
  // Containers put other things in the place of devices that they hide.
  struct stat facts = {};
  const bool is_fuse = ::fstat(device.borrow().get(), &facts) == 0 && S_ISCHR(facts.st_mode) &&
                       facts.st_rdev == makedev(kMiscMajor, kFuseMinor);
  return is_fuse ? Status{} : Status{Errno{ENODEV}};
}

// A capability counts only where it was given: in the user namespace that owns our mounts.
bool owns_mount_namespace() {
  const UniqueFd mounts{::open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC)};
  if (!mounts.valid()) {
    return true;  // no /proc: let mount(2) decide
  }
  const UniqueFd owner{::ioctl(mounts.borrow().get(), NS_GET_USERNS)};
  if (!owner.valid()) {
    return errno == ENOTTY;  // EPERM: an owner outside of our user namespace
  }
  struct stat owner_facts = {};
  struct stat own_facts = {};
  if (::fstat(owner.borrow().get(), &owner_facts) != 0 ||
      ::stat("/proc/self/ns/user", &own_facts) != 0) {
    return true;
  }
  return owner_facts.st_dev == own_facts.st_dev && owner_facts.st_ino == own_facts.st_ino;
}

bool is_program(const std::string& path) {
  struct stat facts = {};
  return ::stat(path.c_str(), &facts) == 0 && S_ISREG(facts.st_mode) &&
         ::access(path.c_str(), X_OK) == 0;
}

std::string find_fusermount(std::string_view search_path) {
  static constexpr std::string_view kName = "fusermount3";
  if (std::string usual = "/usr/bin/" + std::string{kName}; is_program(usual)) {
    return usual;
  }
  while (!search_path.empty()) {
    const std::string_view directory = search_path.substr(0, search_path.find(':'));
    search_path.remove_prefix(std::min(directory.size() + 1, search_path.size()));
    std::string path = std::string{directory}.append("/").append(kName);
    if (directory.starts_with('/') && is_program(path)) {
      return path;
    }
  }
  return {};
}

bool gains_privileges(const std::string& program) {
  struct stat facts = {};
  if (::stat(program.c_str(), &facts) != 0) {
    return false;
  }
  if ((facts.st_mode & S_ISUID) != 0 && facts.st_uid == 0) {
    return true;
  }
  return ::getxattr(program.c_str(), kCapabilityXattr, nullptr, 0) > 0;
}

bool allows_other_users() {
  std::ifstream configuration("/etc/fuse.conf");
  for (std::string line; std::getline(configuration, line);) {
    const std::size_t begin = line.find_first_not_of(" \t");
    if (begin == std::string::npos) {
      continue;
    }
    const std::size_t end = line.find_last_not_of(" \t\r");
    if (line.substr(begin, end - begin + 1) == "user_allow_other") {
      return true;
    }
  }
  return false;
}

}  // namespace

HostFacts host_facts(std::string_view search_path) {
  HostFacts facts;
  struct utsname system = {};
  if (::uname(&system) == 0) {
    facts.kernel_release = system.release;
  }
  facts.dev_fuse = open_device();
  facts.may_mount = answer(current_privileges().sys_admin && owns_mount_namespace());
  facts.fusermount = find_fusermount(search_path);
  facts.fusermount_works = answer(!facts.fusermount.empty() && gains_privileges(facts.fusermount));
  facts.no_new_privileges = answer(::prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1);
  facts.over_io_uring = answer(first_byte_of("/sys/module/fuse/parameters/enable_uring") == 'Y');
  facts.mount_table = answer(::access("/etc/mtab", R_OK) == 0);
  facts.user_allow_other = answer(allows_other_users());
  return facts;
}

Status probe_user_namespace() {
  const pid_t child = ::fork();
  if (child < 0) {
    return Errno{errno};
  }
  if (child == 0) {
    ::_exit(::unshare(CLONE_NEWUSER) == 0 ? 0 : errno);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) {
      return Errno{errno};
    }
  }
  if (!WIFEXITED(status)) {
    return Errno{EIO};
  }
  if (WEXITSTATUS(status) != 0) {
    return Errno{WEXITSTATUS(status)};
  }
  return {};
}

}  // namespace plyfs::sys
