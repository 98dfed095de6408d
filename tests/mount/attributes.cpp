#include "attributes.h"

#include <cstring>

#include "call.h"

namespace plyfs::tests {
namespace {

template <typename Number>
void add(std::string& bytes, Number number) {  // little endian, as the kernel stores them
  for (std::size_t index = 0; index < sizeof(number); ++index) {
    bytes.push_back(static_cast<char>((number >> (8U * index)) & 0xffU));
  }
}

unsigned number_at(const std::string& bytes, std::size_t at, std::size_t size) {
  unsigned number = 0;
  for (std::size_t index = 0; index < size; ++index) {
    number |= static_cast<unsigned>(static_cast<unsigned char>(bytes[at + index])) << (8U * index);
  }
  return number;
}

}  // namespace

std::string acl(const std::vector<AclEntry>& entries) {
  std::string bytes;
  add(bytes, std::uint32_t{2});
  for (const AclEntry& entry : entries) {
    add(bytes, static_cast<std::uint16_t>(entry.tag));
    add(bytes, entry.permissions);
    add(bytes, entry.id);
  }
  return bytes;
}

std::string acl_for_user(std::uint16_t owner, std::uint32_t user, std::uint16_t permissions,
                         std::uint16_t group, std::uint16_t mask, std::uint16_t other) {
  using Tag = AclEntry::Tag;
  return acl({{Tag::kOwner, owner},
              {Tag::kUser, permissions, user},
              {Tag::kOwningGroup, group},
              {Tag::kMask, mask},
              {Tag::kOther, other}});
}

std::string acl_text(const std::string& value) {
  if (value.empty() || value.front() == '<') {
    return value;
  }
  constexpr std::size_t kHeader = 4;
  constexpr std::size_t kEntry = 8;
  std::string text;
  for (std::size_t at = kHeader; at + kEntry <= value.size(); at += kEntry) {
    const unsigned tag = number_at(value, at, 2);
    const unsigned id = number_at(value, at + 4, 4);
    const char* letter = tag <= 2 ? "u" : tag <= 8 ? "g" : tag == 0x10 ? "m" : "o";
    text += text.empty() ? "" : ",";
    text += std::string(letter) + ":" + (id == 0xffffffffU ? "" : std::to_string(id)) + ":" +
            std::to_string(number_at(value, at + 2, 2));
  }
  return text;
}

std::string file_capability() {
  std::string bytes;
  add(bytes, std::uint32_t{0x02000001});  // VFS_CAP_REVISION_2, effective
  add(bytes, std::uint32_t{1U << 13U});   // permitted: CAP_NET_RAW
  add(bytes, std::uint32_t{0});
  add(bytes, std::uint32_t{0});
  add(bytes, std::uint32_t{0});
  return bytes;
}

bool acls_work(const std::string& directory) {
  const std::string probe = directory + "/acl-probe";
  (void)call::create(probe);
  const bool work = call::setxattr(probe, kAccessAcl, acl_for_user(6, 12345, 4, 4, 4, 4)) == "ok";
  (void)call::unlink(probe);
  return work;
}

}  // namespace plyfs::tests
