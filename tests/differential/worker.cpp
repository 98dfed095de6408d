#include "worker.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <new>
#include <vector>

namespace plyfs::difftest {
namespace {

std::atomic<int> running_worker{0};

/// Progress in memory that survives the worker.
class SharedProgress {
 public:
  SharedProgress() {
    void* memory = ::mmap(nullptr, sizeof(Progress), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) std::abort();
    progress_ = new (memory) Progress;
  }
  ~SharedProgress() { ::munmap(progress_, sizeof(Progress)); }
  SharedProgress(const SharedProgress&) = delete;
  SharedProgress& operator=(const SharedProgress&) = delete;
  [[nodiscard]] Progress& get() const { return *progress_; }

 private:
  Progress* progress_ = nullptr;
};

void write_all(int descriptor, const std::string& bytes) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t written = ::write(descriptor, bytes.data() + done, bytes.size() - done);
    if (written <= 0) return;
    done += static_cast<std::size_t>(written);
  }
}

void copy_trees(const std::string& from, const std::string& to) {
  const pid_t copier = ::fork();
  if (copier == 0) {
    ::execlp("cp", "cp", "-a", from.c_str(), to.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  ::waitpid(copier, nullptr, 0);
}

[[noreturn]] void work(const WorkerOptions& options, const Task& task, Progress& progress,
                       int report) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  std::signal(SIGINT, SIG_DFL);
  std::signal(SIGTERM, SIG_DFL);
  std::signal(SIGPIPE, SIG_DFL);
  std::optional<Difference> found;
  if (::mount("", "/", nullptr, MS_REC | MS_PRIVATE, nullptr) != 0 ||
      (options.own_tmpfs &&
       ::mount("difftest", options.base.c_str(), "tmpfs", 0, "size=256m,mode=0755") != 0)) {
    found = Difference{"broken/mount", std::string{"tmpfs: "} + std::strerror(errno) + "\n"};
  } else {
    found = task(options.base, progress);
  }
  if (found) write_all(report, found->key + '\0' + found->text);
  if (found && !options.keep.empty()) copy_trees(options.base, options.keep);
  ::_exit(found ? 1 : 0);
}

/// Processes whose parent is `parent`, as this process sees them.
std::vector<pid_t> children_of(pid_t parent) {
  std::vector<pid_t> children;
  const std::string number = std::to_string(parent);
  std::ifstream list{"/proc/" + number + "/task/" + number + "/children"};
  for (pid_t child = 0; list >> child;) children.push_back(child);
  return children;
}

void kill_descendants(pid_t parent) {
  for (const pid_t child : children_of(parent)) {
    kill_descendants(child);
    ::kill(child, SIGKILL);
  }
}

/// Ends a hanging worker: first the daemons it waits for, then itself, then the FUSE connection.
void end_worker(pid_t worker, unsigned connection) {
  kill_descendants(worker);
  ::kill(worker, SIGKILL);
  if (connection == 0) return;
  const std::string abort = "/sys/fs/fuse/connections/" + std::to_string(connection) + "/abort";
  const int descriptor = ::open(abort.c_str(), O_WRONLY | O_CLOEXEC);
  if (descriptor < 0) return;
  write_all(descriptor, "1");
  ::close(descriptor);
}

/// Reads until the end or the limit. False when the limit came first.
bool read_report(int report, int limit_s, std::string& text) {
  timespec start{};
  ::clock_gettime(CLOCK_MONOTONIC, &start);
  std::array<char, 4096> buffer{};
  for (;;) {
    timespec now{};
    ::clock_gettime(CLOCK_MONOTONIC, &now);
    const auto left = static_cast<int>((limit_s - (now.tv_sec - start.tv_sec)) * 1000);
    pollfd event{report, POLLIN, 0};
    const int ready = ::poll(&event, 1, left > 0 ? left : 0);
    if (ready == 0) return false;
    if (ready < 0) {
      if (errno == EINTR) continue;
      return true;
    }
    const ssize_t length = ::read(report, buffer.data(), buffer.size());
    if (length <= 0) return true;
    text.append(buffer.data(), static_cast<std::size_t>(length));
  }
}

std::optional<Difference> verdict(int status, const std::string& text, const Progress& progress) {
  const std::string where = "operation " + std::to_string(progress.operation.load());
  if (WIFSIGNALED(status)) {
    return Difference{"broken/crash", "the worker was ended by signal " +
                                          std::to_string(WTERMSIG(status)) + " at " + where + "\n"};
  }
  const std::size_t split = text.find('\0');
  if (split != std::string::npos) return Difference{text.substr(0, split), text.substr(split + 1)};
  if (WEXITSTATUS(status) == 0) return std::nullopt;
  return Difference{"broken/exit", "the worker exited with " + std::to_string(WEXITSTATUS(status)) +
                                       " at " + where + "\n"};
}

void empty_directory(const std::string& path) {
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator{path, ignored}) {
    std::filesystem::remove_all(entry.path(), ignored);
  }
}

}  // namespace

int current_worker() { return running_worker; }

std::optional<Difference> run_in_worker(const WorkerOptions& options, const Task& task) {
  const SharedProgress progress;
  std::array<int, 2> report{};
  if (::pipe2(report.data(), O_CLOEXEC) != 0) return Difference{"broken/pipe", "pipe2 failed\n"};
  std::fflush(nullptr);
  // The raw call: fork with new namespaces in one step, so that the worker is process 1 of its own
  // and the kernel ends everything it started together with it.
  const long worker = ::syscall(SYS_clone, CLONE_NEWPID | CLONE_NEWNS | SIGCHLD, 0, 0, 0, 0);
  if (worker < 0) {
    return Difference{"broken/clone", std::string{"clone: "} + std::strerror(errno) + "\n"};
  }
  if (worker == 0) {
    ::close(report[0]);
    work(options, task, progress.get(), report[1]);
  }
  ::close(report[1]);
  const auto pid = static_cast<pid_t>(worker);
  running_worker = pid;
  std::string text;
  const bool in_time = read_report(report[0], options.limit_s, text);
  if (!in_time) end_worker(pid, progress.get().connection);
  int status = 0;
  while (::waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  running_worker = 0;
  ::close(report[0]);
  if (!options.own_tmpfs) empty_directory(options.base);
  if (in_time) return verdict(status, text, progress.get());
  return Difference{"broken/hang", "no end within " + std::to_string(options.limit_s) +
                                       " s, stopped at operation " +
                                       std::to_string(progress.get().operation.load()) + "\n"};
}

}  // namespace plyfs::difftest
