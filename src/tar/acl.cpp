#include "tar/acl.h"

#include <algorithm>
#include <cstdint>
#include <tuple>
#include <vector>

namespace plyfs::tar {
namespace {

// The format on disk: little-endian, a version, then entries of 8 bytes.
constexpr std::uint32_t kVersion = 2;
constexpr std::size_t kHeaderBytes = 4;
constexpr std::size_t kEntryBytes = 8;
constexpr std::uint32_t kNoId = 0xffffffff;

struct TagPair {
  std::uint16_t disk;
  int library;
};
// In the order in which the kernel wants them.
constexpr TagPair kTags[] = {
    {0x01, ARCHIVE_ENTRY_ACL_USER_OBJ},  {0x02, ARCHIVE_ENTRY_ACL_USER},
    {0x04, ARCHIVE_ENTRY_ACL_GROUP_OBJ}, {0x08, ARCHIVE_ENTRY_ACL_GROUP},
    {0x10, ARCHIVE_ENTRY_ACL_MASK},      {0x20, ARCHIVE_ENTRY_ACL_OTHER},
};

std::uint32_t number(std::string_view bytes) {
  std::uint32_t value = 0;
  for (std::size_t i = bytes.size(); i > 0; --i) {
    value = value << 8 | static_cast<unsigned char>(bytes[i - 1]);
  }
  return value;
}

void append(std::string& bytes, std::uint32_t value, std::size_t size) {
  for (std::size_t i = 0; i < size; ++i) {
    bytes.push_back(static_cast<char>(value >> (8 * i) & 0xff));
  }
}

}  // namespace

Status put_acl(archive_entry* entry, int type, std::string_view value) {
  if (value.size() < kHeaderBytes || (value.size() - kHeaderBytes) % kEntryBytes != 0 ||
      number(value.substr(0, kHeaderBytes)) != kVersion) {
    return Errno{EINVAL};
  }
  for (value.remove_prefix(kHeaderBytes); !value.empty(); value.remove_prefix(kEntryBytes)) {
    const std::uint32_t disk = number(value.substr(0, 2));
    const auto tag = std::ranges::find_if(kTags, [&](TagPair t) { return t.disk == disk; });
    if (tag == std::end(kTags)) {
      return Errno{EINVAL};
    }
    const bool named =
        tag->library == ARCHIVE_ENTRY_ACL_USER || tag->library == ARCHIVE_ENTRY_ACL_GROUP;
    const int id = named ? static_cast<int>(number(value.substr(4, 4))) : -1;
    const int permissions = static_cast<int>(number(value.substr(2, 2)) & 7);
    if (archive_entry_acl_add_entry(entry, type, permissions, tag->library, id, nullptr) !=
        ARCHIVE_OK) {
      return Errno{EINVAL};
    }
  }
  return {};
}

Ids::Ids() : lookup_(archive_write_disk_new()) {
  if (lookup_) {
    (void)archive_write_disk_set_standard_lookup(lookup_.get());
  }
}

std::int64_t Ids::user(const char* name) {
  return lookup_ ? archive_write_disk_uid(lookup_.get(), name, -1) : -1;
}

std::int64_t Ids::group(const char* name) {
  return lookup_ ? archive_write_disk_gid(lookup_.get(), name, -1) : -1;
}

Result<std::string> take_acl(archive_entry* entry, int type, Ids& ids) {
  // The count includes what follows from the mode only where there is more than that.
  std::vector<std::tuple<std::uint16_t, std::uint32_t, int>> found;
  int of_type = 0;
  int permissions = 0;
  int tag = 0;
  int number_in_tar = 0;
  const char* name = nullptr;
  const bool any = archive_entry_acl_reset(entry, type) != 0;
  while (any && archive_entry_acl_next(entry, type, &of_type, &permissions, &tag, &number_in_tar,
                                       &name) == ARCHIVE_OK) {
    const auto pair = std::ranges::find_if(kTags, [&](TagPair t) { return t.library == tag; });
    if (pair == std::end(kTags)) {
      return Errno{EINVAL};
    }
    std::uint32_t id = kNoId;
    if (tag == ARCHIVE_ENTRY_ACL_USER || tag == ARCHIVE_ENTRY_ACL_GROUP) {
      std::int64_t known = number_in_tar;
      if (known < 0 && name != nullptr) {
        known = tag == ARCHIVE_ENTRY_ACL_USER ? ids.user(name) : ids.group(name);
      }
      if (known < 0) {
        return Errno{ENOENT};
      }
      id = static_cast<std::uint32_t>(known);
    }
    found.emplace_back(pair->disk, id, permissions & 7);
  }
  if (found.empty()) {
    return std::string{};
  }
  std::ranges::sort(found);
  std::string value;
  append(value, kVersion, kHeaderBytes);
  for (const auto& [disk, of_id, may] : found) {
    append(value, disk, 2);
    append(value, static_cast<std::uint32_t>(may), 2);
    append(value, of_id, 4);
  }
  return value;
}

}  // namespace plyfs::tar
