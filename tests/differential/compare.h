// What counts as a difference between the two sides.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "executor.h"
#include "operations.h"
#include "timeline.h"
#include "tree_dump.h"

namespace plyfs::difftest {

struct Difference {
  std::string key;   ///< the kind of difference; a minimised case must show the same
  std::string text;  ///< what to print
};

/// "0 [what was read]" or an error's name.
std::string outcome_words(const OpResult& result);

/// A difference between the results of one operation, or nothing.
std::optional<Difference> compare_results(const Operation& operation, const OpResult& reference,
                                          const OpResult& subject, const Timeline& timeline);

enum class InodeNumbers : std::uint8_t {
  kIgnored,
  kSame,
  /// user.* marks exist on files and directories only: the number of a copied-up symbolic link or
  /// special file is forgotten at unmount.
  kSameWhereMarked,
};
enum class HardLinks : std::uint8_t { kIgnored, kSame };

/// How two dumps are compared.
struct TreeRules {
  const Timeline* timeline = nullptr;  ///< null: times must be equal to the nanosecond
  InodeNumbers inode_numbers = InodeNumbers::kIgnored;
  HardLinks hard_links = HardLinks::kSame;
};

/// A difference between two trees, or nothing. `when` goes into the text and the key.
std::optional<Difference> compare_trees(const TreeDump& expected, const TreeDump& actual,
                                        std::string_view when, const TreeRules& rules);

/// What is wrong with a tree by itself, or nothing.
std::optional<Difference> check_tree(const TreeDump& dump, std::string_view when);

}  // namespace plyfs::difftest
