// What the upper's filesystem and our privileges allow, found by trying it in the work directory.
#pragma once

#include <optional>

#include "layer/mark_rules.h"
#include "layer/workdir.h"
#include "plyfs/options.h"
#include "plyfs/result.h"

namespace plyfs::layer {

struct UpperAbilities {
  WhiteoutFamily whiteouts = WhiteoutFamily::kAufs;  ///< never kProbe
  std::optional<XattrNamespace> marks;               ///< nullopt: no xattrs for marks
  bool exchange = false;                             ///< RENAME_EXCHANGE
  bool rename_whiteout = false;                      ///< RENAME_WHITEOUT
  bool fine_times = false;  ///< what changes after it was looked at gets a time between two ticks
};

/// Wishes that cannot be met are EOPNOTSUPP (forced family) or EPERM (forced namespace). EOPNOTSUPP
/// without a wish: no family of whiteouts can be had there.
Result<UpperAbilities> probe_upper(Workdir& workdir, WhiteoutFamily family,
                                   XattrNamespace xattr_namespace, const MarkRules& rules);

}  // namespace plyfs::layer
