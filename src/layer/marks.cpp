#include "layer/marks.h"

#include <algorithm>
#include <charconv>
#include <cstring>
#include <span>

#include "sys/object_xattr.h"

namespace plyfs::layer {
namespace {

constexpr XattrNamespace kSpaces[] = {XattrNamespace::kTrusted, XattrNamespace::kUser};

/// Trusted before user.
std::span<const XattrNamespace> spaces_of(Reading reading) {
  return std::span{kSpaces}.first(reading.user ? 2 : 1);
}

/// Which marks a NUL-separated list of xattr names holds.
class MarkList {
 public:
  explicit MarkList(const std::string& names) : names_(names) {}
  [[nodiscard]] bool empty() const { return names_.empty(); }
  [[nodiscard]] bool has(const char* wanted) const {
    for (std::size_t at = 0; at < names_.size(); at += std::strlen(&names_[at]) + 1) {
      if (std::strcmp(&names_[at], wanted) == 0) {
        return true;
      }
    }
    return false;
  }
  /// Whether there are marks that are not read.
  [[nodiscard]] bool has_others(Reading reading) const {
    for (std::size_t at = 0; !reading.user && at < names_.size();
         at += std::strlen(&names_[at]) + 1) {
      if (is_user_mark(&names_[at])) {
        return true;
      }
    }
    return false;
  }

 private:
  const std::string& names_;
};

/// Value of a mark, trusted before user; nullopt when neither is set. `by_user` is set when it is
/// the user's.
Result<std::optional<std::string>> read_mark(sys::ObjectRef object, const MarkList& list, Mark mark,
                                             Reading reading, bool* by_user = nullptr) {
  for (const XattrNamespace space : spaces_of(reading)) {
    const char* name = mark_name(space, mark);
    if (!list.has(name)) {
      continue;
    }
    auto value = TRY(sys::get_xattr(object, name));
    if (value) {
      if (by_user != nullptr && space == XattrNamespace::kUser) {
        *by_user = true;
      }
      return value;
    }
  }
  return std::optional<std::string>{};
}

Status read_opaque(sys::ObjectRef directory, const MarkList& list, Reading reading,
                   DirMarks& marks) {
  for (const XattrNamespace space : spaces_of(reading)) {
    const char* name = mark_name(space, Mark::kOpaque);
    if (!list.has(name)) {
      continue;
    }
    const auto value = TRY(sys::get_xattr(directory, name));
    if (value && !value->empty()) {
      if (value->front() == 'y' && !marks.opaque) {
        marks.opaque = true;
        marks.opaque_by = name;
      }
      marks.xwhiteouts = marks.xwhiteouts || value->front() == 'x';
    }
  }
  if (reading.user && list.has(kFuseOverlayfsOpaque)) {
    const auto value = TRY(sys::get_xattr(directory, kFuseOverlayfsOpaque));
    if (value && value->starts_with('y') && !marks.opaque) {
      marks.opaque = true;
      marks.opaque_by = kFuseOverlayfsOpaque;
    }
  }
  return {};
}

std::optional<std::uint64_t> parse_number(const std::optional<std::string>& text) {
  std::uint64_t number = 0;
  if (!text) {
    return std::nullopt;
  }
  const char* end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data(), end, number);
  if (error != std::errc{} || stop != end || number == 0) {
    return std::nullopt;
  }
  return number;
}

Result<DirMarks> read_dir_marks_once(sys::ObjectRef directory, Reading reading) {
  DirMarks marks;
  const std::string names = TRY(sys::list_xattrs(directory));
  const MarkList list{names};
  if (list.empty()) {
    return marks;
  }
  TRY(read_opaque(directory, list, reading, marks));
  marks.impure = TRY(read_mark(directory, list, Mark::kImpure, reading)).has_value();
  marks.redirect = TRY(read_mark(directory, list, Mark::kRedirect, reading, &marks.by_user))
                       .value_or(std::string{});
  marks.passed_over = list.has_others(reading);
  return marks;
}

Result<FileMarks> read_file_marks_once(sys::ObjectRef file, Reading reading) {
  FileMarks marks;
  const std::string names = TRY(sys::list_xattrs(file));
  const MarkList list{names};
  if (list.empty()) {
    return marks;
  }
  // Only presence counts for metacopy: its value is a digest that is not verified here.
  for (const XattrNamespace space : spaces_of(reading)) {
    const bool metacopy = list.has(mark_name(space, Mark::kMetacopy));
    marks.by_user = marks.by_user || (metacopy && space == XattrNamespace::kUser);
    marks.metacopy = marks.metacopy || metacopy;
    marks.origin = marks.origin || list.has(mark_name(space, Mark::kOrigin));
  }
  marks.redirect =
      TRY(read_mark(file, list, Mark::kRedirect, reading, &marks.by_user)).value_or(std::string{});
  marks.nlink = TRY(read_mark(file, list, Mark::kNlink, reading));
  marks.shown_ino = parse_number(TRY(read_mark(file, list, Mark::kPlyfsIno, reading)));
  marks.passed_over = list.has_others(reading);
  return marks;
}

}  // namespace

Result<DirMarks> read_dir_marks(sys::ObjectRef directory, Reading reading) {
  return as_wanted(directory, reading, [&] { return read_dir_marks_once(directory, reading); });
}

Result<FileMarks> read_file_marks(sys::ObjectRef file, Reading reading) {
  return as_wanted(file, reading, [&] { return read_file_marks_once(file, reading); });
}

Result<bool> is_xattr_whiteout(sys::ObjectRef file, Reading reading) {
  const std::string names = TRY(sys::list_xattrs(file));
  const MarkList list{names};
  return std::ranges::any_of(spaces_of(reading), [&](XattrNamespace space) {
    return list.has(mark_name(space, Mark::kWhiteout));
  });
}

}  // namespace plyfs::layer
