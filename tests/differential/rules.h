// The one place where a difference from kernel overlayfs is excused, each by a named rule.
//
// What is not compared at all, because the kernel's documentation leaves it open or because it
// belongs to the file system below: atime, ctime, st_blocks, st_dev's value; the link count and the
// size of directories (executor.h: stat_words); where holes lie after a copy-up (exec_slot.cpp);
// a size probe of listxattr and free space (exec_attribute.cpp); what opening a device does
// (exec_path.cpp). Reads through descriptors that were opened before a copy-up are compared with
// what the kernel reads through a new descriptor (Side::fresh_reader).
#pragma once

#include "executor.h"
#include "operations.h"

namespace plyfs::difftest {

/// Whether a rule excuses this difference between the results of one operation.
bool excused(const Operation& operation, const OpResult& reference, const OpResult& subject);

enum class ZeroRange : std::uint8_t { kSupported, kUnsupported };

/// Whether the kernel's FUSE client answers the operation in its own way, without asking the server
/// (chapter "Non-standard behaviour"). It is then left out on both sides.
bool never_reaches_server(const Operation& operation, const Side& reference, ZeroRange zero_range);

/// Whether the operation would bring the reference itself into a state that is no oracle any more.
/// It is then left out on both sides.
bool breaks_reference(const Operation& operation, const Side& reference);

/// Whether the reference just now refused to remove, or to rename over, a directory that it lists
/// as empty. The operation is then left out on the subject. Leaves the working directory changed.
bool refuses_empty_directory(const Operation& operation, const OpResult& result,
                             const Side& reference);

}  // namespace plyfs::difftest
