#include "process.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <system_error>
#include <thread>

namespace plyfs::bench {
namespace {

constexpr std::size_t kMostErrorText = 600;
constexpr auto kPause = std::chrono::milliseconds(1);

std::vector<char*> pointers(Words& words) {
  std::vector<char*> result;
  for (std::string& word : words) {
    result.push_back(word.data());
  }
  result.push_back(nullptr);
  return result;
}

void drop_capabilities() {
  __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  std::array<__user_cap_data_struct, 2> none{};
  checked(::syscall(SYS_capset, &header, none.data()), "capset");
}

void enter(const std::string& path) {
  const int fd = static_cast<int>(checked(::open(path.c_str(), O_RDONLY | O_CLOEXEC), path));
  checked(::setns(fd, 0), "setns " + path);
  ::close(fd);
}

void write_all(const std::string& path, const std::string& text) {
  const int fd = static_cast<int>(checked(::open(path.c_str(), O_WRONLY | O_CLOEXEC), path));
  const auto written = ::write(fd, text.data(), text.size());
  ::close(fd);
  checked(written, "write " + path);
}

[[noreturn]] void execute(Words words, const std::string& input, const std::string& directory,
                          int error_fd) {
  const int in = ::open(input.empty() ? "/dev/null" : input.c_str(), O_RDONLY);
  const int out = ::open("/dev/null", O_WRONLY);
  if (in < 0 || out < 0 || (!directory.empty() && ::chdir(directory.c_str()) != 0)) {
    ::_exit(126);
  }
  ::dup2(in, 0);
  ::dup2(out, 1);
  ::dup2(error_fd >= 0 ? error_fd : out, 2);
  ::execvp(words.front().c_str(), pointers(words).data());
  ::_exit(127);
}

std::string read_all(int fd) {
  std::string text;
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto got = ::read(fd, buffer.data(), buffer.size());
    if (got <= 0) {
      break;
    }
    text.append(buffer.data(), static_cast<std::size_t>(got));
  }
  return text;
}

}  // namespace

long checked(long result, const std::string& what) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), what);
  }
  return result;
}

void become(const Identity& who, Namespace where, Rights rights) {
  if (::geteuid() == 0 && who.uid != 0) {
    const std::array<gid_t, 2> groups = {who.gid, who.other_group};
    checked(::setgroups(groups.size(), groups.data()), "setgroups");
    checked(::setresgid(who.gid, who.gid, who.gid), "setresgid");
    checked(::setresuid(who.uid, who.uid, who.uid), "setresuid");
    ::prctl(PR_SET_DUMPABLE, 1);  // else /proc/self belongs to root
  }
  if (where.holder > 0) {
    const std::string base = "/proc/" + std::to_string(where.holder) + "/ns/";
    const int mounts =
        static_cast<int>(checked(::open((base + "mnt").c_str(), O_RDONLY | O_CLOEXEC), base));
    enter(base + "user");
    checked(::setns(mounts, CLONE_NEWNS), "setns");
    ::close(mounts);
    if (rights == Rights::kDrop) {
      drop_capabilities();
    }
  }
}

void run_as(const Identity& who, Namespace where, Rights rights,
            const std::function<void()>& body) {
  int ends[2] = {-1, -1};
  checked(::pipe2(ends, O_CLOEXEC), "pipe");
  const pid_t child = static_cast<pid_t>(checked(::fork(), "fork"));
  if (child == 0) {
    ::close(ends[0]);
    try {
      become(who, where, rights);
      body();
      ::_exit(0);
    } catch (const std::exception& failure) {
      const std::string text = failure.what();
      (void)!::write(ends[1], text.data(), text.size());
    }
    ::_exit(1);
  }
  ::close(ends[1]);
  const std::string problem = read_all(ends[0]);
  ::close(ends[0]);
  int status = 0;
  ::waitpid(child, &status, 0);
  if (status != 0) {
    throw std::runtime_error(problem.empty() ? "the child died" : problem);
  }
}

int run(const Words& words, const Redirect& redirect) {
  // A file and not a pipe: a daemon that keeps stderr open must not keep us waiting.
  const int errors = static_cast<int>(
      checked(::open("/tmp", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600), "temporary file in /tmp"));
  const pid_t child = static_cast<pid_t>(checked(::fork(), "fork"));
  if (child == 0) {
    execute(words, redirect.input, redirect.directory, errors);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  std::string text;
  if (code != 0) {
    ::lseek(errors, 0, SEEK_SET);
    text = read_all(errors).substr(0, kMostErrorText);
  }
  ::close(errors);
  if (code != 0 && redirect.expect_success) {
    std::replace(text.begin(), text.end(), '\n', ' ');
    throw std::runtime_error(words.front() + " ended with " + std::to_string(code) + ": " + text);
  }
  return code;
}

pid_t start(const Words& words, const std::string& directory) {
  const pid_t child = static_cast<pid_t>(checked(::fork(), "fork"));
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    execute(words, "", directory, -1);
  }
  return child;
}

void wait_or_kill(pid_t child, double seconds) {
  const double end = now_seconds() + seconds;
  while (::waitpid(child, nullptr, WNOHANG) == 0) {
    if (now_seconds() > end) {
      ::kill(child, SIGKILL);
      ::waitpid(child, nullptr, 0);
      return;
    }
    std::this_thread::sleep_for(kPause);
  }
}

std::vector<pid_t> children() {
  std::vector<pid_t> found;
  DIR* const proc = ::opendir("/proc");
  while (const dirent* const entry = proc != nullptr ? ::readdir(proc) : nullptr) {
    const std::string name = entry->d_name;
    if (name.find_first_not_of("0123456789") != std::string::npos) {
      continue;
    }
    std::ifstream status("/proc/" + name + "/status");
    std::string word;
    while (status >> word) {
      if (pid_t parent = 0; word == "PPid:" && status >> parent && parent == ::getpid()) {
        found.push_back(std::stoi(name));
      }
    }
  }
  if (proc != nullptr) {
    ::closedir(proc);
  }
  return found;
}

Namespace new_namespace(const Identity& who, ShownAs shown) {
  int ready[2] = {-1, -1};
  int mapped[2] = {-1, -1};
  checked(::pipe2(ready, O_CLOEXEC), "pipe");
  checked(::pipe2(mapped, O_CLOEXEC), "pipe");
  const pid_t child = static_cast<pid_t>(checked(::fork(), "fork"));
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::close(ready[0]);
    ::close(mapped[1]);
    try {
      become(who, {}, Rights::kKeep);
      checked(::unshare(CLONE_NEWUSER | CLONE_NEWNS), "unshare");
      (void)!::write(ready[1], "+", 1);
      char answer = 0;
      if (::read(mapped[0], &answer, 1) == 1 &&
          ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0) {
        ::prctl(PR_SET_PDEATHSIG, SIGKILL);
        (void)!::write(ready[1], "+", 1);
        for (;;) {
          ::pause();
        }
      }
    } catch (const std::exception&) {
    }
    ::_exit(1);
  }
  ::close(ready[1]);
  ::close(mapped[0]);
  char answer = 0;
  bool good = ::read(ready[0], &answer, 1) == 1;
  if (good) {
    const std::string base = "/proc/" + std::to_string(child) + "/";
    const auto shown_as = [](gid_t inside, gid_t outside) {
      return std::to_string(inside) + " " + std::to_string(outside) + " 1\n";
    };
    const bool as_root = shown == ShownAs::kRoot;
    if (::geteuid() != 0) {
      write_all(base + "setgroups", "deny");
    }
    write_all(base + "uid_map", shown_as(as_root ? 0 : who.uid, who.uid));
    std::string groups = shown_as(as_root ? 0 : who.gid, who.gid);
    if (who.other_group != who.gid) {
      groups += shown_as(who.other_group, who.other_group);
    }
    write_all(base + "gid_map", groups);
    (void)!::write(mapped[1], "+", 1);
    good = ::read(ready[0], &answer, 1) == 1;
  }
  ::close(ready[0]);
  ::close(mapped[1]);
  if (!good) {
    ::kill(child, SIGKILL);
    ::waitpid(child, nullptr, 0);
    throw std::runtime_error("no user namespace can be made");
  }
  return {.holder = child};
}

double processor_seconds(pid_t process) {
  std::ifstream file("/proc/" + std::to_string(process) + "/stat");
  std::string text((std::istreambuf_iterator<char>(file)), {});
  const std::size_t end = text.rfind(')');
  if (end == std::string::npos) {
    return 0;
  }
  std::istringstream fields(text.substr(end + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) {
    fields >> skipped;
  }
  double user = 0;
  double system = 0;
  fields >> user >> system;
  return (user + system) / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

double status_bytes(pid_t process, const std::string& field) {
  std::ifstream status("/proc/" + std::to_string(process) + "/status");
  std::string word;
  while (status >> word) {
    if (double kibibytes = 0; word == field + ":" && status >> kibibytes) {
      return kibibytes * 1024;
    }
  }
  return 0;
}

bool is_installed(const std::string& program) {
  if (program.find('/') != std::string::npos) {
    return ::access(program.c_str(), X_OK) == 0;
  }
  const char* const path = std::getenv("PATH");
  std::istringstream directories(path != nullptr ? path : "");
  for (std::string directory; std::getline(directories, directory, ':');) {
    if (::access((directory + "/" + program).c_str(), X_OK) == 0) {
      return true;
    }
  }
  return false;
}

double now_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace plyfs::bench
