// What the upper layer changes in what its lower layers show: for diff and commit.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "image/object.h"
#include "image/tree_writer.h"
#include "plyfs/result.h"

namespace plyfs::image {

enum class Change : std::uint8_t {
  kAdded,
  kChanged,
  kDeleted,
  kSame,    ///< copied up, but to users nothing has changed
  kOpaque,  ///< a directory takes the place of one below; comes after that directory
};

/// How a directory is told that takes the place of another of its name.
enum class Replaced : std::uint8_t {
  kByName,  ///< as if its entries had been changed one by one: what docker diff says
  kWhole,   ///< kOpaque, then all that is in it: what a layer says
  /// kWhole; what a socket took the place of is kDeleted, too: what a layer says that holds none.
  kWholeWithoutSockets,
};

/// One difference, parents first, names in byte order; deletions before their siblings.
struct Difference {
  Change change = Change::kAdded;
  const std::string& path;  ///< "" is the root
  const Object* object;     ///< null for kDeleted and kOpaque
  const Object* below;      ///< what the lower layers show there; null when that is not known
};
using Visit = std::function<Status(const Difference&)>;

/// The two views of a stack with an upper: with it, and without.
class Changes {
 public:
  /// ENODATA for a stack without an upper.
  static Result<std::unique_ptr<Changes>> open(const dump::OpenStack& stack, Failure& failure);

  /// Calls `visit` for each difference. As in docker diff, a directory is kChanged also when only
  /// something in it is. On an error `at` is the path where it happened.
  Status compare(Replaced replaced, const Visit& visit, std::string& at) const;
  [[nodiscard]] const View& view() const { return *above_; }
  [[nodiscard]] const View& lower_view() const { return *below_; }

 private:
  Changes() = default;
  std::unique_ptr<dump::OpenStack> lowers_;
  std::unique_ptr<View> above_;
  std::unique_ptr<View> below_;
};

/// Writes the differences as a layer. Hard links stay links within it.
Status commit(const Changes& changes, TreeWriter& writer, const Progress& progress,
              std::string& at);

/// Writes all that the mount shows. Hard links stay links.
Status flatten(const View& view, TreeWriter& writer, const Progress& progress, std::string& at);

}  // namespace plyfs::image
