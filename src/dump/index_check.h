// WORK/index seen by fsck: entries that nothing leads to, and counts of names that are wrong.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dump/open_stack.h"
#include "dump/place.h"
#include "dump/verify.h"

namespace plyfs::dump {

/// What the index holds. Directories and whiteouts in it (nfs_export=on) are left out.
struct IndexEntry {
  std::string name;
  FileStat stat;
  std::optional<std::string> nlink_mark;
};
/// Sorted by name; empty without an index. Errors: those of listing and asking.
Result<std::vector<IndexEntry>> index_entries(const OpenStack& stack);

/// Told of every path of a walk, it knows at the end which names each entry has. Memory: the index.
class IndexCheck {
 public:
  static Result<IndexCheck> begin(const OpenStack& stack);
  void see(const Answer& answer);
  void finish(std::vector<Finding>& findings) const;

 private:
  struct Known {
    IndexEntry entry;
    std::int64_t names = 0;        ///< of the merged tree that show it
    std::int64_t hidden = 0;       ///< names in the layers that are hidden by layers above
    std::int64_t lower_nlink = 0;  ///< of the lower file it was copied from; 0: not found
  };
  explicit IndexCheck(const OpenStack& stack) : stack_(&stack) {}
  void see_origin(const Version& version);

  const OpenStack* stack_;
  std::map<std::string, Known> entries_;
  std::map<std::pair<dev_t, ino_t>, std::string> names_by_inode_;
};

}  // namespace plyfs::dump
