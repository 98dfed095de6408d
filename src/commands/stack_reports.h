// The questions of plyfs-dump about a whole stack: layers, copyups, verify.
#pragma once

#include "commands/progress.h"
#include "dump/open_stack.h"
#include "dump/print.h"

namespace plyfs::commands {

struct ReportArguments {
  bool json = false;
  bool no_content = false;  ///< layers: do not look for equal contents
  bool repair = false;      ///< verify
  ProgressMode progress = ProgressMode::kAuto;
  dump::PrintStyle style;
};

// Each prints its report and returns the exit code.

int report_layers(const ReportArguments& arguments, const dump::OpenStack& stack);
int report_copyups(const ReportArguments& arguments, const dump::OpenStack& stack);
/// fsck(8): 0 nothing wrong, 1 all repaired, 4 something is left.
int report_verify(const ReportArguments& arguments, const dump::OpenStack& stack);

}  // namespace plyfs::commands
