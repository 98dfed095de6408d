#include "stack.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <exception>
#include <optional>
#include <stdexcept>
#include <thread>
#include <utility>

#include "filesystems.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

constexpr int kEnd_s = 120;  // a limit for hangs only

std::string below(const std::string& directory, const std::string& path) {
  return path.empty() ? directory : directory + "/" + path;
}

bool is_mounted(const std::string& mountpoint) {
  return content("/proc/self/mountinfo").find(" " + mountpoint + " ") != std::string::npos;
}

std::string scratch_of(const std::string& layer) { return layer + "-filesystem"; }

/// How many bind mounts the options ask for.
std::size_t binds_in(const std::string& options) {
  std::size_t count = 0;
  if (is_root() && options.find("volume_mode=fuse") == std::string::npos) {
    for (std::size_t at = 0; (at = options.find("volume=", at)) != std::string::npos; ++at) {
      ++count;
    }
  }
  return count;
}

bool are_bound(const std::string& mountpoint, std::size_t wanted) {
  const std::string mounts = content("/proc/self/mountinfo");
  std::size_t found = 0;
  for (std::size_t at = 0; (at = mounts.find(" " + mountpoint + "/", at)) != std::string::npos;
       ++at) {
    ++found;
  }
  return found >= wanted;
}

/// Waits until `mountpoint` is mounted (true) or `daemon` has ended (false).
bool becomes_mounted(const std::string& mountpoint, std::size_t binds, pid_t daemon) {
  const File mounts("/proc/self/mountinfo", O_RDONLY);
  const File process(static_cast<int>(::syscall(SYS_pidfd_open, daemon, 0)));
  pollfd waits[2] = {{mounts.fd(), POLLPRI, 0}, {process.fd(), POLLIN, 0}};
  while (!is_mounted(mountpoint) || !are_bound(mountpoint, binds)) {
    if ((waits[1].revents & POLLIN) != 0) {
      return false;
    }
    (void)::poll(waits, 2, -1);
  }
  return true;
}

}  // namespace

std::string unmount_fuse(const std::string& mountpoint, bool lazy) {
  if (is_root()) {
    return outcome(::umount2(mountpoint.c_str(), lazy ? MNT_DETACH : 0));
  }
  const Ran ran = run({"fusermount3", lazy ? "-uz" : "-u", mountpoint});
  return ran.exit_code == 0 ? "ok" : ran.err;
}

struct Stack::State {
  std::string root = fresh_directory();
  std::vector<Items> lowers;
  std::optional<Items> upper;
  std::string lower_filesystem;  // empty: the workspace's
  std::string upper_filesystem;
  std::vector<std::unique_ptr<MountedFilesystem>> filesystems;
  std::vector<Dump> lower_dumps;
  Environment environment;
  bool built = false;

  std::optional<System> system;  // mounted as; empty: not mounted
  std::string more_options;
  pid_t daemon = -1;

  [[nodiscard]] std::string layer(std::size_t index) const {
    return root + "/l" + std::to_string(index);
  }

  void make_layer(const std::string& path, const Items& items, const std::string& filesystem) {
    if (!filesystem.empty()) {
      filesystems.push_back(
          std::make_unique<MountedFilesystem>(filesystem, path, scratch_of(path)));
    }
    make_tree(path, items, overlay_prefix());
  }

  void mount_plyfs(const std::string& options) {
    daemon = start({plyfs_program(), "mount", "-f", "-o", options, root + "/mnt"}, environment);
    guard_daemon(daemon);
    if (!becomes_mounted(root + "/mnt", binds_in(options), daemon)) {
      const int code = end_of_daemon();
      throw std::runtime_error("plyfs did not mount: exit code " + std::to_string(code));
    }
    (void)exists(root + "/mnt/.");  // the first answer: now it serves
  }

  int end_of_daemon() {
    const pid_t pid = std::exchange(daemon, -1);
    int code = wait_for(pid, kEnd_s);
    if (code < 0) {
      ::kill(pid, SIGKILL);
      (void)wait_for(pid, kEnd_s);
    }
    release_daemon(pid);
    return code;
  }

  void clean_up() {
    if (daemon > 0) {
      ::kill(daemon, SIGKILL);
      (void)end_of_daemon();
      (void)unmount_fuse(root + "/mnt", true);
    } else if (system && system->is_kernel()) {
      (void)unmount_overlay(root + "/mnt");
    }
    system.reset();
  }

  void check_lowers() const {
    for (std::size_t index = 0; index < lower_dumps.size(); ++index) {
      INFO("lower layer " << index << " must stay as it was");
      CHECK(difference(lower_dumps[index], full_dump(layer(index))).empty());
    }
  }
};

Stack::Stack() : state_(std::make_unique<State>()) {}
Stack::Stack(Stack&&) noexcept = default;

Stack::~Stack() {
  if (!state_) {
    return;
  }
  if (state_->system && std::uncaught_exceptions() == 0) {
    unmount();
  }
  state_->clean_up();
  if (std::uncaught_exceptions() == 0) {
    state_->check_lowers();
  }
  state_->filesystems.clear();
  remove_tree(state_->root);
}

Stack Stack::lower(Items items) && {
  state_->lowers.push_back(std::move(items));
  return std::move(*this);
}

Stack Stack::lowers(const std::vector<Items>& layers) && {
  state_->lowers.insert(state_->lowers.end(), layers.begin(), layers.end());
  return std::move(*this);
}

Stack Stack::upper(Items items) && {
  state_->upper = std::move(items);
  return std::move(*this);
}

Stack Stack::on_filesystems(std::string lower, std::string upper) && {
  state_->lower_filesystem = std::move(lower);
  state_->upper_filesystem = std::move(upper);
  return std::move(*this);
}

void Stack::set_environment(Environment environment) {
  state_->environment = std::move(environment);
}

void Stack::build(const System& system) {
  if (std::exchange(state_->built, true)) {
    return;
  }
  const std::string& root = state_->root;
  for (const char* name : {"/mnt", "/rw"}) {
    (void)call::mkdir(root + name);
  }
  if (system.is_plain()) {
    std::vector<Items> layers = state_->lowers;
    if (state_->upper) {
      layers.insert(layers.begin(), *state_->upper);
    }
    return make_tree(root + "/mnt", merged(layers), overlay_prefix());
  }
  for (std::size_t index = 0; index < state_->lowers.size(); ++index) {
    (void)call::mkdir(state_->layer(index));
    state_->make_layer(state_->layer(index), state_->lowers[index], state_->lower_filesystem);
    state_->lower_dumps.push_back(full_dump(state_->layer(index)));
  }
  if (state_->upper) {
    state_->make_layer(root + "/rw", {dir("upper"), dir("work")}, state_->upper_filesystem);
    make_tree(root + "/rw/upper", *state_->upper, overlay_prefix());
  }
}

std::string Stack::layer_options() const {
  std::string options = "lowerdir=";
  for (std::size_t index = 0; index < state_->lowers.size(); ++index) {
    options += (index == 0 ? "" : ":") + state_->layer(index);
  }
  if (state_->upper) {
    options += ",upperdir=" + upper_path() + ",workdir=" + work_path();
  }
  return options;
}

namespace {

/// The bind mount of a ramfs is now and then busy for a moment after its last user's call returned,
/// with no descriptor, directory or mapping of anybody in it.
std::string unmount_with_volumes(const std::string& mountpoint) {
  constexpr int kAttempts = 100;
  constexpr std::chrono::milliseconds kBetween{20};
  std::string result;
  for (int i = 0; i < kAttempts; ++i) {
    const Ran ran = run({"umount", "-R", mountpoint});
    if (ran.exit_code == 0) {
      return "ok";
    }
    result = "umount -R: " + ran.err;
    std::this_thread::sleep_for(kBetween);
  }
  return result;
}

}  // namespace

void Stack::mount(const System& system, const std::string& more_options) {
  build(system);
  std::string options = layer_options();
  const char* const everywhere = system.is_plyfs() ? std::getenv("PLYFS_TEST_OPTIONS") : nullptr;
  for (const std::string& more :
       {system.options, std::string{everywhere != nullptr ? everywhere : ""}, more_options}) {
    options += more.empty() ? "" : "," + more;
  }
  state_->more_options = more_options;
  if (system.is_kernel()) {
    if (const std::string result = mount_overlay(mountpoint(), options); result != "ok") {
      throw std::runtime_error("the kernel did not mount " + options + ": " + result);
    }
  } else if (system.is_plyfs()) {
    state_->mount_plyfs(options);
  }
  state_->system = system;
}

void Stack::unmount() {
  if (!state_->system) {
    return;
  }
  const System system = *std::exchange(state_->system, std::nullopt);
  if (system.is_kernel()) {
    CHECK(unmount_overlay(mountpoint()) == "ok");
  } else if (system.is_plyfs()) {
    // Bind mounts of volumes lie on it.
    const bool volumes = is_root() && state_->more_options.find("volume=") != std::string::npos;
    const std::string result =
        volumes ? unmount_with_volumes(mountpoint()) : unmount_fuse(mountpoint(), false);
    CHECK(result == "ok");
    if (result != "ok") {
      (void)unmount_fuse(mountpoint(), true);
    }
    INFO("the daemon must end by itself after umount");
    CHECK(state_->end_of_daemon() == 0);
  }
}

void Stack::remount() {
  if (!state_->system || state_->system->is_plain()) {
    return;
  }
  const System system = *state_->system;
  unmount();
  mount(system, state_->more_options);
}

void Stack::crash() {
  ::kill(state_->daemon, SIGKILL);
  (void)await_death();
}

int Stack::await_death() {
  const int code = state_->end_of_daemon();
  (void)unmount_fuse(mountpoint(), true);
  state_->system.reset();
  return code;
}

std::string Stack::operator()(const std::string& path) const {
  const bool elsewhere = state_->system && state_->system->is_kernel();
  return below(elsewhere ? seen_overlay(mountpoint()) : mountpoint(), path);
}

std::string Stack::upper_path(const std::string& path) const {
  return below(state_->root + "/rw/upper", path);
}
std::string Stack::work_path(const std::string& path) const {
  return below(state_->root + "/rw/work", path);
}
std::string Stack::lower_path(std::size_t layer, const std::string& path) const {
  return below(state_->layer(layer), path);
}
std::string Stack::upper_scratch() const { return scratch_of(state_->root + "/rw"); }
std::string Stack::mountpoint() const { return state_->root + "/mnt"; }
std::string Stack::directory() const { return state_->root; }
Picture Stack::upper_picture() const { return plyfs::tests::upper_picture(upper_path()); }
Picture Stack::left_overs() const {
  if (!exists(work_path("work")) || call::access(work_path("work"), R_OK) != "ok") {
    return {};  // the kernel's own, closed to the user who mounted
  }
  Picture lines = plyfs::tests::upper_picture(work_path("work"));
  // Unions keep one whiteout to link others from.
  std::erase_if(lines, [](const std::string& line) { return line.ends_with("(whiteout)"); });
  return lines;
}
pid_t Stack::daemon() const { return state_->daemon; }

}  // namespace plyfs::tests
