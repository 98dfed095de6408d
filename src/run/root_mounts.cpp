#include "run/root_mounts.h"

#include <algorithm>
#include <filesystem>
#include <system_error>

#include "sys/sandbox/mounts.h"

namespace plyfs::run {
namespace {

namespace fs = std::filesystem;
using sys::sandbox::Step;
using sys::sandbox::Trouble;

/// /tmp and /run come first, those asked for follow.
std::vector<Tmpfs> all_tmpfs(const RunOptions& options) {
  std::vector<Tmpfs> all{{"/tmp", "mode=1777"}, {"/run", "mode=755"}};
  for (const Tmpfs& asked : options.tmpfs) {
    std::erase_if(all, [&](const Tmpfs& t) { return t.destination == asked.destination; });
    all.push_back(asked);
  }
  return all;
}

}  // namespace

Step make_stage(const Stage& stage, const RunOptions& options, bool tty_group) {
  if (Step wrong = sys::sandbox::mount_stage(stage.path)) {
    return wrong;
  }
  const std::vector<Tmpfs> memories = all_tmpfs(options);
  std::vector<std::string> directories{stage.root(), stage.lower(), stage.proc(),
                                       stage.path + "/dev"};
  for (std::size_t i = 0; i < memories.size(); ++i) {
    directories.push_back(stage.memory(i));
  }
  for (const std::string& directory : directories) {
    std::error_code error;
    fs::create_directory(directory, error);
    if (error) {
      return Trouble{"cannot make", directory, Errno{error.value()}};
    }
  }
  for (std::size_t i = 0; i < memories.size(); ++i) {
    if (Step wrong = sys::sandbox::mount_tmpfs(stage.memory(i), memories[i].options)) {
      return wrong;
    }
  }
  return options.host_devices ? Step{} : sys::sandbox::make_devices(stage.path + "/dev", tty_group);
}

void add_root_mounts(const Stage& stage, const RunOptions& options,
                     std::vector<VolumeMount>& volumes) {
  const std::vector<VolumeMount> own = volumes;
  const auto add = [&](const std::string& source, const std::string& destination, bool read_only) {
    const bool taken = std::ranges::any_of(
        own, [&](const VolumeMount& volume) { return volume.destination == destination; });
    if (!taken) {
      VolumeMount mount;
      mount.source = source;
      mount.destination = destination;
      mount.read_only = read_only;
      volumes.push_back(std::move(mount));
    }
  };
  add(stage.proc(), "/proc", false);
  add(options.host_devices ? "/dev" : stage.path + "/dev", "/dev", false);
  add("/sys", "/sys", true);
  const std::vector<Tmpfs> memories = all_tmpfs(options);
  for (std::size_t i = 0; i < memories.size(); ++i) {
    add(stage.memory(i), memories[i].destination, false);
  }
  std::error_code error;
  for (const char* file : {"/etc/resolv.conf", "/etc/hosts"}) {
    const bool wanted = !options.own_network || std::string_view{file} == "/etc/hosts";
    if (wanted && fs::is_regular_file(file, error)) {
      add(file, file, true);
    }
  }
}

}  // namespace plyfs::run
