// A volume store, an image and directories to mount on, used through the commands that users type.
#pragma once

#include <string>
#include <vector>

#include "call.h"
#include "catch.h"
#include "process.h"
#include "tree.h"

namespace plyfs::tests {

/// make_tree() in a directory that need not exist.
void make(const std::string& root, const Items& items);

/// A store of its own, an image, and directories to mount on. What is mounted goes away with it.
class Host {
 public:
  explicit Host(const Items& image);
  ~Host();
  Host(const Host&) = delete;
  Host& operator=(const Host&) = delete;

  [[nodiscard]] std::string operator()(const std::string& path) const { return root_ + "/" + path; }
  [[nodiscard]] std::string data(const std::string& volume) const {
    return (*this)("home/volumes/" + volume + "/_data");
  }
  [[nodiscard]] Arguments command(const Arguments& arguments) const;
  [[nodiscard]] Ran plyfs(const Arguments& arguments) const { return run(command(arguments)); }

  /// The command that mounts the image with an upper of its own under that name, at in(name, "").
  Arguments mount_command(const std::string& name, const Arguments& more);
  Ran mount(const std::string& name, const Arguments& more) {
    return plyfs(mount_command(name, more));
  }
  [[nodiscard]] std::string in(const std::string& mount, const std::string& path) const {
    return root_ + "/m-" + mount + "/" + path;
  }

 private:
  std::string root_;
  std::vector<std::string> mounted_;
};

Ran done(const std::string& out);
/// "EXIT-CODE OUTPUT ERRORS"
std::string said(const Ran& ran);
std::string write_new(const std::string& path, const std::string& content);
std::vector<std::string> sorted_names(const std::string& directory);
/// Whether plyfs can mount here; says so if not.
bool can_mount();

#define CHECK_DONE(ran, expected) CHECK(said(ran) == said(done(expected)))

}  // namespace plyfs::tests
