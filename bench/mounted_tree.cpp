#include "mounted_tree.h"

#include <fcntl.h>
#include <sched.h>
#include <spawn.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <set>
#include <stdexcept>
#include <string_view>
#include <system_error>
#include <utility>

namespace plyfs::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kSeed = 20240607;
constexpr std::uint32_t kDeepest = 8;

constexpr std::array kSystems = {
    std::pair{System::kPlyfs, std::string_view("plyfs")},
    std::pair{System::kOverlayfs, std::string_view("overlayfs")},
    std::pair{System::kFuseOverlayfs, std::string_view("fuse-overlayfs")}};

// A tmpfs that only this process and its children see: no disk in the figures, and nothing that is
// left mounted when the process is killed.
class Workspace {
 public:
  Workspace() {
    checked(::unshare(CLONE_NEWNS), "unshare (the benchmarks need root)");
    checked(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr), "make mounts private");
    std::string pattern = (fs::temp_directory_path() / "plyfs-bench-XXXXXX").string();
    if (::mkdtemp(pattern.data()) == nullptr) {
      throw std::system_error(errno, std::generic_category(), "mkdtemp");
    }
    directory_ = pattern;
    // The largest tree has more inodes than a tmpfs allows by default on a small machine.
    checked(::mount("tmpfs", directory_.c_str(), "tmpfs", 0, "nr_inodes=0,mode=755"),
            "mount tmpfs");
    // A daemon that goes to the background becomes our child: its pid is known and its end waited
    // for.
    checked(::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0), "become subreaper");
  }
  ~Workspace() {
    (void)::umount2(directory_.c_str(), MNT_DETACH);
    (void)::rmdir(directory_.c_str());
  }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  [[nodiscard]] std::string fresh_directory(const char* kind) {
    std::string path = directory_ + "/" + kind + std::to_string(++made_);
    fs::create_directory(path);
    return path;
  }

 private:
  std::string directory_;
  std::uint64_t made_ = 0;
};

// Made at the first use, so that listing the benchmarks needs no privileges.
Workspace& workspace() {
  static Workspace the_workspace;
  return the_workspace;
}

void write_file(const std::string& path, const std::string& bytes) {
  std::ofstream file(path, std::ios::binary);
  file << bytes;
  if (!file.flush()) {
    throw std::runtime_error("cannot write " + path);
  }
}

// uniform_int_distribution differs between standard libraries; the remainder does not.
std::uint32_t below(std::mt19937& random, std::size_t bound) {
  return static_cast<std::uint32_t>(random() % bound);
}

std::vector<std::string> directory_names(const TreeShape& shape, std::mt19937& random) {
  std::vector<std::string> names = {""};
  std::vector<std::uint32_t> depths = {0};
  while (names.size() <= shape.directories) {
    const std::uint32_t parent = below(random, names.size());
    if (depths[parent] + 1 < kDeepest) {
      names.push_back(names[parent] + "d" + std::to_string(names.size()) + "/");
      depths.push_back(depths[parent] + 1);
    }
  }
  return names;
}

Tree make_tree(const TreeShape& shape) {
  std::mt19937 random(kSeed);
  Tree tree;
  const std::string base = workspace().fresh_directory("layers");
  for (std::uint32_t layer = 0; layer < shape.layers; ++layer) {
    tree.layers.push_back(base + "/" + std::to_string(layer));
    fs::create_directory(tree.layers.back());
  }
  tree.directories = directory_names(shape, random);
  const std::string bytes(shape.file_bytes, 'x');
  std::set<std::pair<std::uint32_t, std::uint32_t>> made;
  for (std::uint32_t directory = 0; directory < tree.directories.size(); ++directory) {
    const std::uint32_t layer = below(random, shape.layers);
    fs::create_directories(tree.layers[layer] + "/" + tree.directories[directory]);
    made.emplace(layer, directory);
  }
  for (std::uint32_t i = 0; i < shape.files; ++i) {
    const std::uint32_t directory = below(random, tree.directories.size());
    const std::uint32_t layer = below(random, shape.layers);
    if (made.emplace(layer, directory).second) {
      fs::create_directories(tree.layers[layer] + "/" + tree.directories[directory]);
    }
    tree.files.push_back(tree.directories[directory] + "f" + std::to_string(i));
    write_file(tree.layers[layer] + "/" + tree.files.back(), bytes);
  }
  return tree;
}

std::string plyfs_program() {
  const char* const chosen = std::getenv("PLYFS_BIN");
  return chosen != nullptr ? chosen : PLYFS_BUILT_PROGRAM;
}

bool is_installed(std::string_view program) {
  const char* const variable = std::getenv("PATH");
  std::string_view rest = variable != nullptr ? variable : "";
  while (!rest.empty()) {
    const std::size_t end = rest.find(':');
    const std::string path = std::string(rest.substr(0, end)) + "/" + std::string(program);
    if (::access(path.c_str(), X_OK) == 0) {
      return true;
    }
    rest = end == std::string_view::npos ? "" : rest.substr(end + 1);
  }
  return false;
}

std::string layer_options(const Tree& tree, const std::string& base) {
  std::string options = "lowerdir=";
  for (const std::string& layer : tree.layers) {
    options += (&layer == tree.layers.data() ? "" : ":") + layer;
  }
  return options + ",upperdir=" + base + "/upper,workdir=" + base + "/work";
}

// Every child that was started before has been waited for. /proc/PID/children would need a kernel
// that was built for checkpoints.
pid_t only_child() {
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) {
      continue;
    }
    std::ifstream status(entry.path() / "status");
    std::string word;
    while (status >> word) {
      if (pid_t parent = 0; word == "PPid:" && status >> parent && parent == ::getpid()) {
        return std::stoi(name);
      }
    }
  }
  throw std::runtime_error("the daemon is not our child");
}

}  // namespace

int checked(int result, const char* what) {
  if (result < 0) {
    throw std::system_error(errno, std::generic_category(), what);
  }
  return result;
}

void run(std::span<const std::string> words) {
  std::vector<std::string> copies(words.begin(), words.end());
  std::vector<char*> arguments;
  for (std::string& word : copies) {
    arguments.push_back(word.data());
  }
  arguments.push_back(nullptr);
  pid_t child = 0;
  const int error =
      ::posix_spawnp(&child, arguments[0], nullptr, nullptr, arguments.data(), environ);
  if (error != 0) {
    throw std::system_error(error, std::generic_category(), words.front());
  }
  int status = 0;
  checked(::waitpid(child, &status, 0), "waitpid");
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    throw std::runtime_error(words.front() + " failed");
  }
}

const Tree& tree_of(const TreeShape& shape) {
  static std::map<TreeShape, Tree> trees;
  const auto found = trees.find(shape);
  return found != trees.end() ? found->second
                              : trees.emplace(shape, make_tree(shape)).first->second;
}

MountedTree::MountedTree(System system, const Tree& tree)
    : base_(workspace().fresh_directory("mount")), root_(base_ + "/merged") {
  for (const char* const name : {"/upper", "/work", "/merged"}) {
    fs::create_directory(base_ + name);
  }
  const std::string options = layer_options(tree, base_);
  if (system == System::kOverlayfs) {
    const std::string all = options + ",redirect_dir=on,index=on,metacopy=on";
    checked(::mount("overlay", root_.c_str(), "overlay", 0, all.c_str()), "mount overlayfs");
    return;
  }
  const std::string program = system == System::kPlyfs ? plyfs_program() : "fuse-overlayfs";
  run(std::array{program, std::string("-o"), options, root_});
  try {
    daemon_ = only_child();
  } catch (...) {
    unmount();
    throw;
  }
}

MountedTree::~MountedTree() { unmount(); }

void MountedTree::unmount() noexcept {
  if (::umount2(root_.c_str(), 0) != 0) {
    (void)::umount2(root_.c_str(), MNT_DETACH);
  }
  if (daemon_ > 0) {
    (void)::waitpid(daemon_, nullptr, 0);
  }
  std::error_code ignored;
  fs::remove_all(base_, ignored);
}

std::string MountedTree::path(const std::string& relative) const { return root_ + "/" + relative; }

void register_each(const std::string& name, std::int64_t iterations, Peers peers,
                   const Body& body) {
  for (const auto& [system, label] : kSystems) {
    if (system == System::kFuseOverlayfs && (peers == Peers::kKernelOnly || !is_installed(label))) {
      continue;
    }
    const auto guarded = [body, which = system](benchmark::State& state) {
      try {
        body(state, which);
      } catch (const std::exception& failure) {
        state.SkipWithError(failure.what());
      }
    };
    benchmark::RegisterBenchmark((name + "/" + std::string(label)).c_str(), guarded)
        ->UseManualTime()
        ->Iterations(iterations)
        ->Unit(benchmark::kMillisecond);
  }
}

}  // namespace plyfs::bench
