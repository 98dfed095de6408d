#include "rules.h"

#include <cerrno>
#include <string_view>
#include <vector>

namespace plyfs::difftest {
namespace {

struct Rule {
  std::string_view name;
  std::string_view reason;
  bool (*applies)(const Operation&, const OpResult& reference, const OpResult& subject);
};

const std::vector<Rule>& rules() {
  static const std::vector<Rule> kRules = {};
  return kRules;
}

}  // namespace

bool excused(const Operation& op, const OpResult& reference, const OpResult& subject) {
  for (const Rule& rule : rules()) {
    if (rule.applies(op, reference, subject)) return true;
  }
  return false;
}

}  // namespace plyfs::difftest
