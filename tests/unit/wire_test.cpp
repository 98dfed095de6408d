// What the session reads from and writes to messages, bytes in, bytes out.
#include "fuse/wire.h"

#include <sys/uio.h>

#include <cstring>
#include <string>
#include <vector>

#include "catch.h"

namespace plyfs::fuse {
namespace {

template <typename Body>
std::vector<char> message_of(std::uint32_t opcode, const Body& body, const std::string& rest = {}) {
  fuse_in_header header{};
  header.opcode = opcode;
  header.unique = 42;
  header.len = static_cast<std::uint32_t>(sizeof header + sizeof body + rest.size());
  std::vector<char> bytes(header.len);
  std::memcpy(bytes.data(), &header, sizeof header);
  std::memcpy(bytes.data() + sizeof header, &body, sizeof body);
  std::memcpy(bytes.data() + sizeof header + sizeof body, rest.data(), rest.size());
  return bytes;
}

TEST_CASE("the longer SETXATTR becomes the one that libfuse reads", "[fuse]") {
  const std::string rest{"user.x\0value", 12};
  for (const bool outside : {false, true}) {
    fuse_setxattr_in body{};
    body.size = 5;
    body.flags = 1;
    body.setxattr_flags = outside ? FUSE_SETXATTR_ACL_KILL_SGID : 0;
    std::vector<char> bytes = message_of(FUSE_SETXATTR, body, rest);
    std::span<char> message{bytes};
    const RawRequest raw = inspect(message, true);
    CHECK(raw.outside_of_group == outside);
    CHECK(raw.unique == 42);
    REQUIRE(message.size() == sizeof(fuse_in_header) + FUSE_COMPAT_SETXATTR_IN_SIZE + rest.size());
    CHECK(header_of(message.data()).len == message.size());
    fuse_setxattr_in shorter{};
    std::memcpy(&shorter, message.data() + sizeof(fuse_in_header), FUSE_COMPAT_SETXATTR_IN_SIZE);
    CHECK(shorter.size == 5);
    CHECK(shorter.flags == 1);
    CHECK(std::string{message.data() + message.size() - rest.size(), rest.size()} == rest);
  }
}

TEST_CASE("a SETXATTR stays as it is where the kernel sends the short one", "[fuse]") {
  std::vector<char> bytes = message_of(FUSE_SETXATTR, fuse_setxattr_in{}, "rest");
  std::span<char> message{bytes};
  CHECK_FALSE(inspect(message, false).outside_of_group);
  CHECK(message.size() == bytes.size());
}

TEST_CASE("a SETXATTR that is too short for its form is left to libfuse", "[fuse]") {
  std::vector<char> bytes = message_of(FUSE_SETXATTR, std::uint32_t{5});
  std::span<char> message{bytes};
  (void)inspect(message, true);
  CHECK(message.size() == bytes.size());
}

TEST_CASE("INIT is answered with what libfuse does not know, and only if offered", "[fuse]") {
  for (const bool offered : {false, true}) {
    fuse_init_in in{};
    in.flags = offered ? FUSE_HANDLE_KILLPRIV_V2 | FUSE_SETXATTR_EXT : 0;
    std::vector<char> bytes = message_of(FUSE_INIT, in);
    std::span<char> message{bytes};
    const RawRequest raw = inspect(message, false);
    fuse_init_out out{};
    accept_more(raw, {&out, sizeof out});
    CHECK(((out.flags & FUSE_HANDLE_KILLPRIV_V2) != 0) == offered);
    CHECK(((out.flags & FUSE_SETXATTR_EXT) != 0) == offered);
  }
}

}  // namespace
}  // namespace plyfs::fuse
