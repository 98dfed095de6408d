// System calls as tests want them: paths are strings, the result is "ok" or the errno's name, so a
// failed check reads `"EROFS" == "ok"`.
#pragma once

#include <sys/stat.h>
#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace plyfs::tests {

/// "ok" for a non-negative result, else the name of errno ("ENOENT").
std::string outcome(std::int64_t result);

/// Outcomes with a space between; the calls in the braces happen in order.
std::string joined(const std::vector<std::string>& outcomes);

/// An open file; closes itself. Every method answers an outcome or content, never throws.
class File {
 public:
  File() = default;
  File(const std::string& path, int flags, mode_t mode = 0644);
  explicit File(int fd) : fd_(fd) {}
  File(File&& other) noexcept;
  File& operator=(File&& other) noexcept;
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File();

  [[nodiscard]] const std::string& opened() const { return opened_; }  ///< outcome of open(2)
  [[nodiscard]] int fd() const { return fd_; }
  std::string write(std::string_view data);                 ///< whole, at the file's position
  std::string pwrite(std::string_view data, off_t offset);  ///< whole
  [[nodiscard]] std::string pread(off_t offset, std::size_t size) const;
  [[nodiscard]] std::string read_all() const;  ///< from offset 0
  [[nodiscard]] struct stat stat() const;      ///< all zero on failure
  std::string close();

 private:
  int fd_ = -1;
  std::string opened_ = "ok";
};

namespace call {

std::string create(const std::string& path, std::string_view content = {}, mode_t mode = 0644);
std::string append(const std::string& path, std::string_view content);
std::string overwrite(const std::string& path, std::string_view content);  ///< O_WRONLY|O_TRUNC
std::string open(const std::string& path, int flags, mode_t mode = 0644);  ///< and close
std::string unlink(const std::string& path);
std::string rmdir(const std::string& path);
std::string mkdir(const std::string& path, mode_t mode = 0755);
std::string symlink(const std::string& target, const std::string& path);
std::string link(const std::string& from, const std::string& path);
std::string mknod(const std::string& path, mode_t mode, dev_t device = 0);
std::string rename(const std::string& from, const std::string& to, unsigned flags = 0);
std::string chmod(const std::string& path, mode_t mode);
std::string chown(const std::string& path, uid_t uid, gid_t gid);  ///< lchown
std::string truncate(const std::string& path, off_t size);
std::string utimens(const std::string& path, timespec atime, timespec mtime);
std::string setxattr(const std::string& path, const std::string& name, std::string_view value,
                     int flags = 0);
std::string removexattr(const std::string& path, const std::string& name);
std::string access(const std::string& path, int mode);
std::string stat(const std::string& path);  ///< outcome only (lstat)

}  // namespace call

/// Content, or the errno's name in angle brackets ("<ENOENT>").
std::string content(const std::string& path);
std::string link_target(const std::string& path);
/// The value, or the errno's name in angle brackets.
std::string xattr(const std::string& path, const std::string& name);
/// Names without a system's own (security.selinux, xfs's second view of ACLs), sorted.
std::vector<std::string> xattr_names(const std::string& path);
/// lstat; all zero on failure, and the failure is a failed check.
struct stat status(const std::string& path);
/// status() that sees through symlinks.
struct stat status_of_target(const std::string& path);
mode_t permissions(const std::string& path);  ///< st_mode & 07777
/// Names in the order in which the directory gives them, without . and ..
std::vector<std::string> names_in(const std::string& path);
std::vector<std::string> sorted_names_in(const std::string& path);
bool exists(const std::string& path);

/// nanoseconds since the epoch
std::int64_t nanoseconds(const timespec& time);
std::int64_t mtime_ns(const std::string& path);
/// Returns when what changes next gets later times than what changed before: before Linux 6.13
/// those of files move with the kernel's tick only.
void let_clock_tick();

/// Writes `size` bytes whose content depends on their position and `seed`.
std::string pattern(std::size_t size, unsigned seed = 0);

}  // namespace plyfs::tests
