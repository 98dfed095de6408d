// Runs the tests; the last line counts units: one test case on one system.
// For listeners, which tell of each section.
#define CATCH_CONFIG_EXTERNAL_INTERFACES
#include <sys/stat.h>

#include <iostream>
#include <string>
#include <vector>

#include "catch.h"
#include "process.h"
#include "run_catch.h"
#include "skip.h"
#include "system.h"

namespace plyfs::tests {
namespace {

struct Tally {
  int passed = 0;
  int failed = 0;
  int skipped = 0;
  std::vector<std::string> failures;

  static Tally& instance() {
    static Tally tally;
    return tally;
  }

  void count(const std::string& name, bool has_failed) {
    const bool was_skipped = take_skip();
    if (has_failed) {
      ++failed;
      failures.push_back(name);
    } else if (was_skipped) {
      ++skipped;
    } else {
      ++passed;
    }
  }

  void print() const {
    for (const auto& [reason, times] : skip_reasons()) {
      std::cout << "SKIPPED " << times << " times: " << reason << '\n';
    }
    for (const std::string& name : failures) {
      std::cout << "FAILED: " << name << '\n';
    }
    std::cout << passed << " passed, " << failed << " failed, " << skipped << " skipped"
              << std::endl;
  }
};

#if defined(CATCH_VERSION_MAJOR) && CATCH_VERSION_MAJOR >= 3
using ListenerBase = Catch::EventListenerBase;
#else
using ListenerBase = Catch::TestEventListenerBase;
#endif

/// Depth 1 is the test case itself, depth 2 one system.
class Counter : public ListenerBase {
 public:
  using ListenerBase::ListenerBase;

  void sectionStarting(const Catch::SectionInfo& info) override {
    ++depth_;
    if (depth_ == 1) {
      name_ = info.name;
      saw_system_ = false;
    }
    ListenerBase::sectionStarting(info);
  }

  void sectionEnded(const Catch::SectionStats& stats) override {
    const bool has_failed = stats.assertions.failed > 0;
    if (depth_ == 2) {
      saw_system_ = true;
      Tally::instance().count(name_ + " [" + stats.sectionInfo.name + "]", has_failed);
    } else if (depth_ == 1 && !saw_system_) {
      Tally::instance().count(name_, has_failed);
    }
    --depth_;
    ListenerBase::sectionEnded(stats);
  }

 private:
  int depth_ = 0;
  bool saw_system_ = false;
  std::string name_;
};

CATCH_REGISTER_LISTENER(Counter)

}  // namespace
}  // namespace plyfs::tests

int main(int argc, char** argv) {
  ::umask(022);
  plyfs::tests::adopt_orphans();
  // The workspace comes first: as root it moves this process into a mount namespace of its own.
  std::cout << "plyfs-mount-tests: " << plyfs::tests::plyfs_program() << ", as "
            << (plyfs::tests::is_root() ? "root" : "a user") << ", layers on "
            << plyfs::tests::workspace_filesystem() << " in " << plyfs::tests::workspace()
            << std::endl;
  const int result = plyfs::tests::run_catch(argc, argv);
  plyfs::tests::Tally::instance().print();
  return result;
}
