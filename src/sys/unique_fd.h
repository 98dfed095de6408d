// File descriptors with an owner. `int` fds exist in sys/ only.
#pragma once

#include <utility>

namespace plyfs::sys {

/// Never closes. Valid when >= 0.
class BorrowedFd {
 public:
  constexpr BorrowedFd() = default;
  constexpr explicit BorrowedFd(int fd) : fd_(fd) {}
  [[nodiscard]] constexpr int get() const { return fd_; }
  [[nodiscard]] constexpr bool valid() const { return fd_ >= 0; }

 private:
  int fd_ = -1;
};

/// Owns one descriptor and closes it.
class UniqueFd {
 public:
  UniqueFd() = default;
  explicit UniqueFd(int fd) : fd_(fd) {}
  UniqueFd(UniqueFd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  UniqueFd& operator=(UniqueFd&& other) noexcept {
    if (this != &other) {
      reset();
      fd_ = std::exchange(other.fd_, -1);
    }
    return *this;
  }
  UniqueFd(const UniqueFd&) = delete;
  UniqueFd& operator=(const UniqueFd&) = delete;
  ~UniqueFd() { reset(); }

  void reset() noexcept;
  [[nodiscard]] int release() { return std::exchange(fd_, -1); }
  [[nodiscard]] bool valid() const { return fd_ >= 0; }
  [[nodiscard]] BorrowedFd borrow() const { return BorrowedFd{fd_}; }

 private:
  int fd_ = -1;
};

/// An object as the system calls name it: an entry of a directory, or, with an empty name, the
/// descriptor itself (which may be O_PATH). The name is NUL-terminated and outlives the call.
struct ObjectRef {
  BorrowedFd dir;
  const char* name = "";
  [[nodiscard]] bool by_fd() const { return *name == '\0'; }
};

}  // namespace plyfs::sys
