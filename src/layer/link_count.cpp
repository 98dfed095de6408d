#include "layer/link_count.h"

#include <charconv>

namespace plyfs::layer {

std::optional<LinkCountMark> parse_link_count(std::string_view mark) {
  if (mark.size() < 3 || (mark[0] != 'L' && mark[0] != 'U') || (mark[1] != '+' && mark[1] != '-')) {
    return std::nullopt;
  }
  LinkCountMark parsed;
  parsed.relative_to_lower = mark[0] == 'L';
  // from_chars knows no plus sign, and would take "+-1" for what it is not.
  const char* const begin = mark.data() + (mark[1] == '+' ? 2 : 1);
  const char* const end = mark.data() + mark.size();
  const auto [stop, error] = std::from_chars(begin, end, parsed.difference);
  if (error != std::errc{} || stop != end || (mark[1] == '+' && *begin == '-')) {
    return std::nullopt;
  }
  return parsed;
}

std::int64_t union_link_count(std::string_view mark, std::int64_t upper_nlink,
                              std::int64_t lower_nlink) {
  const auto parsed = parse_link_count(mark);
  if (!parsed) {
    return upper_nlink;
  }
  const std::int64_t base = !parsed->relative_to_lower ? upper_nlink
                            : lower_nlink > 0          ? lower_nlink
                                                       : upper_nlink - 1;
  const std::int64_t count = base + parsed->difference;
  return count > 0 ? count : upper_nlink;
}

}  // namespace plyfs::layer
