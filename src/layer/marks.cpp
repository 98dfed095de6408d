#include "layer/marks.h"

#include <charconv>
#include <cstring>

#include "sys/object_xattr.h"

namespace plyfs::layer {
namespace {

constexpr XattrNamespace kSpaces[] = {XattrNamespace::kTrusted, XattrNamespace::kUser};

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

 private:
  const std::string& names_;
};

/// Value of a mark, trusted before user; nullopt when neither is set.
Result<std::optional<std::string>> read_mark(sys::ObjectRef object, const MarkList& list,
                                             Mark mark) {
  for (const XattrNamespace space : kSpaces) {
    const char* name = mark_name(space, mark);
    if (!list.has(name)) {
      continue;
    }
    auto value = TRY(sys::get_xattr(object, name));
    if (value) {
      return value;
    }
  }
  return std::optional<std::string>{};
}

Status read_opaque(sys::ObjectRef directory, const MarkList& list, DirMarks& marks) {
  for (const XattrNamespace space : kSpaces) {
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
  if (list.has(kFuseOverlayfsOpaque)) {
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

Result<DirMarks> read_dir_marks_once(sys::ObjectRef directory) {
  DirMarks marks;
  const std::string names = TRY(sys::list_xattrs(directory));
  const MarkList list{names};
  if (list.empty()) {
    return marks;
  }
  TRY(read_opaque(directory, list, marks));
  marks.impure = TRY(read_mark(directory, list, Mark::kImpure)).has_value();
  marks.redirect = TRY(read_mark(directory, list, Mark::kRedirect)).value_or(std::string{});
  return marks;
}

Result<FileMarks> read_file_marks_once(sys::ObjectRef file) {
  FileMarks marks;
  const std::string names = TRY(sys::list_xattrs(file));
  const MarkList list{names};
  if (list.empty()) {
    return marks;
  }
  // Only presence counts for metacopy: its value is a digest that is not verified here.
  for (const XattrNamespace space : kSpaces) {
    marks.metacopy = marks.metacopy || list.has(mark_name(space, Mark::kMetacopy));
    marks.origin = marks.origin || list.has(mark_name(space, Mark::kOrigin));
  }
  marks.redirect = TRY(read_mark(file, list, Mark::kRedirect)).value_or(std::string{});
  marks.nlink = TRY(read_mark(file, list, Mark::kNlink));
  marks.shown_ino = parse_number(TRY(read_mark(file, list, Mark::kPlyfsIno)));
  return marks;
}

}  // namespace

Result<DirMarks> read_dir_marks(sys::ObjectRef directory, Reading reading) {
  return as_wanted(directory, reading, [&] { return read_dir_marks_once(directory); });
}

Result<FileMarks> read_file_marks(sys::ObjectRef file, Reading reading) {
  return as_wanted(file, reading, [&] { return read_file_marks_once(file); });
}

Result<bool> is_xattr_whiteout(sys::ObjectRef file) {
  const std::string names = TRY(sys::list_xattrs(file));
  const MarkList list{names};
  return list.has(mark_name(XattrNamespace::kTrusted, Mark::kWhiteout)) ||
         list.has(mark_name(XattrNamespace::kUser, Mark::kWhiteout));
}

}  // namespace plyfs::layer
