// Executes one operation on one side and says what came of it in comparable form.
#pragma once

#include <sys/stat.h>

#include <optional>
#include <string>

#include "operations.h"
#include "side.h"

namespace plyfs::difftest {

struct OpResult {
  long value = 0;  ///< the call's return value; descriptors count as 0
  int error = 0;   ///< errno, 0 on success
  std::string data;
  std::optional<timespec> mtime;  ///< where the operation shows one; compared by the timeline
};

/// Runs `operation` as its actor. Leaves the process inside the side's root, as root.
OpResult execute(const Operation& operation, Side& side);

/// "reg 0644 1:2 n1 s34" with only what both sides must agree on: neither the link count nor the
/// size of a directory, no device, no inode number, no times.
std::string stat_words(const struct stat& attributes);

/// A short digest of any bytes.
std::string digest(std::string_view bytes);

// The families, each in its own file. The side's root is entered and the actor set.
OpResult execute_path(const Operation& operation, Side& side);
OpResult execute_attribute(const Operation& operation, Side& side);
OpResult execute_slot(const Operation& operation, Side& side);

/// Turns a system call's result and errno into a result; `value` stays 0 when it failed.
OpResult from_call(long result);
OpResult failed(int error);

/// The entries of a directory as one sorted line, with their types; closes `descriptor`.
OpResult list_directory(int descriptor);

/// Reads the whole of an extended attribute through `call(buffer, size)`.
template <typename Call>
OpResult read_value(std::size_t buffer_size, Call&& call) {
  std::string buffer(buffer_size, '\0');
  const long length = static_cast<long>(call(buffer.data(), buffer.size()));
  OpResult result = from_call(length);
  if (length > 0 && buffer_size > 0) {
    result.data = shell_word(std::string_view{buffer}.substr(0, static_cast<std::size_t>(length)));
  }
  return result;
}

}  // namespace plyfs::difftest
