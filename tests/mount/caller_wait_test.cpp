// Callers that hold locks of their own task while they wait for an answer.
//
// execve(2), exit, core dumps and tracers write back and close files under such locks. A daemon
// that asks the system about its caller then waits for it, and both wait for ever.
#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <functional>
#include <string>
#include <vector>

#include "process.h"
#include "stack.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

constexpr int kHang_s = 60;  // a limit for hangs only
constexpr int kFiles = 8;
constexpr std::size_t kFileBytes = 4000;
constexpr std::size_t kPage = 4096;

/// Ends every request of a mount with an error. Killing the daemon would not: it hangs itself.
void abort_connection(const std::string& mountpoint) {
  // "ID PARENT MAJOR:MINOR ROOT MOUNTPOINT ..."
  const std::string mounts = content("/proc/self/mountinfo");
  const std::size_t line = mounts.rfind('\n', mounts.find(" " + mountpoint + " ")) + 1;
  const std::size_t colon = mounts.find(':', line);
  const std::string number = mounts.substr(colon + 1, mounts.find(' ', colon) - colon - 1);
  const std::string control = workspace() + "/fusectl";
  (void)call::mkdir(control);
  (void)::mount("fusectl", control.c_str(), "fusectl", 0, nullptr);
  for (const std::string& connections : {control, std::string{"/sys/fs/fuse/connections"}}) {
    File abort(connections + "/" + number + "/abort", O_WRONLY);
    (void)abort.write("1");
  }
  (void)::umount2(control.c_str(), MNT_DETACH);
}

using Body = std::function<std::string()>;

/// Runs all at once. "ok", or what one of them said, or that it hangs.
std::string all_at_once(const std::string& mountpoint, const std::vector<Body>& bodies) {
  std::vector<pid_t> callers;
  for (const Body& body : bodies) {
    const pid_t pid = ::fork();
    if (pid == 0) {
      const std::string result = body();
      if (result != "ok") {
        (void)!::write(STDERR_FILENO, (result + "\n").data(), result.size() + 1);
      }
      ::_exit(result == "ok" ? 0 : 1);
    }
    callers.push_back(pid);
  }
  std::string result = "ok";
  for (const pid_t pid : callers) {
    int code = wait_for(pid, kHang_s);
    if (code < 0) {
      result = "<hangs>";
      abort_connection(mountpoint);
      ::kill(pid, SIGKILL);
      code = wait_for(pid, kHang_s);
    }
    result = result == "ok" && code != 0 ? "exit code " + std::to_string(code) : result;
  }
  return result;
}

/// Dirty files that the next execve(2) closes.
std::string open_dirty(const std::string& directory, std::vector<File>& files) {
  const std::string data(kFileBytes, 'x');
  files.clear();
  for (int i = 0; i < kFiles; ++i) {
    const std::string name = directory + "/" + std::to_string(::getpid()) + "-" + std::to_string(i);
    File& file = files.emplace_back(name, O_CREAT | O_RDWR | O_CLOEXEC);
    if (file.write(data) != "ok") {
      return file.opened();
    }
  }
  return "ok";
}

/// Dirty pages that exit and execve(2) unmap, the file already closed.
bool map_dirty(const std::string& path) {
  const File file(path, O_CREAT | O_RDWR | O_CLOEXEC);
  if (::ftruncate(file.fd(), kPage) != 0) {
    return false;
  }
  void* const page = ::mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
  if (page == MAP_FAILED) {
    return false;
  }
  *static_cast<volatile char*>(page) = 'y';
  return true;
}

int ended(pid_t pid) {
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

/// Files with O_CLOEXEC, then fork and exec, as Python's subprocess does.
Body forks_and_executes(const std::string& directory, const std::string& program, int rounds,
                        bool mapped) {
  return [=]() -> std::string {
    std::vector<File> files;
    for (int round = 0; round < rounds; ++round) {
      if (const std::string made = open_dirty(directory, files); made != "ok") {
        return made;
      }
      const std::string page = directory + "/page-" + std::to_string(::getpid());
      const pid_t pid = ::fork();
      if (pid == 0) {
        if (mapped && !map_dirty(page)) {
          ::_exit(2);
        }
        ::execl(program.c_str(), "true", nullptr);
        ::_exit(3);
      }
      if (const int status = ended(pid); status != 0) {
        return "ended with " + std::to_string(status);
      }
    }
    return "ok";
  };
}

/// The same by posix_spawn(3), whose parent waits for the exec (CLONE_VFORK).
Body spawns(const std::string& directory, const std::string& program, int rounds) {
  return [=]() -> std::string {
    std::vector<File> files;
    std::string name = "true";
    char* arguments[] = {name.data(), nullptr};
    for (int round = 0; round < rounds; ++round) {
      pid_t pid = 0;
      if (const std::string made = open_dirty(directory, files); made != "ok") {
        return made;
      }
      if (::posix_spawn(&pid, program.c_str(), nullptr, nullptr, arguments, nullptr) != 0 ||
          ended(pid) != 0) {
        return "not spawned";
      }
    }
    return "ok";
  };
}

/// Dies with everything dirty: by exit, or by a signal that dumps core into the mount.
Body dies(const std::string& directory, int rounds, int signal) {
  return [=]() -> std::string {
    for (int round = 0; round < rounds; ++round) {
      const pid_t pid = ::fork();
      if (pid == 0) {
        const rlimit unlimited{RLIM_INFINITY, RLIM_INFINITY};
        std::vector<File> files;
        (void)::setrlimit(RLIMIT_CORE, &unlimited);
        if (::chdir(directory.c_str()) != 0 || open_dirty(directory, files) != "ok" ||
            !map_dirty(directory + "/died-" + std::to_string(signal))) {
          ::_exit(2);
        }
        signal == 0 ? ::_exit(0) : (void)::raise(signal);
        ::_exit(3);
      }
      const int status = ended(pid);
      if (signal == 0 ? status != 0 : !WIFSIGNALED(status) || WTERMSIG(status) != signal) {
        return "ended with " + std::to_string(status);
      }
    }
    return "ok";
  };
}

/// Attaches to a caller, stops it wherever it is, and lets it go, again and again.
Body traces(const Body& caller, bool with_ptrace) {
  return [=]() -> std::string {
    const pid_t pid = ::fork();
    if (pid == 0) {
      ::_exit(caller() == "ok" ? 0 : 1);
    }
    int status = 0;
    while (::waitpid(pid, &status, WNOHANG) == 0) {
      if (!with_ptrace) {
        ::kill(pid, SIGSTOP);
        ::sched_yield();
        ::kill(pid, SIGCONT);
        continue;
      }
      if (::ptrace(PTRACE_ATTACH, pid, nullptr, nullptr) == 0) {
        if (::waitpid(pid, &status, __WALL) == pid && !WIFSTOPPED(status)) {
          break;
        }
        (void)::ptrace(PTRACE_DETACH, pid, nullptr, nullptr);
      }
    }
    return status == 0 || WIFSTOPPED(status) ? "ok" : "ended with " + std::to_string(status);
  };
}

TEST_CASE("callers that exec, die, are traced or stopped while they wait hang nobody", "[wait]") {
  constexpr int kRounds = 500;
  on(plyfs_only(), [&](const System& system) {
    for (const char* const options : {"uring=off", "uring=off,threads=1", "writeback=off"}) {
      INFO(options);
      Stack stack = Stack{}.lower({}).upper();
      stack.mount(system, options);
      const std::string there = stack();
      REQUIRE(run({"cp", "/bin/true", there + "/true"}).exit_code == 0);
      const auto plain = forks_and_executes(there, "/bin/true", kRounds, false);
      CHECK(
          all_at_once(stack.mountpoint(),
                      {
                          plain,
                          plain,
                          forks_and_executes(there, there + "/true", kRounds / 4, true),
                          spawns(there, "/bin/true", kRounds / 4),
                          dies(there, kRounds / 4, 0),
                          dies(there, 10, SIGQUIT),
                          traces(forks_and_executes(there, "/bin/true", kRounds / 10, true), true),
                          traces(forks_and_executes(there, "/bin/true", kRounds / 10, true), false),
                      }) == "ok");
    }
  });
}

/// Creates, writes, syncs and looks for what is not there while a timer signals it all the time.
Body is_signalled(const std::string& directory, int rounds) {
  return [=]() -> std::string {
    struct sigaction nothing = {};
    nothing.sa_handler = [](int) {};
    nothing.sa_flags = SA_RESTART;
    ::sigaction(SIGALRM, &nothing, nullptr);
    const itimerval often{{0, 50}, {0, 50}};
    ::setitimer(ITIMER_REAL, &often, nullptr);
    const std::string name = directory + "/signalled-" + std::to_string(::getpid()) + "-";
    for (int round = 0; round < rounds; ++round) {
      const std::string path = name + std::to_string(round);
      File file(path, O_CREAT | O_EXCL | O_RDWR);
      const std::string results =
          joined({file.opened(), file.write("x"), outcome(::fsync(file.fd())),
                  call::stat(path + "n"), call::unlink(path)});
      if (results != "ok ok ok ENOENT ok") {
        return results;
      }
    }
    return "ok";
  };
}

// libfuse answers an INTERRUPT that it cannot place with EAGAIN, while it serves another request.
TEST_CASE("callers that are signalled all the time get their own answers", "[wait]") {
  constexpr int kRounds = 3000;
  on(plyfs_only(), [&](const System& system) {
    for (const char* const options : {"", "uring=off"}) {
      INFO(options);
      Stack stack = Stack{}.lower({}).upper();
      stack.mount(system, options);
      const Body body = is_signalled(stack(), kRounds);
      CHECK(all_at_once(stack.mountpoint(), {body, body, body}) == "ok");
    }
  });
}

}  // namespace
}  // namespace plyfs::tests
