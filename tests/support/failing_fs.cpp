// failing_fs SOURCE RULES MOUNTPOINT: shows the directory SOURCE and fails where the file RULES
// says so, each line "OPERATION NAME ERRNO" (a number). NAME is the last component of a path, "."
// for the root, "*" for all; OPERATION one of stat, readlink, open, read, read-tail (what is beyond
// 64 KiB), readdir, listxattr, getxattr, and of create, write, truncate, allocate, sync,
// flush, mkdir, mknod, symlink, link, unlink, rmdir, rename, chmod, chown, utimens, setxattr,
// removexattr. The file is read again for each request, and nothing is cached. Stays in the
// foreground.
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
  const std::string whole = path == nullptr ? "" : path;
  const std::string name = whole == "/" ? "." : whole.substr(whole.rfind('/') + 1);
  std::ifstream lines{rules};
  std::string rule_operation;
  std::string rule_name;
  for (int error = 0; lines >> rule_operation >> rule_name >> error;) {
    if (rule_operation == operation && (rule_name == name || rule_name == "*")) {
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

/// What `call` returns, in libfuse's way, or the error that the rules have for it.
template <typename Call>
int unless_planned(const char* operation, const char* path, Call call) {
  const int error = planned_error(operation, path);
  return error != 0 ? -error : answer(call());
}

int fd_of(const fuse_file_info* file) { return static_cast<int>(file->fh); }

void* init(fuse_conn_info* /*connection*/, fuse_config* config) {
  config->use_ino = 1;
  config->direct_io = 1;
  config->entry_timeout = 0;
  config->attr_timeout = 0;
  config->negative_timeout = 0;
  config->hard_remove = 1;
  return nullptr;
}

int on_getattr(const char* path, struct stat* result, fuse_file_info* file) {
  return unless_planned("stat", path, [&] {
    return file != nullptr ? ::fstat(fd_of(file), result) : ::lstat(below(path).c_str(), result);
  });
}

int on_readlink(const char* path, char* buffer, std::size_t size_bytes) {
  const int got = unless_planned(
      "readlink", path, [&] { return ::readlink(below(path).c_str(), buffer, size_bytes - 1); });
  if (got >= 0) {
    buffer[got] = '\0';
  }
  return got < 0 ? got : 0;
}

int opened(int fd, fuse_file_info* file) {
  file->fh = static_cast<std::uint64_t>(fd < 0 ? 0 : fd);
  return fd < 0 ? fd : 0;
}

int on_open(const char* path, fuse_file_info* file) {
  return opened(unless_planned("open", path,
                               [&] {
                                 const int flags = (file->flags & ~O_APPEND) | O_CLOEXEC;
                                 return ::open(below(path).c_str(), flags);
                               }),
                file);
}

int on_create(const char* path, mode_t mode, fuse_file_info* file) {
  return opened(unless_planned("create", path,
                               [&] {
                                 const int flags = (file->flags & ~O_APPEND) | O_CREAT | O_CLOEXEC;
                                 return ::open(below(path).c_str(), flags, mode);
                               }),
                file);
}

int on_read(const char* path, char* buffer, std::size_t size_bytes, off_t offset,
            fuse_file_info* file) {
  if (const int error = planned_error("read-tail", path); error != 0) {
    constexpr off_t kGood = 65536;
    if (offset >= kGood) {
      return -error;
    }
    size_bytes = std::min(size_bytes, static_cast<std::size_t>(kGood - offset));
  }
  return unless_planned("read", path,
                        [&] { return ::pread(fd_of(file), buffer, size_bytes, offset); });
}

int on_write(const char* path, const char* buffer, std::size_t size_bytes, off_t offset,
             fuse_file_info* file) {
  return unless_planned("write", path,
                        [&] { return ::pwrite(fd_of(file), buffer, size_bytes, offset); });
}

int on_truncate(const char* path, off_t size_bytes, fuse_file_info* file) {
  return unless_planned("truncate", path, [&] {
    return file != nullptr ? ::ftruncate(fd_of(file), size_bytes)
                           : ::truncate(below(path).c_str(), size_bytes);
  });
}

int on_fallocate(const char* path, int mode, off_t offset, off_t size_bytes, fuse_file_info* file) {
  return unless_planned("allocate", path,
                        [&] { return ::fallocate(fd_of(file), mode, offset, size_bytes); });
}

int on_fsync(const char* path, int /*data_only*/, fuse_file_info* file) {
  return unless_planned("sync", path, [&] { return ::fsync(fd_of(file)); });
}

/// Like a network filesystem, which sends what it has when somebody closes the file.
int on_flush(const char* path, fuse_file_info* file) {
  return unless_planned("flush", path, [&] { return ::close(::dup(fd_of(file))); });
}

int on_release(const char* /*path*/, fuse_file_info* file) { return answer(::close(fd_of(file))); }

int on_mkdir(const char* path, mode_t mode) {
  return unless_planned("mkdir", path, [&] { return ::mkdir(below(path).c_str(), mode); });
}

int on_mknod(const char* path, mode_t mode, dev_t device) {
  return unless_planned("mknod", path, [&] { return ::mknod(below(path).c_str(), mode, device); });
}

int on_symlink(const char* target, const char* path) {
  return unless_planned("symlink", path, [&] { return ::symlink(target, below(path).c_str()); });
}

int on_link(const char* from, const char* to) {
  return unless_planned("link", to, [&] { return ::link(below(from).c_str(), below(to).c_str()); });
}

int on_unlink(const char* path) {
  return unless_planned("unlink", path, [&] { return ::unlink(below(path).c_str()); });
}

int on_rmdir(const char* path) {
  return unless_planned("rmdir", path, [&] { return ::rmdir(below(path).c_str()); });
}

int on_rename(const char* from, const char* to, unsigned flags) {
  return unless_planned("rename", to, [&] {
    return ::renameat2(AT_FDCWD, below(from).c_str(), AT_FDCWD, below(to).c_str(), flags);
  });
}

int on_chmod(const char* path, mode_t mode, fuse_file_info* file) {
  return unless_planned("chmod", path, [&] {
    return file != nullptr ? ::fchmod(fd_of(file), mode) : ::chmod(below(path).c_str(), mode);
  });
}

int on_chown(const char* path, uid_t uid, gid_t gid, fuse_file_info* file) {
  return unless_planned("chown", path, [&] {
    return file != nullptr ? ::fchown(fd_of(file), uid, gid)
                           : ::lchown(below(path).c_str(), uid, gid);
  });
}

int on_utimens(const char* path, const timespec* times, fuse_file_info* file) {
  return unless_planned("utimens", path, [&] {
    return file != nullptr ? ::futimens(fd_of(file), times)
                           : ::utimensat(AT_FDCWD, below(path).c_str(), times, AT_SYMLINK_NOFOLLOW);
  });
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
  return unless_planned("listxattr", path,
                        [&] { return ::llistxattr(below(path).c_str(), buffer, size_bytes); });
}

int on_getxattr(const char* path, const char* name, char* buffer, std::size_t size_bytes) {
  return unless_planned("getxattr", path,
                        [&] { return ::lgetxattr(below(path).c_str(), name, buffer, size_bytes); });
}

int on_setxattr(const char* path, const char* name, const char* value, std::size_t size_bytes,
                int flags) {
  return unless_planned("setxattr", path, [&] {
    return ::lsetxattr(below(path).c_str(), name, value, size_bytes, flags);
  });
}

int on_removexattr(const char* path, const char* name) {
  return unless_planned("removexattr", path,
                        [&] { return ::lremovexattr(below(path).c_str(), name); });
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    (void)std::fprintf(stderr, "usage: failing_fs SOURCE RULES MOUNTPOINT\n");
    return 1;
  }
  ::umask(0);  // the kernel has taken the caller's off
  source = argv[1];
  rules = argv[2];
  fuse_operations operations = {};
  operations.init = init;
  operations.getattr = on_getattr;
  operations.readlink = on_readlink;
  operations.open = on_open;
  operations.read = on_read;
  operations.release = on_release;
  operations.create = on_create;
  operations.write = on_write;
  operations.truncate = on_truncate;
  operations.fallocate = on_fallocate;
  operations.fsync = on_fsync;
  operations.flush = on_flush;
  operations.mkdir = on_mkdir;
  operations.mknod = on_mknod;
  operations.symlink = on_symlink;
  operations.link = on_link;
  operations.unlink = on_unlink;
  operations.rmdir = on_rmdir;
  operations.rename = on_rename;
  operations.chmod = on_chmod;
  operations.chown = on_chown;
  operations.utimens = on_utimens;
  operations.setxattr = on_setxattr;
  operations.removexattr = on_removexattr;
  operations.readdir = on_readdir;
  operations.listxattr = on_listxattr;
  operations.getxattr = on_getxattr;
  std::string foreground = "-f";
  std::string single = "-s";
  std::string options = "-odefault_permissions";
  char* arguments[] = {argv[0], foreground.data(), single.data(), options.data(), argv[3], nullptr};
  return fuse_main(5, arguments, &operations, nullptr);
}
