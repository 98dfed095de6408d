// plyfs-bench-mirror: the least FUSE filesystem, with plyfs's own way of serving requests. Beside
// plyfs it shows what of the time is FUSE's. For benchmarks only: it serves the user who mounts it,
// takes it that nobody else changes the directory, and gives each name of a hard-linked file an
// inode of its own, unless the name was made by link(2) through it.
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>
#include <utility>
#include <variant>

#include "fuse/session.h"
#include "mirror.h"
#include "sys/daemon.h"
#include "sys/fuse_device.h"
#include "sys/layer_root.h"
#include "sys/limits.h"
#include "sys/object_xattr.h"
#include "sys/open.h"

namespace plyfs::mirror {
namespace {

constexpr std::size_t kOtherFiles = 2048;  // directories, and what is open without a name
constexpr std::size_t kMostFiles = 1U << 16U;
constexpr const char* kUsage =
    "usage: plyfs-bench-mirror [-f] [-o OPTION,...] DIRECTORY MOUNTPOINT\n"
    "Shows DIRECTORY at MOUNTPOINT. Options: uring=on|off, follow=on|off, threads=N, live=on|off\n"
    "(others change DIRECTORY), and those of libfuse. -f: stay in the foreground.\n";

std::atomic<fuse::Session*> running_session{nullptr};

void on_stop_signal(int /*signal*/) {
  if (fuse::Session* const session = running_session.load()) {
    session->stop();
  }
}

struct Arguments {
  bool foreground = false;
  bool live = false;
  std::string source;
  fuse::SessionOptions session;
};

bool take_option(const std::string& word, Arguments& arguments) {
  fuse::SessionOptions& session = arguments.session;
  if (word == "live=on" || word == "live=off") {
    arguments.live = word == "live=on";
  } else if (word == "uring=on" || word == "uring=off") {
    session.use_rings = word == "uring=on";
  } else if (word == "follow=on" || word == "follow=off") {
    session.follow_callers = word == "follow=on";
  } else if (word.starts_with("threads=")) {
    session.threads = static_cast<unsigned>(std::strtoul(word.c_str() + 8, nullptr, 10));
    return session.threads > 0;
  } else if (!word.empty()) {
    session.words.push_back(word);
  }
  return true;
}

bool parse(int count, char** words, Arguments& arguments) {
  std::vector<std::string> places;
  for (int i = 1; i < count; ++i) {
    const std::string word = words[i];
    if (word == "-f") {
      arguments.foreground = true;
    } else if (word == "-o" && i + 1 < count) {
      const std::string list = std::string{words[++i]} + ',';
      for (std::size_t at = 0; at < list.size();) {
        const std::size_t end = list.find(',', at);
        if (!take_option(list.substr(at, end - at), arguments)) {
          return false;
        }
        at = end + 1;
      }
    } else if (!word.empty() && word[0] == '-') {
      return false;
    } else {
      places.push_back(word);
    }
  }
  if (places.size() != 2) {
    return false;
  }
  arguments.source = places[0];
  arguments.session.mountpoint = places[1];
  return true;
}

int fail(sys::Daemon& daemon, const std::string& what, Errno error) {
  const std::string line = "plyfs-bench-mirror: " + what + ": " + error.message();
  if (!daemon.fail(line, 1)) {
    (void)std::fprintf(stderr, "%s\n", line.c_str());
  }
  return 1;
}

bool has_acl(int directory) {
  const auto got =
      sys::get_xattr_raw({sys::BorrowedFd{directory}, ""}, "system.posix_acl_access", nullptr, 0);
  return got || got.error() == ENODATA;
}

/// As Mount::learn_opens(): without it each created file costs a RELEASE.
void learn_opens(const std::string& mountpoint) {
  const auto root = sys::open_directory_path(mountpoint.c_str());
  const auto file =
      root ? sys::create_unnamed(root->borrow(), 0600) : Result<sys::UniqueFd>{root.error()};
  if (file) {
    (void)sys::open_file({file->borrow(), ""}, sys::Access::kRead);
  }
}

/// What the kernel has not forgotten when it unmounts.
Status settle_all(Mirror& mirror) {
  Status all;
  mirror.nodes.for_each([&](Node& node) {
    if (node.parent != nullptr || node.has_links) {
      if (const Status settled = settle_mtime(mirror, node); !settled) {
        all = settled;
      }
    }
  });
  return all;
}

int serve_mount(Arguments arguments, sys::Daemon daemon) {
  const std::size_t limit = sys::raise_limits();
  Mirror mirror;
  mirror.most_files = std::min(limit > kOtherFiles ? limit - kOtherFiles : 0, kMostFiles);
  sys::reserve_fds(std::min(limit, kMostFiles));
  mirror.timeout_s = kForever_s;
  mirror.live = mirror.live_volumes = arguments.live;
  mirror.writeback = !arguments.live;
  if (arguments.live) {
    mirror.nodes.show_times_of_files();
  }
  auto source = sys::open_layer_root(arguments.source);
  auto listing = source ? sys::open_listing({source->borrow(), ""}) : std::move(source);
  if (!listing) {
    return fail(daemon, arguments.source, listing.error());
  }
  mirror.acl = has_acl(listing->borrow().get());
  mirror.nodes.root().file(Slot::kPlace) = listing->release();
  auto absolute = sys::absolute_path(arguments.session.mountpoint);
  if (!absolute) {
    return fail(daemon, arguments.session.mountpoint, absolute.error());
  }
  arguments.session.mountpoint = *absolute;
  arguments.session.operations = &callbacks();
  arguments.session.words.emplace_back("fsname=plyfs-bench-mirror");
  if (arguments.session.threads == 0) {
    arguments.session.threads =
        arguments.live ? 1 : std::clamp(std::thread::hardware_concurrency(), 2U, 8U);
  }
  auto session = fuse::Session::make(arguments.session, mirror);
  if (!session) {
    return fail(daemon, "the options", session.error());
  }
  (void)daemon.leave_directory();
  if (const Status mounted = (*session)->mount(); !mounted) {
    return fail(daemon, *absolute, mounted.error());
  }
  running_session = session->get();
  const Status served = (*session)->serve([&] {
    if (!arguments.foreground) {
      learn_opens(*absolute);
    }
    if (!daemon.ready()) {
      (*session)->stop();
    }
  });
  running_session = nullptr;
  if (!served) {
    return fail(daemon, "serving", served.error());
  }
  const Status settled = settle_all(mirror);
  return settled ? 0 : fail(daemon, "mtimes", settled.error());
}

void catch_signals() {
  struct sigaction stop = {};
  stop.sa_handler = on_stop_signal;
  stop.sa_flags = SA_RESTART;
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) {
    (void)::sigaction(signal, &stop, nullptr);
  }
  (void)std::signal(SIGPIPE, SIG_IGN);
}

int run_program(int count, char** words) {
  Arguments arguments;
  arguments.session.threads = 0;
  if (count == 2 && std::string{words[1]} == "--version") {
    (void)std::printf("plyfs-bench-mirror " PLYFS_VERSION "\n");
    return 0;
  }
  if (!parse(count, words, arguments)) {
    (void)std::fputs(kUsage, stderr);
    return 1;
  }
  catch_signals();
  if (arguments.foreground) {
    return serve_mount(std::move(arguments), sys::Daemon::in_foreground());
  }
  auto started = sys::Daemon::start(sys::InheritedFiles::kClose);
  if (!started) {
    (void)std::fprintf(stderr, "plyfs-bench-mirror: fork: %s\n", started.error().message().c_str());
    return 1;
  }
  if (const auto* const report = std::get_if<sys::Daemon::Report>(&*started)) {
    if (!report->message.empty()) {
      (void)std::fprintf(stderr, "%s\n", report->message.c_str());
    }
    return report->lost ? 1 : report->exit_code;
  }
  return serve_mount(std::move(arguments), std::get<sys::Daemon>(*std::move(started)));
}

}  // namespace
}  // namespace plyfs::mirror

int main(int count, char** words) {
  (void)plyfs::sys::fill_standard_descriptors();
  return plyfs::mirror::run_program(count, words);
}
