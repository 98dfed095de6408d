#include "user_namespace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <csignal>

#include "call.h"
#include "process.h"

namespace plyfs::tests {
namespace {

std::string enter_new(uid_t uid, gid_t gid) {
  if (::unshare(CLONE_NEWUSER | CLONE_NEWNS) != 0) {
    return outcome(-1);
  }
  const auto identity = [](unsigned id) {
    return std::to_string(id) + " " + std::to_string(id) + " 1";
  };
  for (const auto& [path, text] : {std::pair<std::string, std::string>{"setgroups", "deny"},
                                   {"gid_map", identity(gid)},
                                   {"uid_map", identity(uid)}}) {
    File file("/proc/self/" + path, O_WRONLY);
    if (const std::string result = file.write(text); result != "ok") {
      return result;
    }
  }
  return outcome(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
}

}  // namespace

UserNamespace& UserNamespace::shared() {
  static UserNamespace instance;
  return instance;
}

UserNamespace::UserNamespace() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    return;
  }
  const File read_end(ends[0]);
  File write_end(ends[1]);
  const pid_t pid = ::fork();
  if (pid == 0) {
    const std::string result = enter_new(::getuid(), ::getgid());
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)write_end.write(result == "ok" ? "+" : "-");
    (void)write_end.close();
    for (;;) {
      ::pause();
    }
  }
  holder_ = pid;
  char answer = '-';
  (void)!::read(read_end.fd(), &answer, 1);
  if (answer != '+') {
    ::kill(pid, SIGKILL);
    (void)wait_for(pid, 60);
    holder_ = -1;
  }
}

std::string UserNamespace::run(const std::function<std::string()>& body) const {
  if (holder_ < 0) {
    return "no user namespace";
  }
  return in_child([&]() -> std::string {
    const std::string proc = "/proc/" + std::to_string(holder_) + "/ns/";
    const File user(proc + "user", O_RDONLY);
    const File mounts(proc + "mnt", O_RDONLY);
    if (::setns(user.fd(), CLONE_NEWUSER) != 0 || ::setns(mounts.fd(), CLONE_NEWNS) != 0) {
      return "setns " + outcome(-1);
    }
    return body();
  });
}

std::string UserNamespace::root() const { return "/proc/" + std::to_string(holder_) + "/root"; }

}  // namespace plyfs::tests
