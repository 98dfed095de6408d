// An fsck of a stack: what is left over, dangling, or can not be read.
#pragma once

#include <string>
#include <vector>

#include "dump/open_stack.h"
#include "dump/print.h"
#include "dump/walk.h"
#include "plyfs/result.h"

namespace plyfs::dump {

enum class Problem : std::uint8_t {
  kWhiteoutOverNothing,
  kWhiteoutInOpaque,
  kDanglingRedirect,
  kUnusable,            ///< the lookup fails: a bad mark, missing data, a layer that cannot be read
  kLeftOver,            ///< in the work directory
  kVolatileCrash,       ///< a volatile mount ended without an umount
  kUnreadable,          ///< directories that could not be listed
  kDanglingIndexEntry,  ///< in WORK/index: its lower file is gone, or no name shows it
  kWrongLinkCount,      ///< in WORK/index: the count of names is not what the tree has
  kBadIndexEntry,       ///< in WORK/index, and none of its words
};

enum class Weight : std::uint8_t {
  kRemark,      ///< harmless, or normal in a layer that other stacks share
  kRepairable,  ///< in the upper or work directory; nothing that users see depends on it
  kError,
};

struct Finding {
  Problem problem = Problem::kUnusable;
  Weight weight = Weight::kError;
  layer::LayerIndex layer = 0;
  std::string path;  ///< in the layer; of kLeftOver in WORK/work, of index entries in WORK/index
  WhiteoutFamily family = WhiteoutFamily::kProbe;
  std::string text;  ///< one line
};

/// Looks at every path of every layer. Cost: as `walk`.
Result<std::vector<Finding>> verify(const OpenStack& stack);

const char* problem_word(Problem problem);
const char* weight_word(Weight weight);

}  // namespace plyfs::dump
