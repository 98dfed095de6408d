// plyfs-bench: plyfs beside everything else on this machine that does similar work.
#include <grp.h>
#include <pwd.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <array>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <stdexcept>

#include "runner.h"

namespace plyfs::bench {
namespace {

namespace fs = std::filesystem;

constexpr double kQuickScale = 0.01;
constexpr const char* kFirstUser = "plyfs-test";

struct Options {
  Settings settings;
  std::vector<std::string> named_systems;  ///< NAME=PATH
  std::string user;
  std::string json;
  std::string markdown;
  std::string chart;
  bool quick = false;
  bool list = false;
};

extern "C" void on_interrupt(int) { interrupted = true; }

volatile pid_t the_child = 0;
extern "C" void on_interrupt_of_parent(int) {
  interrupted = true;
  ::kill(the_child, SIGKILL);
}

void catch_signals(void (*handler)(int)) {
  for (const int number : {SIGINT, SIGTERM, SIGHUP}) {
    struct sigaction action = {};
    action.sa_handler = handler;
    ::sigaction(number, &action, nullptr);
  }
}

// Root measures as somebody else, because that is who uses such mounts.
Identity identity_of(const std::string& name) {
  if (::geteuid() != 0) {
    return {.uid = ::getuid(), .gid = ::getgid(), .other_group = ::getgid()};
  }
  const passwd* entry = ::getpwnam(name.empty() ? kFirstUser : name.c_str());
  if (entry == nullptr && name.empty()) {
    entry = ::getpwnam("nobody");
  }
  if (entry == nullptr || entry->pw_uid == 0) {
    throw std::runtime_error("--user: " + name + ": no such user, or root");
  }
  return {.uid = entry->pw_uid, .gid = entry->pw_gid, .other_group = entry->pw_gid + 1};
}

std::string program_beside(const std::string& given) {
  if (!given.empty()) {
    return fs::absolute(given).string();
  }
  std::error_code failed;
  const fs::path self = fs::read_symlink("/proc/self/exe", failed);
  for (const fs::path& place : {self.parent_path(), self.parent_path().parent_path()}) {
    if (fs::exists(place / "plyfs")) {
      return (place / "plyfs").string();
    }
  }
  return "plyfs";
}

void list_everything() {
  std::cout << "Systems:\n";
  for (const System& system : known_systems("plyfs")) {
    std::printf("  %-20s %s\n", system.name.c_str(), system.title.c_str());
  }
  std::cout << "Workloads (\"io\" and \"peers\" are the two tables without those marked *; \"all\" "
               "is all):\n";
  for (const Workload& workload : all_workloads(1)) {
    std::printf("  %-20s %s", workload.name.c_str(), workload.when == When::kOnRequest ? "* " : "");
    for (const Row& row : workload.rows) {
      std::printf("%s%s", &row == workload.rows.data() ? "" : "; ", row.title.c_str());
    }
    std::printf("\n");
  }
}

void write_file(const std::string& path, const std::string& text) {
  if (path == "-") {
    std::cout << text;
    return;
  }
  std::ofstream out(path);
  out << text << std::flush;
  if (!out) {
    throw std::runtime_error("cannot write: " + path);
  }
}

void draw(const Results& results, const std::string& file, const std::string& base) {
  if (!is_installed("gnuplot")) {
    throw std::runtime_error("--chart needs gnuplot; on Debian: apt install gnuplot-nox");
  }
  const std::string script = base + ".gnuplot";
  const std::string commands = to_gnuplot(results, fs::absolute(file).string());
  if (commands.empty()) {
    throw std::runtime_error("--chart shows ratios to overlayfs, and there is no figure of it");
  }
  write_file(script, commands);
  run({"gnuplot", script});
  fs::remove(script);
}

void measure_and_report(const Options& options, const std::string& base) {
  // A daemon that goes to the background becomes our child: its end can be waited for.
  checked(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "become subreaper");
  const Results results = run_benchmark(options.settings, base);
  for (const std::string& failure : results.failures) {
    std::fprintf(stderr, "plyfs-bench: not measured: %s\n", failure.c_str());
  }
  if (!options.json.empty()) {
    write_file(options.json, to_json(results));
  }
  write_file(options.markdown.empty() ? "-" : options.markdown, to_markdown(results));
  if (!options.chart.empty()) {
    draw(results, options.chart, base);
  }
}

int measure_guarded(const Options& options, const std::string& base) {
  try {
    measure_and_report(options, base);
    return 0;
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "plyfs-bench: %s\n", failure.what());
    return 2;
  }
}

// Root's children live in mount and process namespaces of their own: when the first of them is
// killed, so are all daemons, and every mount goes with them.
int measure_in_namespaces(const Options& options, const std::string& base) {
  checked(::unshare(CLONE_NEWNS | CLONE_NEWPID), "unshare");
  checked(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make mounts private");
  const pid_t child = static_cast<pid_t>(checked(::fork(), "fork"));
  if (child == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    catch_signals(on_interrupt);
    int result = 2;
    if (::mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, nullptr) != 0) {
      std::perror("plyfs-bench: mount /proc");
    } else {
      result = measure_guarded(options, base);
    }
    std::fflush(stdout);
    std::cout.flush();
    ::_exit(result);
  }
  the_child = child;
  catch_signals(on_interrupt_of_parent);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  (void)::umount2(base.c_str(), MNT_DETACH);  // this process is in that namespace, too
  return WIFEXITED(status) ? WEXITSTATUS(status) : 130;
}

int measure(const Options& options) {
  std::string base = (fs::temp_directory_path() / "plyfs-bench-XXXXXX").string();
  if (::mkdtemp(base.data()) == nullptr) {
    throw std::runtime_error("no directory can be made in " + fs::temp_directory_path().string());
  }
  int result = 0;
  if (::geteuid() == 0) {
    checked(::chmod(base.c_str(), 0755), "chmod");
    result = measure_in_namespaces(options, base);
  } else {
    catch_signals(on_interrupt);
    result = measure_guarded(options, base);
  }
  std::error_code ignored;
  fs::remove_all(base, ignored);
  if (interrupted) {
    std::fprintf(stderr, "plyfs-bench: interrupted; everything is unmounted and removed\n");
    return 130;
  }
  return result;
}

void describe(CLI::App& app, Options& options) {
  Settings& settings = options.settings;
  app.set_version_flag("--version", "plyfs-bench " PLYFS_VERSION);
  app.add_option("--systems", settings.systems, "which systems, separated by commas; default: all")
      ->delimiter(',');
  app.add_option("--system", options.named_systems,
                 "NAME=PATH: one more program that understands fuse-overlayfs's command line");
  app.add_option("--workloads", settings.workloads,
                 "which workloads, separated by commas; \"io\", \"peers\", \"all\"")
      ->delimiter(',');
  app.add_option("--rounds", settings.rounds, "how often each is measured")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  app.add_option("--fs", settings.medium, "put all layers on tmpfs, or all on ext4")
      ->check(CLI::IsMember({"tmpfs", "ext4"}));
  app.add_option("--limit", settings.limit_s, "seconds until one workload is given up")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  app.add_option("--budget", settings.budget_s,
                 "seconds after which no further workload is begun; default: no end")
      ->check(CLI::Range(1, 1000000));
  app.add_option("--plyfs", settings.plyfs, "the program; default: the one built with this");
  app.add_option("--user", options.user, "by root: who mounts and works; default: plyfs-test");
  app.add_option("--json", options.json, "write all samples to this file");
  app.add_option("--markdown", options.markdown, "write the tables to this file instead of stdout");
  app.add_option("--chart", options.chart, "draw ratios to overlayfs: FILE.svg or FILE.png");
  app.add_flag("--quick", options.quick,
               "tiny sizes and two rounds: tries everything, says nothing");
  app.add_flag("--list", options.list, "list systems and workloads");
  app.footer(
      "Examples:\n"
      "  sudo plyfs-bench                            the two main tables, some minutes\n"
      "  sudo plyfs-bench --workloads io --chart io.svg --json io.json\n"
      "  plyfs-bench --systems plain,plyfs,fuse-overlayfs --workloads create,rm\n"
      "Without root there are no cold caches and no kernel mounts to compare with.");
}

int run_program(int count, char** words) {
  Options options;
  CLI::App app{"Compares plyfs with other filesystems on this machine.", "plyfs-bench"};
  describe(app, options);
  try {
    app.parse(count, words);
  } catch (const CLI::ParseError& failure) {
    return app.exit(failure) == 0 ? 0 : 1;
  }
  if (options.list) {
    list_everything();
    return 0;
  }
  Settings& settings = options.settings;
  for (const std::string& each : options.named_systems) {
    const std::size_t equals = each.find('=');
    if (equals == std::string::npos || equals == 0) {
      std::fprintf(stderr, "plyfs-bench: --system: %s: not of the form NAME=PATH\n", each.c_str());
      return 1;
    }
    System more;
    more.name = each.substr(0, equals);
    more.title = each.substr(equals + 1);
    more.kind = SystemKind::kFuseOverlayfs;
    more.program = fs::absolute(each.substr(equals + 1)).string();
    settings.more_systems.push_back(more);
  }
  settings.user = identity_of(options.user);
  settings.plyfs = program_beside(settings.plyfs);
  settings.show_progress = ::isatty(STDERR_FILENO) != 0;
  settings.command = "plyfs-bench";
  for (int i = 1; i < count; ++i) {
    settings.command += std::string(" ") + words[i];
  }
  if (options.quick) {
    settings.scale = kQuickScale;
    settings.rounds = std::min(settings.rounds, 2U);
  }
  return measure(options);
}

}  // namespace
}  // namespace plyfs::bench

int main(int count, char** words) {
  try {
    return plyfs::bench::run_program(count, words);
  } catch (const std::exception& failure) {
    std::fprintf(stderr, "plyfs-bench: %s\n", failure.what());
    return 2;
  }
}
