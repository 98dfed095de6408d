#pragma once

// System calls of the workloads, each checked.

#include <cstddef>
#include <cstdint>
#include <string>

namespace plyfs::bench {

/// A file that closes itself; reads and writes are complete or throw.
class OpenFile {
 public:
  OpenFile(const std::string& path, int flags);
  ~OpenFile();
  OpenFile(const OpenFile&) = delete;
  OpenFile& operator=(const OpenFile&) = delete;

  [[nodiscard]] int fd() const { return fd_; }
  void write(const char* bytes, std::size_t size) const;
  void write_at(const char* bytes, std::size_t size, std::uint64_t offset) const;
  void read_at(char* bytes, std::size_t size, std::uint64_t offset) const;
  /// To the end; returns how much it was.
  [[nodiscard]] std::uint64_t read_all(char* buffer, std::size_t size) const;
  void sync() const;

 private:
  int fd_;
};

enum class Visit { kStat, kRead };

/// Visits all below the directory: lstat of each, or reading the files. Returns how many entries.
std::uint64_t walk(const std::string& directory, Visit visit);

/// Only readdir.
std::uint64_t count_entries(const std::string& directory);

}  // namespace plyfs::bench
