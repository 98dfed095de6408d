// failing_fs SOURCE RULES MOUNTPOINT: shows the directory SOURCE, read-only, and fails where the
// file RULES says so, each line "OPERATION NAME ERRNO" (a number). NAME is the last component of a
// path,
// "." for the root; OPERATION one of stat, readlink, open, read, read-tail (what is beyond 64 KiB),
// readdir, listxattr, getxattr. The file is read again for each request, and nothing is cached.
// Stays in the foreground.
#include <dirent.h>
#include <fcntl.h>
#include <fuse.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <memory>
#include <string>

namespace {

std::string source;
std::string rules;

std::string below(const char* path) { return source + path; }

int planned_error(const char* operation, const char* path) {
  const std::string whole = path;
  const std::string name = whole == "/" ? "." : whole.substr(whole.rfind('/') + 1);
  std::ifstream lines{rules};
  std::string rule_operation;
  std::string rule_name;
  for (int error = 0; lines >> rule_operation >> rule_name >> error;) {
    if (rule_operation == operation && rule_name == name) {
      return error;
    }
  }
  return 0;
}

/// What a system call returned, in libfuse's way.
template <typename Number>
int answer(Number result) {
  return result < 0 ? -errno : static_cast<int>(result);
}

void* init(fuse_conn_info* /*connection*/, fuse_config* config) {
  config->use_ino = 1;
  config->direct_io = 1;
  config->entry_timeout = 0;
  config->attr_timeout = 0;
  config->negative_timeout = 0;
  config->nullpath_ok = 0;
  return nullptr;
}

int on_getattr(const char* path, struct stat* result, fuse_file_info* /*file*/) {
  if (const int error = planned_error("stat", path); error != 0) {
    return -error;
  }
  return answer(::lstat(below(path).c_str(), result));
}

int on_readlink(const char* path, char* buffer, std::size_t size_bytes) {
  if (const int error = planned_error("readlink", path); error != 0) {
    return -error;
  }
  const ssize_t got = ::readlink(below(path).c_str(), buffer, size_bytes - 1);
  if (got < 0) {
    return -errno;
  }
  buffer[got] = '\0';
  return 0;
}

int on_open(const char* path, fuse_file_info* file) {
  if (const int error = planned_error("open", path); error != 0) {
    return -error;
  }
  const int fd = ::open(below(path).c_str(), file->flags | O_CLOEXEC);
  file->fh = static_cast<std::uint64_t>(fd);
  return fd < 0 ? -errno : 0;
}

int on_read(const char* path, char* buffer, std::size_t size_bytes, off_t offset,
            fuse_file_info* file) {
  if (const int error = planned_error("read", path); error != 0) {
    return -error;
  }
  if (const int error = planned_error("read-tail", path); error != 0) {
    constexpr off_t kGood = 65536;
    if (offset >= kGood) {
      return -error;
    }
    size_bytes = std::min(size_bytes, static_cast<std::size_t>(kGood - offset));
  }
  return answer(::pread(static_cast<int>(file->fh), buffer, size_bytes, offset));
}

int on_release(const char* /*path*/, fuse_file_info* file) {
  return answer(::close(static_cast<int>(file->fh)));
}

int on_readdir(const char* path, void* buffer, fuse_fill_dir_t fill, off_t /*offset*/,
               fuse_file_info* /*file*/, fuse_readdir_flags /*flags*/) {
  if (const int error = planned_error("readdir", path); error != 0) {
    return -error;
  }
  const std::unique_ptr<DIR, int (*)(DIR*)> directory{::opendir(below(path).c_str()), ::closedir};
  if (!directory) {
    return -errno;
  }
  while (const dirent* entry = ::readdir(directory.get())) {
    struct stat about = {};
    about.st_ino = entry->d_ino;
    about.st_mode = static_cast<mode_t>(entry->d_type) << 12U;
    fill(buffer, entry->d_name, &about, 0, static_cast<fuse_fill_dir_flags>(0));
  }
  return 0;
}

int on_listxattr(const char* path, char* buffer, std::size_t size_bytes) {
  if (const int error = planned_error("listxattr", path); error != 0) {
    return -error;
  }
  return answer(::llistxattr(below(path).c_str(), buffer, size_bytes));
}

int on_getxattr(const char* path, const char* name, char* buffer, std::size_t size_bytes) {
  if (const int error = planned_error("getxattr", path); error != 0) {
    return -error;
  }
  return answer(::lgetxattr(below(path).c_str(), name, buffer, size_bytes));
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    (void)std::fprintf(stderr, "usage: failing_fs SOURCE RULES MOUNTPOINT\n");
    return 1;
  }
  source = argv[1];
  rules = argv[2];
  fuse_operations operations = {};
  operations.init = init;
  operations.getattr = on_getattr;
  operations.readlink = on_readlink;
  operations.open = on_open;
  operations.read = on_read;
  operations.release = on_release;
  operations.readdir = on_readdir;
  operations.listxattr = on_listxattr;
  operations.getxattr = on_getxattr;
  std::string foreground = "-f";
  std::string single = "-s";
  std::string read_only = "-oro,default_permissions";
  char* arguments[] = {argv[0],          foreground.data(), single.data(),
                       read_only.data(), argv[3],           nullptr};
  return fuse_main(5, arguments, &operations, nullptr);
}
