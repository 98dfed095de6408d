#include "sys/sandbox/mounts.h"

#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <utility>

#include "sys/unique_fd.h"

namespace plyfs::sys::sandbox {
namespace {

constexpr unsigned long kQuiet = MS_NOSUID | MS_NODEV;

Step mount_new(const char* type, const std::string& path, unsigned long flags,
               const std::string& options) {
  if (::mount(type, path.c_str(), type, flags, options.c_str()) != 0) {
    return Trouble{std::string{"cannot mount "} + type, path, Errno{errno}};
  }
  return std::nullopt;
}

Step bind_device(const std::string& directory, const std::string& name) {
  const std::string source = "/dev/" + name;
  const std::string target = directory + "/" + name;
  const UniqueFd place{::open(target.c_str(), O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666)};
  if (!place.valid() || ::mount(source.c_str(), target.c_str(), nullptr, MS_BIND, nullptr) != 0) {
    return Trouble{"cannot show the device", source, Errno{errno}};
  }
  return std::nullopt;
}

Step make_links(const std::string& directory) {
  static constexpr auto kLinks =
      std::to_array<std::pair<const char*, const char*>>({{"fd", "/proc/self/fd"},
                                                          {"stdin", "/proc/self/fd/0"},
                                                          {"stdout", "/proc/self/fd/1"},
                                                          {"stderr", "/proc/self/fd/2"},
                                                          {"core", "/proc/kcore"},
                                                          {"ptmx", "pts/ptmx"}});
  for (const auto& [name, target] : kLinks) {
    if (::symlink(target, (directory + "/" + name).c_str()) != 0) {
      return Trouble{"cannot make", directory + "/" + name, Errno{errno}};
    }
  }
  return std::nullopt;
}

}  // namespace

Step mount_stage(const std::string& path) {
  if (Step wrong = mount_new("tmpfs", path, kQuiet, "mode=700")) {
    return wrong;
  }
  if (::mount(nullptr, path.c_str(), nullptr, MS_UNBINDABLE, nullptr) != 0) {
    return Trouble{"cannot keep volumes from showing", path, Errno{errno}};
  }
  return std::nullopt;
}

Step mount_tmpfs(const std::string& path, const std::string& options) {
  return mount_new("tmpfs", path, kQuiet, options);
}

Step mount_proc(const std::string& path) { return mount_new("proc", path, kQuiet | MS_NOEXEC, ""); }

Step make_devices(const std::string& path, bool tty_group) {
  if (Step wrong = mount_new("tmpfs", path, MS_NOSUID | MS_NOEXEC, "mode=755,size=64k")) {
    return wrong;
  }
  for (const char* name : {"null", "zero", "full", "random", "urandom", "tty"}) {
    if (Step wrong = bind_device(path, name)) {
      return wrong;
    }
  }
  for (const char* name : {"/pts", "/shm", "/mqueue"}) {
    if (::mkdir((path + name).c_str(), 0755) != 0) {
      return Trouble{"cannot make", path + name, Errno{errno}};
    }
  }
  const std::string terminals =
      std::string{"newinstance,ptmxmode=0666,mode=0620"} + (tty_group ? ",gid=5" : "");
  if (Step wrong = mount_new("devpts", path + "/pts", MS_NOSUID | MS_NOEXEC, terminals)) {
    return wrong;
  }
  if (Step wrong = mount_new("tmpfs", path + "/shm", kQuiet | MS_NOEXEC, "mode=1777")) {
    return wrong;
  }
  (void)mount_new("mqueue", path + "/mqueue", kQuiet | MS_NOEXEC, "");  // not in every kernel
  return make_links(path);
}

Step mount_overlay(const std::string& path, const Overlay& overlay) {
  // By descriptors: no byte of a path means anything, and none is too long.
  std::string options = "userxattr";
  std::array<UniqueFd, 3> kept;
  const std::array<std::pair<const char*, const std::string*>, 3> directories{
      {{"lowerdir", &overlay.lower}, {"upperdir", &overlay.upper}, {"workdir", &overlay.work}}};
  for (std::size_t i = 0; i < directories.size(); ++i) {
    const auto& [word, directory] = directories[i];
    if (directory->empty()) {
      continue;
    }
    kept[i] = UniqueFd{::open(directory->c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC)};
    if (!kept[i].valid()) {
      return Trouble{"cannot open", *directory, Errno{errno}};
    }
    options += std::string{","} + word + "=/proc/self/fd/" + std::to_string(kept[i].borrow().get());
  }
  if (overlay.is_volatile && !overlay.upper.empty()) {
    options += ",volatile";
  }
  return mount_new("overlay", path, overlay.upper.empty() ? MS_RDONLY : 0, options);
}

Status detach(const std::string& path) {
  if (::umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) {
    return Errno{errno};
  }
  return {};
}

Step enter_root(const std::string& root) {
  if (::unshare(CLONE_NEWNS) != 0) {
    return Trouble{"cannot make a mount namespace", "unshare", Errno{errno}};
  }
  if (::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      ::chdir(root.c_str()) != 0 || ::syscall(SYS_pivot_root, ".", ".") != 0 ||
      // The old root lies over the new one now.
      ::umount2(".", MNT_DETACH) != 0 || ::chdir("/") != 0) {
    return Trouble{"cannot make it the root directory", root, Errno{errno}};
  }
  return std::nullopt;
}

Status raise_loopback() {
  const UniqueFd any{::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)};
  ifreq request{};
  std::strncpy(request.ifr_name, "lo", sizeof request.ifr_name - 1);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  if (!any.valid() || ::ioctl(any.borrow().get(), SIOCSIFFLAGS, &request) != 0) {
    return Errno{errno};
  }
  return {};
}

Status set_host_name(const std::string& name) {
  return ::sethostname(name.data(), name.size()) == 0 ? Status{} : Status{Errno{errno}};
}

}  // namespace plyfs::sys::sandbox
