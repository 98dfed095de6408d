// `plyfs check`: what will work here, item by item.
#pragma once

#include <string>
#include <vector>

#include "plyfs/mount.h"
#include "plyfs/options.h"
#include "plyfs/result.h"
#include "sys/host_check.h"

namespace plyfs::config {

enum class Verdict : unsigned char { kGood, kRemark, kBad };

struct CheckItem {
  std::string name;  ///< "kernel", "/dev/fuse", "layer /x"
  Verdict verdict = Verdict::kGood;
  std::string detail;  ///< one line; for kBad in the form of a Failure
};

struct CheckReport {
  std::vector<CheckItem> items;
  int exit_code = 0;  ///< of the first bad item
};

/// Checks the machine, and as much of a stack as `options` names. Changes nothing.
CheckReport check_machine(const MountOptions& options, const sys::HostFacts& host,
                          const Status& user_namespaces);

/// One line per item.
std::string as_text(const CheckReport& report);
/// {"works": bool, "exit_code": N, "items": [{"name", "verdict", "detail"}]}
std::string as_json(const CheckReport& report);

}  // namespace plyfs::config
