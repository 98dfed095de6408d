#include "workspace.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cstdlib>
#include <stdexcept>
#include <utility>

#include "call.h"
#include "process.h"
#include "tree.h"

namespace plyfs::tests {
namespace {

void must(const std::string& result, const std::string& what) {
  if (result != "ok") {
    throw std::runtime_error("cannot set up the workspace: " + what + ": " + result);
  }
}

void must_run(const Arguments& command) {
  const Ran ran = run(command);
  if (ran.exit_code != 0) {
    throw std::runtime_error("cannot set up the workspace: " + command[0] + ": " + ran.err);
  }
}

std::string make_directory_in(const std::string& parent) {
  std::string path = parent + "/plyfs-mount-tests-XXXXXX";
  if (::mkdtemp(path.data()) == nullptr) {
    return {};
  }
  must(call::chmod(path, 0755), path);
  return path;
}

/// Made at first use, removed at exit.
class Workspace {
 public:
  static Workspace& instance() {
    static Workspace workspace;
    return workspace;
  }

  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;

  ~Workspace() {
    if (::getpid() != owner_) {
      return;  // a forked piece of a test
    }
    if (mounted_) {
      (void)::umount2(path_.c_str(), MNT_DETACH);
    }
    remove_tree(path_);
    if (!image_.empty()) {
      (void)call::unlink(image_);
    }
  }

  const std::string& path() const { return path_; }
  const std::string& filesystem() const { return filesystem_; }
  std::string fresh() {
    std::string path = path_ + "/" + std::to_string(++count_);
    must(call::mkdir(path), path);
    return path;
  }

 private:
  Workspace() : owner_(::getpid()) {
    const char* wanted = std::getenv("PLYFS_TEST_FS");
    filesystem_ = wanted != nullptr ? wanted : "";
    if (is_root()) {
      make_as_root();
    } else {
      make_as_user();
    }
  }

  void make_as_root() {
    if (::unshare(CLONE_NEWNS) == 0) {
      must(outcome(::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr)), "mount private");
    }
    path_ = make_directory_in("/tmp");
    mounted_ = true;
    if (filesystem_.empty() || filesystem_ == "tmpfs") {
      must(outcome(::mount("plyfs-tests", path_.c_str(), "tmpfs", 0, "mode=0755")), path_);
      if (!filesystem_.empty() || takes_user_xattrs(path_)) {
        filesystem_ = "tmpfs";
        return;
      }
      must(outcome(::umount2(path_.c_str(), 0)), path_);
      filesystem_ = "ext4";  // before Linux 6.6
    }
    mount_image();
  }

  void mount_image() {
    image_ = path_ + ".img";
    must(call::create(image_), image_);
    must(call::truncate(image_, off_t{4} << 30U), image_);
    must_run({"mkfs." + filesystem_, filesystem_ == "ext4" ? "-F" : "-f", image_});
    must_run({"mount", "-o", "loop", image_, path_});
    must(call::chmod(path_, 0755), path_);
  }

  void make_as_user() {
    const char* told = std::getenv("PLYFS_TEST_DIR");
    for (const std::string& parent : {std::string(told != nullptr ? told : "/dev/shm"),
                                      std::string("/tmp"), std::string("/var/tmp")}) {
      path_ = make_directory_in(parent);
      if (!path_.empty() && takes_user_xattrs(path_)) {
        filesystem_ = parent == "/dev/shm" ? "tmpfs" : "other";
        return;
      }
      (void)call::rmdir(path_);
    }
    throw std::runtime_error("no directory with user xattrs: set PLYFS_TEST_DIR");
  }

  pid_t owner_;
  std::string path_;
  std::string image_;
  std::string filesystem_;
  bool mounted_ = false;
  int count_ = 0;
};

}  // namespace

const std::string& workspace() { return Workspace::instance().path(); }
std::string workspace_filesystem() { return Workspace::instance().filesystem(); }
bool takes_user_xattrs(const std::string& directory) {
  return call::setxattr(directory, "user.plyfs-probe", "1") == "ok" &&
         call::removexattr(directory, "user.plyfs-probe") == "ok";
}

std::string fresh_directory() { return Workspace::instance().fresh(); }

}  // namespace plyfs::tests
