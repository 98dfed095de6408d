// A file or directory that appears under its name only when it is whole.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "layer/upper_writer.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::image {

/// Where something is made beside its final place. Removed again unless it was published.
struct TargetPlace {
  sys::UniqueFd directory;  ///< that will hold it
  std::string name;
  std::string staged_name;  ///< ".NAME.plyfs-PID"
};
/// EINVAL for a path without a last name; errors of opening the directory that holds it.
Result<TargetPlace> place_of(const std::string& target);

/// Removes what one that was killed left beside `place`: what nobody holds a lock of.
void remove_left_overs(const TargetPlace& place);

class TargetFile {
 public:
  /// EISDIR, and EINVAL for what is there and is no file. Where the filesystem can, the file has no
  /// name before it is published, so nothing is left of it whatever ends the process.
  static Result<TargetFile> create(const std::string& target);
  TargetFile(TargetFile&&) noexcept = default;
  TargetFile& operator=(TargetFile&&) = delete;
  TargetFile(const TargetFile&) = delete;
  TargetFile& operator=(const TargetFile&) = delete;
  ~TargetFile();
  Status write(std::string_view bytes);
  [[nodiscard]] std::uint64_t size_bytes() const { return size_bytes_; }
  /// Syncs, then renames; replaces a file of that name, but no directory (EISDIR).
  Status publish();

 private:
  TargetFile(TargetPlace place, sys::UniqueFd file, bool has_name)
      : writer_(std::make_unique<layer::UpperWriter>(layer::UpperWriter::Rights::kPrivileged)),
        place_(std::move(place)),
        file_(std::move(file)),
        has_name_(has_name) {}
  std::unique_ptr<layer::UpperWriter> writer_;
  TargetPlace place_;
  sys::UniqueFd file_;  ///< invalid once published
  bool has_name_;       ///< the staged one
  std::uint64_t size_bytes_ = 0;
};

}  // namespace plyfs::image
