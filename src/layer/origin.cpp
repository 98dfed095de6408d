#include "layer/origin.h"

#include <bit>

#include "sys/file_handle.h"

namespace plyfs::layer {
namespace {

constexpr unsigned char kVersion = 0;
constexpr unsigned char kMagic = 0xfb;
constexpr unsigned char kBigEndian = 1;
constexpr std::size_t kHeaderBytes = 5 + 16;  // version, magic, length, flags, type, uuid

}  // namespace

Result<std::optional<std::string>> encode_origin(const Layer& layer, sys::ObjectRef object) {
  if (!layer.uuid) {
    return std::optional<std::string>{};
  }
  const auto handle = TRY(sys::file_handle(object));
  if (!handle || handle->bytes.size() + kHeaderBytes > 255 || handle->type < 0 ||
      handle->type > 255) {
    return std::optional<std::string>{};
  }
  std::string origin;
  origin.push_back(static_cast<char>(kVersion));
  origin.push_back(static_cast<char>(kMagic));
  origin.push_back(static_cast<char>(kHeaderBytes + handle->bytes.size()));
  origin.push_back(static_cast<char>(std::endian::native == std::endian::big ? kBigEndian : 0));
  origin.push_back(static_cast<char>(handle->type));
  origin.append(reinterpret_cast<const char*>(layer.uuid->data()), layer.uuid->size());
  origin += handle->bytes;
  return std::optional<std::string>{std::move(origin)};
}

std::string index_name(const std::string& origin) {
  constexpr const char* kDigits = "0123456789abcdef";
  std::string name;
  name.reserve(origin.size() * 2);
  for (const char byte : origin) {
    const auto value = static_cast<unsigned char>(byte);
    name.push_back(kDigits[value >> 4]);
    name.push_back(kDigits[value & 15]);
  }
  return name;
}

}  // namespace plyfs::layer
