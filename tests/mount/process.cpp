#include "process.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <stdexcept>

#include "call.h"

namespace plyfs::tests {
namespace {

std::array<std::atomic<pid_t>, 16> guarded_daemons;

void on_alarm(int /*signal*/) {
  constexpr char kMessage[] = "\nWATCHDOG: the test hangs; killing its daemons\n";
  (void)!::write(STDERR_FILENO, kMessage, sizeof(kMessage) - 1);
  for (auto& pid : guarded_daemons) {
    if (pid.load() > 0) {
      ::kill(pid.load(), SIGKILL);
    }
  }
}

int code_of(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

[[noreturn]] void execute(const Arguments& command) {
  std::vector<char*> argv;
  argv.reserve(command.size() + 1);
  for (const std::string& argument : command) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  ::execvp(argv[0], argv.data());
  ::_exit(127);
}

struct Pipe {
  File read_end;
  File write_end;
};

Pipe make_pipe() {
  int ends[2] = {-1, -1};
  if (::pipe2(ends, O_CLOEXEC) != 0) {
    throw std::runtime_error("pipe: " + outcome(-1));
  }
  return {File(ends[0]), File(ends[1])};
}

constexpr int kOutputLimit_s = 120;  // a limit for hangs: somebody keeps the pipe open

void read_both(const File& first, std::string& first_text, const File& second,
               std::string& second_text) {
  std::array<pollfd, 2> waits = {{{first.fd(), POLLIN, 0}, {second.fd(), POLLIN, 0}}};
  const std::array<std::string*, 2> texts = {&first_text, &second_text};
  while (waits[0].fd >= 0 || waits[1].fd >= 0) {
    const int ready = ::poll(waits.data(), waits.size(), kOutputLimit_s * 1000);
    if (ready == 0) {
      second_text += "<nobody closes the output>";
      return;
    }
    if (ready < 0 && errno != EINTR) {
      return;
    }
    for (std::size_t index = 0; index < waits.size(); ++index) {
      if (waits[index].fd < 0 || waits[index].revents == 0) {
        continue;
      }
      std::array<char, 4096> buffer = {};
      const ssize_t size = ::read(waits[index].fd, buffer.data(), buffer.size());
      if (size > 0) {
        texts[index]->append(buffer.data(), static_cast<std::size_t>(size));
      } else {
        waits[index].fd = -1;
      }
    }
  }
}

pid_t forked() {
  const pid_t pid = ::fork();
  if (pid < 0) {
    throw std::runtime_error("fork: " + outcome(-1));
  }
  return pid;
}

std::string read_to_end(const File& file) {
  std::string text;
  std::array<char, 4096> buffer = {};
  for (;;) {
    const ssize_t size = ::read(file.fd(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) {
      continue;
    }
    if (size <= 0) {
      return text;
    }
    text.append(buffer.data(), static_cast<std::size_t>(size));
  }
}

}  // namespace

Ran run(const Arguments& command, const std::string& directory) {
  Pipe out = make_pipe();
  Pipe err = make_pipe();
  const pid_t pid = forked();
  if (pid == 0) {
    const File nothing("/dev/null", O_RDONLY);
    ::dup2(nothing.fd(), STDIN_FILENO);
    ::dup2(out.write_end.fd(), STDOUT_FILENO);
    ::dup2(err.write_end.fd(), STDERR_FILENO);
    if (!directory.empty() && ::chdir(directory.c_str()) != 0) {
      ::_exit(126);
    }
    execute(command);
  }
  (void)out.write_end.close();
  (void)err.write_end.close();
  Ran result;
  read_both(out.read_end, result.out, err.read_end, result.err);
  int wait_status = 0;
  while (::waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
  }
  result.exit_code = code_of(wait_status);
  return result;
}

std::string in_child(const std::function<std::string()>& body) {
  Pipe answer = make_pipe();
  const pid_t pid = forked();
  if (pid == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)answer.write_end.write(body());
    ::_exit(0);
  }
  (void)answer.write_end.close();
  std::string text = read_to_end(answer.read_end);
  int wait_status = 0;
  while (::waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
  }
  return code_of(wait_status) == 0 ? text : "<died>";
}

std::string as_user(uid_t uid, gid_t gid, const std::function<std::string()>& body) {
  return in_child([&]() -> std::string {
    if (::setgroups(0, nullptr) != 0 || ::setresgid(gid, gid, gid) != 0 ||
        ::setresuid(uid, uid, uid) != 0) {
      return "<cannot become user>";
    }
    return body();
  });
}

pid_t start(const Arguments& command, const Environment& environment) {
  const pid_t pid = forked();
  if (pid == 0) {
    for (const auto& [name, value] : environment) {
      ::setenv(name.c_str(), value.c_str(), 1);
    }
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    const File nothing("/dev/null", O_RDONLY);
    ::dup2(nothing.fd(), STDIN_FILENO);
    execute(command);
  }
  return pid;
}

int wait_for(pid_t pid, int limit_s) {
  const File process(static_cast<int>(::syscall(SYS_pidfd_open, pid, 0)));
  pollfd wait = {process.fd(), POLLIN, 0};
  int ready = 0;
  do {
    ready = ::poll(&wait, 1, limit_s * 1000);
  } while (ready < 0 && errno == EINTR);
  if (ready == 0) {
    return -1;
  }
  int wait_status = 0;
  while (::waitpid(pid, &wait_status, 0) < 0 && errno == EINTR) {
  }
  return code_of(wait_status);
}

Watchdog::Watchdog(unsigned limit_s) {
  struct sigaction action = {};
  action.sa_handler = on_alarm;
  ::sigaction(SIGALRM, &action, nullptr);
  ::alarm(limit_s);
}

Watchdog::~Watchdog() { ::alarm(0); }

void guard_daemon(pid_t pid) {
  for (auto& slot : guarded_daemons) {
    pid_t empty = 0;
    if (slot.compare_exchange_strong(empty, pid)) {
      return;
    }
  }
}

void release_daemon(pid_t pid) {
  for (auto& slot : guarded_daemons) {
    pid_t expected = pid;
    slot.compare_exchange_strong(expected, 0);
  }
}

void adopt_orphans() { ::prctl(PR_SET_CHILD_SUBREAPER, 1); }

std::vector<pid_t> children() {
  std::vector<pid_t> found;
  const std::string self = std::to_string(::getpid());
  for (const std::string& name : names_in("/proc")) {
    if (name.find_first_not_of("0123456789") != std::string::npos) {
      continue;
    }
    // "PID (NAME) STATE PPID ..."; a name may hold anything, so look behind its bracket.
    const std::string status = content("/proc/" + name + "/stat");
    const std::size_t bracket = status.rfind(") ");
    if (bracket != std::string::npos &&
        status.compare(bracket + 4, self.size() + 1, self + " ") == 0) {
      found.push_back(std::stoi(name));
    }
  }
  return found;
}

bool is_root() {
  static const bool kRoot = ::geteuid() == 0;
  return kRoot;
}

void drop_caches() {
  ::sync();
  File knob("/proc/sys/vm/drop_caches", O_WRONLY);
  if (knob.write("3") != "ok") {
    throw std::runtime_error("cannot write /proc/sys/vm/drop_caches");
  }
}

}  // namespace plyfs::tests
