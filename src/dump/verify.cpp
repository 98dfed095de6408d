#include "dump/verify.h"

#include <algorithm>

#include "base/text.h"
#include "dump/index_check.h"
#include "layer/marks.h"
#include "sys/dir_stream.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::dump {
namespace {

class Verifier {
 public:
  explicit Verifier(const OpenStack& stack) : stack_(stack) {}

  Result<std::vector<Finding>> run() {
    Target start = TRY(find_path(stack_, ""));
    IndexCheck index = TRY(IndexCheck::begin(stack_));
    const WalkResult walked =
        walk(stack_, std::move(start), {}, [&](const Answer& answer, std::size_t) {
          check(answer);
          index.see(answer);
          return Descend::kYes;
        });
    if (const Unreadable& unreadable = walked.unreadable; unreadable.directories > 0) {
      const std::string others =
          unreadable.directories == 1
              ? ""
              : " (and " + std::to_string(unreadable.directories - 1) + " more)";
      add({Problem::kUnreadable,
           Weight::kError,
           unreadable.layer,
           unreadable.path,
           {},
           "could not be listed: " + unreadable.error.message() + others});
    }
    index.finish(findings_);
    check_work();
    return std::move(findings_);
  }

 private:
  void add(Finding finding) { findings_.push_back(std::move(finding)); }

  void check(const Answer& answer) {
    if (answer.error) {
      add({Problem::kUnusable,
           Weight::kError,
           // The topmost that has the name: there the search began.
           answer.versions.empty() ? stack_.first() : answer.versions.front().layer,
           answer.path,
           {},
           "cannot be looked up: " + answer.error->message()});
    }
    for (std::size_t i = 0; i < answer.versions.size(); ++i) {
      const Version& version = answer.versions[i];
      if (version.reason.cause != Cause::kNone && version.state != State::kWhiteout) {
        continue;
      }
      if (version.state == State::kWhiteout) {
        check_whiteout(answer, i);
      } else if (version.stat.is_directory() && !version.redirect.empty()) {
        check_redirect(answer, version);
      }
    }
  }

  void check_whiteout(const Answer& answer, std::size_t index) {
    const Version& version = answer.versions[index];
    const bool hides =
        std::any_of(answer.versions.begin() + static_cast<std::ptrdiff_t>(index) + 1,
                    answer.versions.end(), [&](const Version& other) {
                      return other.layer > version.layer && other.state != State::kWhiteout;
                    });
    const Weight weight = version.layer == layer::kUpper ? Weight::kRepairable : Weight::kRemark;
    if (!hides && version.reason.cause == Cause::kNone) {
      add({Problem::kWhiteoutOverNothing, weight, version.layer, version.path, version.family,
           "a whiteout (" + std::string{family_word(version.family)} + ") over nothing"});
    } else if (hides && in_opaque_directory(version)) {
      add({Problem::kWhiteoutInOpaque, weight, version.layer, version.path, version.family,
           "a whiteout (" + std::string{family_word(version.family)} +
               ") in an opaque directory, which hides the same"});
    }
  }

  [[nodiscard]] bool in_opaque_directory(const Version& version) const {
    const std::size_t slash = version.path.rfind('/');
    if (slash == std::string::npos) {
      return false;
    }
    const auto directory =
        open_in_layer(stack_.layers()[version.layer], version.path.substr(0, slash));
    if (!directory) {
      return false;
    }
    const auto marks = layer::read_dir_marks({directory->borrow(), ""}, stack_.layers().reading());
    layer::AufsHint hint;
    const auto file = layer::has_aufs_opaque({directory->borrow(), ""}, hint);
    return (marks && marks->opaque) || (file && *file);
  }

  void check_redirect(const Answer& answer, const Version& version) {
    const bool leads = std::ranges::any_of(answer.versions, [&](const Version& other) {
      return other.layer > version.layer && other.state == State::kMerged;
    });
    if (!leads && !answer.error) {
      add({Problem::kDanglingRedirect,
           Weight::kError,
           version.layer,
           version.path,
           {},
           "a redirect to " + escaped(version.redirect) +
               ", where no layer below has a directory"});
    }
  }

  void check_work() {
    const auto& work = stack_.options().work;
    if (!stack_.layers().has_upper() || !work) {
      return;
    }
    const std::string staging = *work + "/work";
    const auto listing = sys::open_directory_path(staging.c_str());
    if (!listing) {
      return;  // nobody has mounted it yet
    }
    std::vector<std::string> names;
    if (const auto opened = sys::open_listing({listing->borrow(), ""})) {
      (void)sys::read_directory(opened->borrow(), [&](const sys::RawEntry& raw) {
        names.emplace_back(raw.name, raw.name_size);
        return sys::Visit::kContinue;
      });
    }
    std::ranges::sort(names);
    for (const std::string& name : names) {
      if (name == "#whiteout") {
        continue;  // what whiteouts are links of
      }
      if (name == "incompat") {
        add({Problem::kVolatileCrash,
             Weight::kError,
             layer::kUpper,
             name,
             {},
             "a volatile mount of this upper is running, or ended in a crash: its content may be "
             "damaged"});
      } else {
        add({Problem::kLeftOver,
             Weight::kRepairable,
             layer::kUpper,
             name,
             {},
             "left over in the work directory " + escaped(staging)});
      }
    }
  }

  const OpenStack& stack_;
  std::vector<Finding> findings_;
};

}  // namespace

Result<std::vector<Finding>> verify(const OpenStack& stack) { return Verifier{stack}.run(); }

const char* problem_word(Problem problem) {
  switch (problem) {
    case Problem::kWhiteoutOverNothing:
      return "whiteout-over-nothing";
    case Problem::kWhiteoutInOpaque:
      return "whiteout-in-opaque";
    case Problem::kDanglingRedirect:
      return "dangling-redirect";
    case Problem::kUnusable:
      return "unusable";
    case Problem::kLeftOver:
      return "left-over";
    case Problem::kVolatileCrash:
      return "volatile-crash";
    case Problem::kUnreadable:
      return "unreadable";
    case Problem::kDanglingIndexEntry:
      return "dangling-index-entry";
    case Problem::kWrongLinkCount:
      return "wrong-link-count";
    case Problem::kBadIndexEntry:
      return "bad-index-entry";
  }
  return "unusable";
}

const char* weight_word(Weight weight) {
  switch (weight) {
    case Weight::kRemark:
      return "remark";
    case Weight::kRepairable:
      return "repairable";
    case Weight::kError:
      return "error";
  }
  return "error";
}

}  // namespace plyfs::dump
