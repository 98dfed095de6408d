#include "compare.h"

#include <cerrno>
#include <cstring>
#include <vector>

#include "rules.h"

namespace plyfs::difftest {
namespace {

std::string error_word(int error) {
  const char* name = ::strerrorname_np(error);
  if (error == 0) return "ok";
  return name != nullptr ? name : "error " + std::to_string(error);
}

std::string time_word(timespec time) {
  const std::string nanoseconds = std::to_string(1000000000 + time.tv_nsec).substr(1);
  return std::to_string(time.tv_sec) + "." + nanoseconds;
}

/// One aspect in which an entry differs.
struct Aspect {
  std::string name;
  std::string expected;
  std::string actual;
};

void differ(std::vector<Aspect>& found, const char* name, const std::string& expected,
            const std::string& actual) {
  if (expected != actual) found.push_back({name, expected, actual});
}

std::string xattr_text(const TreeEntry& entry) {
  std::string text;
  for (const auto& [name, value] : entry.xattrs) text += name + "=" + shell_word(value) + " ";
  return text;
}

std::vector<Aspect> entry_aspects(const TreeEntry& expected, const TreeEntry& actual,
                                  const TreeRules& rules) {
  std::vector<Aspect> found;
  differ(found, "attributes", expected.words, actual.words);
  differ(found, "content", shell_word(expected.content), shell_word(actual.content));
  if (rules.hard_links == HardLinks::kSame) {
    differ(found, "hard links (first name)", shell_word(expected.linked),
           shell_word(actual.linked));
  }
  if (expected.xattrs != actual.xattrs) {
    found.push_back({"xattrs", xattr_text(expected), xattr_text(actual)});
  }
  const bool times = rules.timeline != nullptr ? rules.timeline->agree(expected.mtime, actual.mtime)
                                               : same_time(expected.mtime, actual.mtime);
  if (!times) found.push_back({"mtime", time_word(expected.mtime), time_word(actual.mtime)});
  const bool markable = expected.words.starts_with("reg") || expected.words.starts_with("dir");
  if (rules.inode_numbers == InodeNumbers::kSame ||
      (rules.inode_numbers == InodeNumbers::kSameWhereMarked && markable)) {
    differ(found, "st_ino", std::to_string(expected.inode), std::to_string(actual.inode));
  }
  return found;
}

constexpr std::size_t kMostLines = 12;

class TreeReport {
 public:
  explicit TreeReport(std::string_view when) : when_(when) {}

  void add(const std::string& kind, const std::string& line) {
    if (key_.empty()) key_ = "tree/" + when_ + "/" + kind;
    if (++lines_ <= kMostLines) text_ += "  " + line + "\n";
  }

  [[nodiscard]] std::optional<Difference> result() const {
    if (lines_ == 0) return std::nullopt;
    std::string text = "trees differ " + when_ + ":\n" + text_;
    if (lines_ > kMostLines) text += "  ... and " + std::to_string(lines_ - kMostLines) + " more\n";
    return Difference{key_, text};
  }

 private:
  std::string when_;
  std::string key_;
  std::string text_;
  std::size_t lines_ = 0;
};

}  // namespace

std::string outcome_words(const OpResult& result) {
  if (result.error != 0) {
    return error_word(result.error) + " (" + std::strerror(result.error) + ")";
  }
  return std::to_string(result.value) + (result.data.empty() ? "" : " [" + result.data + "]");
}

std::optional<Difference> compare_results(const Operation& op, const OpResult& reference,
                                          const OpResult& subject, const Timeline& timeline) {
  std::string aspect;
  if (reference.error != subject.error) {
    aspect = error_word(reference.error) + " became " + error_word(subject.error);
  } else if (reference.value != subject.value) {
    aspect = "value";
  } else if (reference.data != subject.data) {
    aspect = "data";
  } else if (reference.mtime && subject.mtime &&
             !timeline.agree(*reference.mtime, *subject.mtime)) {
    aspect = "mtime";
  }
  if (aspect.empty() || excused(op, reference, subject)) return std::nullopt;
  std::string text = "results differ (" + aspect + "): " + describe(op) +
                     "\n  expected: " + outcome_words(reference) +
                     "\n  got:      " + outcome_words(subject) + "\n";
  if (aspect == "mtime") {
    text += "  mtime expected " + time_word(*reference.mtime) + ", got " +
            time_word(*subject.mtime) + "\n";
  }
  return Difference{"result/" + std::string{name_of(op.kind)} + "/" + aspect, text};
}

std::optional<Difference> compare_trees(const TreeDump& expected, const TreeDump& actual,
                                        std::string_view when, const TreeRules& rules) {
  TreeReport report{when};
  for (const auto& [path, entry] : expected.entries) {
    const auto found = actual.entries.find(path);
    if (found == actual.entries.end()) {
      report.add("missing", shell_word(path) + " is missing; expected " + entry.words);
      continue;
    }
    for (const Aspect& aspect : entry_aspects(entry, found->second, rules)) {
      report.add(aspect.name, shell_word(path) + " " + aspect.name + ": expected " +
                                  aspect.expected + ", got " + aspect.actual);
    }
  }
  for (const auto& [path, entry] : actual.entries) {
    if (expected.entries.count(path) == 0) {
      report.add("unexpected", shell_word(path) + " should not be there; it is " + entry.words);
    }
  }
  return report.result();
}

std::optional<Difference> check_tree(const TreeDump& dump, std::string_view when) {
  TreeReport report{when};
  for (const std::string& anomaly : dump.anomalies) {
    report.add("anomaly: " + anomaly.substr(0, anomaly.find(':')), anomaly);
  }
  return report.result();
}

}  // namespace plyfs::difftest
