// The words on disk: names, xattr names, redirects, link count marks, index names.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <string>

#include "check.h"
#include "layer/format.h"
#include "layer/link_count.h"
#include "layer/origin.h"
#include "merge/listing.h"
#include "merge/lookup.h"

namespace plyfs {
namespace {

void check_names(const std::string& name) {
  const std::string whiteout = layer::aufs_whiteout_name(name);
  FUZZ_CHECK(layer::is_aufs_name(whiteout));
  FUZZ_CHECK(whiteout.substr(layer::kAufsPrefix.size()) == name);
  FUZZ_CHECK(!layer::is_aufs_internal(name) || layer::is_aufs_name(name));
  const std::uint64_t order = merge::order_of_name(name);
  FUZZ_CHECK(order >> merge::Listing::kHalf >= merge::Listing::kFirstOffset);
  FUZZ_CHECK(order < merge::Listing::kLastOrder);
}

/// What a user sets can never act as a mark, and comes back under its name.
void check_xattr_name(const std::string& name) {
  const std::string stored = layer::stored_name(name);
  FUZZ_CHECK(layer::classify_stored(stored) != layer::NameClass::kPrivate);
  const bool escaped = layer::classify_stored(stored) == layer::NameClass::kEscaped;
  FUZZ_CHECK((escaped ? layer::shown_name(stored) : stored) == name);
}

void check_redirect(const std::string& redirect) {
  const auto components = merge::split_absolute(redirect);
  if (!components) {
    FUZZ_CHECK(components.error() == EINVAL);
    return;
  }
  std::string joined;
  for (const std::string& component : *components) {
    FUZZ_CHECK(!component.empty() && component != "." && component != "..");
    FUZZ_CHECK(component.size() <= 255 && component.find('\0') == std::string::npos);
    joined += '/' + component;
  }
  FUZZ_CHECK(joined == redirect);
}

void check_link_count(const std::string& mark) {
  for (const std::int64_t lower : {0, 3}) {
    FUZZ_CHECK(layer::union_link_count(mark, 2, lower) > 0);
  }
  if (!layer::parse_link_count(mark)) {
    FUZZ_CHECK(layer::union_link_count(mark, 7, 3) == 7);
  }
}

}  // namespace
}  // namespace plyfs

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input{data, size};
  const auto which = input.ConsumeIntegralInRange<int>(0, 4);
  const std::string text = input.ConsumeRemainingBytesAsString();
  switch (which) {
    case 0:
      plyfs::check_names(text);
      break;
    case 1:
      plyfs::check_xattr_name(text);
      break;
    case 2:
      plyfs::check_redirect(text);
      break;
    case 3:
      plyfs::check_link_count(text);
      break;
    default:
      FUZZ_CHECK(plyfs::layer::index_name(text).size() == 2 * text.size());
  }
  return 0;
}
