// What proc(5) says of mounts, as text.
#include "sys/mount_table.h"

#include "catch.h"

namespace plyfs::sys {
namespace {

TEST_CASE("lines of mountinfo are split at spaces only, and their escapes taken back") {
  const MountTable table = parse_mount_table(
      "40 29 0:40 / /a\rb\vc\fd rw,relatime shared:1 master:2 - fuse.plyfs plyfs rw,user_id=0\n"
      "no line\n"
      "41 40 0:41 /r\\040s /x\\040\\011\\012\\134040\\043 rw - tmpfs none rw\n");
  REQUIRE(table.size() == 2);
  CHECK(table[0].path == "/a\rb\vc\fd");
  CHECK(table[0].type == "fuse.plyfs");
  CHECK(table[0].source == "plyfs");
  CHECK(table[0].options == "rw,user_id=0");
  CHECK(table[1].root == "/r s");
  CHECK(table[1].path == "/x \t\n\\040#");
}

TEST_CASE("which mount lies on top is told by parents, not by the order of lines") {
  const MountTable table = parse_mount_table(
      "7 6 0:7 / /m/deep/in rw - tmpfs none rw\n"
      "6 5 0:6 / /m/deep rw - tmpfs none rw\n"
      "5 3 0:5 / /m rw - tmpfs top rw\n"
      "3 1 0:3 / /m rw - tmpfs below rw\n"
      "1 0 0:1 / / rw - ext4 root rw\n"
      "8 1 0:8 / /mm rw - tmpfs none rw\n");
  CHECK(mounted_at(table, "/m")->id == 5);
  CHECK(lowest_at(table, "/m")->id == 3);
  CHECK(mounted_at(table, "/n") == nullptr);
  const auto below = mounted_below(table, "/m");
  REQUIRE(below.size() == 2);
  CHECK(below[0]->id == 6);
  CHECK(below[1]->id == 7);
}

}  // namespace
}  // namespace plyfs::sys
