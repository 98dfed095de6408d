#include "skip.h"

#include <iostream>

namespace plyfs::tests {
namespace {

struct Skips {
  std::map<std::string, int> reasons;
  bool pending = false;
};

Skips& skips() {
  static Skips instance;
  return instance;
}

}  // namespace

void skip(const std::string& reason) {
  Skips& all = skips();
  all.pending = true;
  if (all.reasons[reason]++ == 0) {
    std::cout << "SKIPPED: " << reason << std::endl;
  }
}

bool take_skip() {
  const bool pending = skips().pending;
  skips().pending = false;
  return pending;
}

const std::map<std::string, int>& skip_reasons() { return skips().reasons; }

}  // namespace plyfs::tests
