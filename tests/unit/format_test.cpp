// The words on disk, and paths that redirects may say.
#include "layer/format.h"

#include <cerrno>

#include "catch.h"
#include "layer/link_count.h"
#include "merge/listing.h"
#include "merge/lookup.h"

namespace plyfs {
namespace {

using layer::NameClass;

TEST_CASE("marks are named as the kernel names them, in both namespaces", "[layer]") {
  CHECK(std::string(layer::mark_name(XattrNamespace::kTrusted, layer::Mark::kOpaque)) ==
        "trusted.overlay.opaque");
  CHECK(std::string(layer::mark_name(XattrNamespace::kUser, layer::Mark::kRedirect)) ==
        "user.overlay.redirect");
  CHECK(std::string(layer::mark_name(XattrNamespace::kUser, layer::Mark::kMetacopy)) ==
        "user.overlay.metacopy");
}

TEST_CASE("what users store under overlay names is escaped, and can never be a mark", "[layer]") {
  for (const char* name : {"trusted.overlay.opaque", "user.overlay.opaque", "user.overlay.anything",
                           "user.fuseoverlayfs.opaque", "user.overlay.overlay.opaque"}) {
    CAPTURE(name);
    const std::string stored = layer::stored_name(name);
    CHECK(layer::classify_stored(name) != NameClass::kPlain);
    CHECK(stored != name);
    CHECK(layer::classify_stored(stored) == NameClass::kEscaped);
    CHECK(layer::shown_name(stored) == name);
  }
  for (const char* name : {"user.overlays", "user.overlay", "security.capability", "user.x"}) {
    CAPTURE(name);
    CHECK(layer::classify_stored(name) == NameClass::kPlain);
    CHECK(layer::stored_name(name) == name);
  }
  CHECK(layer::classify_stored("trusted.overlay.redirect") == NameClass::kPrivate);
}

TEST_CASE("aufs names: whiteouts, and aufs's own files", "[layer]") {
  CHECK(layer::aufs_whiteout_name("a") == ".wh.a");
  CHECK(layer::is_aufs_name(".wh.a"));
  CHECK(layer::is_aufs_name(layer::kAufsOpaqueName));
  CHECK_FALSE(layer::is_aufs_name(".wha"));
  CHECK(layer::is_aufs_internal(".wh..wh.plnk"));
  CHECK(layer::is_aufs_internal(".wh."));
  CHECK_FALSE(layer::is_aufs_internal(".wh..opq"));  // the whiteout of ".opq"
}

TEST_CASE("link counts are relative to the upper or the lower inode, as the kernel reads them",
          "[layer]") {
  CHECK(layer::union_link_count("U+1", 2, 5) == 3);
  CHECK(layer::union_link_count("U-1", 4, 5) == 3);
  CHECK(layer::union_link_count("L-2", 2, 5) == 3);
  CHECK(layer::union_link_count("L+0", 4, 0) == 3);  // the lower inode is gone: without the index
}

TEST_CASE("a link count that is none leaves the upper's", "[layer]") {
  // The last ones overflowed: these marks are written by whoever made the layer.
  for (const char* bad : {"", "U", "U1", "U+", "X+1", "U+-1", "U+1x", "U 1", "U-9", "L-5",
                          "U+9223372036854775807", "L-9223372036854775808"}) {
    CAPTURE(bad);
    CHECK(layer::union_link_count(bad, 7, 5) == 7);
  }
}

TEST_CASE("a redirect is split into names, and can never climb", "[merge]") {
  const auto path = merge::split_absolute("/a/b c/.d");
  REQUIRE(path);
  CHECK(*path == std::vector<std::string>{"a", "b c", ".d"});
  for (const char* bad : {"", "a", "a/b", "/..", "/a/../b", "/.", "/a/.", "//", "/a//b", "/a/"}) {
    CAPTURE(bad);
    const auto split = merge::split_absolute(bad);
    CHECK((!split && split.error() == EINVAL));
  }
}

TEST_CASE("a name's place in a directory is its hash: constant, and behind . and ..", "[merge]") {
  CHECK(merge::order_of_name("a") == merge::order_of_name("a"));
  CHECK(merge::order_of_name("a") != merge::order_of_name("b"));
  for (const char* name : {"", "a", "\xff", "a longer name than most others"}) {
    CHECK(merge::order_of_name(name) >> merge::Listing::kHalf >= merge::Listing::kFirstOffset);
    CHECK(merge::order_of_name(name) < merge::Listing::kLastOrder);
  }
}

}  // namespace
}  // namespace plyfs
