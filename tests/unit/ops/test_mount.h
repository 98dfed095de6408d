// The union without a kernel above it: the verbs of ops, over real directories, in this process.
#pragma once

#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "ops/filesystem.h"
#include "workspace.h"

namespace plyfs::test {

/// What a mount is built with.
struct MountKind {
  const char* name = "char";
  WhiteoutFamily whiteouts = WhiteoutFamily::kProbe;
  bool exchange = true;         ///< false: as on a filesystem without RENAME_EXCHANGE
  bool rename_whiteout = true;  ///< the same of RENAME_WHITEOUT
  bool metacopy = true;
  bool index = true;
  /// Each change has one visible step. Else, if nothing can be undone, half of one may stay.
  bool one_step = false;
};

/// Everything about each path that users see, but times. Equal pictures are equal trees.
using Tree = std::map<std::string, std::string>;
/// "- path before" and "+ path after", for messages; empty when equal.
std::string difference(const Tree& before, const Tree& after);

/// Paths are relative, without a slash at either end; "" is the root. A verb answers "ok" or the
/// errno's name.
class TestMount {
 public:
  /// The layers are empty directories, to be drawn into before start(). The topmost lower is 1.
  TestMount(MountKind kind, unsigned lowers);
  ~TestMount();
  TestMount(const TestMount&) = delete;
  TestMount& operator=(const TestMount&) = delete;

  /// Where layer `index` lies; 0 is the upper.
  [[nodiscard]] std::string layer(unsigned index, const std::string& path = {}) const;
  [[nodiscard]] std::string work(const std::string& path = {}) const;

  void start();
  /// As an unmount: whatever holds nodes must have let them go.
  void stop();
  void restart() {
    stop();
    start();
  }
  [[nodiscard]] ops::FileSystem& fs() { return *fs_; }
  /// The one door to the upper, to make it fail.
  [[nodiscard]] layer::UpperWriter& writer() { return *writer_; }
  [[nodiscard]] layer::Workdir& workdir() { return *workdir_; }

  /// The node of that path, with a lookup of its own.
  Result<node::NodeRef> walk(const std::string& path);
  Result<FileStat> stat(const std::string& path);
  Tree tree();

  std::string create(const std::string& path, std::string_view content = {}, mode_t mode = 0644);
  std::string mkdir(const std::string& path, mode_t mode = 0755);
  std::string mknod(const std::string& path, mode_t mode);
  std::string symlink(const std::string& target, const std::string& path);
  std::string link(const std::string& from, const std::string& to);
  std::string unlink(const std::string& path);
  std::string rmdir(const std::string& path);
  std::string rename(const std::string& from, const std::string& to, unsigned flags = 0);
  std::string chmod(const std::string& path, mode_t mode);
  std::string chown(const std::string& path, uid_t uid);
  /// With the write-back's origin, as most changes of data come.
  std::string fallocate(const std::string& path, std::int64_t size_bytes);
  std::string truncate(const std::string& path, std::int64_t size_bytes);
  std::string write(const std::string& path, std::string_view data);  ///< at offset 0
  std::string setxattr(const std::string& path, const char* name, std::string_view value);
  std::string removexattr(const std::string& path, const char* name);
  std::string readlink(const std::string& path);
  std::string read(const std::string& path);
  std::string read(node::Node& node);
  std::string write(node::Node& node, std::string_view data);

  RequestContext caller;  ///< whom the verbs act for; at first the process itself

 private:
  struct Place {
    node::NodeRef parent;
    std::string name;
  };
  Result<Place> place(const std::string& path);
  void describe(const std::string& path, node::Node& node, Tree& tree);

  const MountKind kind_;
  Workspace space_;
  std::vector<std::string> layers_;
  layer::UpperWriter* writer_ = nullptr;
  layer::Workdir* workdir_ = nullptr;
  std::unique_ptr<ops::FileSystem> fs_;
};

/// "ok" or the errno's name.
std::string outcome(const Status& status);
template <typename T>
std::string outcome(const Result<T>& result) {
  return outcome(result ? Status{} : Status{result.error()});
}

}  // namespace plyfs::test
