#include "dump/content.h"

#include <cstring>
#include <memory>

#include "base/hash.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/open.h"

namespace plyfs::dump {
namespace {

constexpr std::size_t kBufferBytes = 256 * 1024;

Result<sys::UniqueFd> open_regular(sys::BorrowedFd handle) {
  if (!TRY(sys::stat_object({handle, ""})).is_regular()) {
    return Errno{EINVAL};
  }
  return sys::open_file_quietly({handle, ""});
}

Result<std::string> digest_of(sys::BorrowedFd handle) {
  const sys::UniqueFd file = TRY(open_regular(handle));
  const auto buffer = std::make_unique_for_overwrite<char[]>(kBufferBytes);
  ContentHash hash;
  for (std::int64_t at = 0;;) {
    const std::size_t got = TRY(sys::read_at(file.borrow(), buffer.get(), kBufferBytes, at));
    hash.add({buffer.get(), got});
    at += static_cast<std::int64_t>(got);
    if (got < kBufferBytes) {
      return hash.hex();
    }
  }
}

Result<sys::UniqueFd> open_version(const OpenStack& stack, const Version& version) {
  return version.index_entry.empty()
             ? open_object_in_layer(stack.layers()[version.layer], version.path)
             : sys::open_handle({stack.index(), version.index_entry.c_str()});
}

}  // namespace

Result<sys::UniqueFd> open_object_in_layer(const layer::Layer& layer, const std::string& path) {
  if (path.empty()) {
    return sys::duplicate(layer.root.borrow());
  }
  const std::size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "" : path.substr(0, slash);
  const std::string name = path.substr(slash + 1);
  const sys::UniqueFd parent = TRY(open_in_layer(layer, directory));
  return sys::open_handle({parent.borrow(), name.c_str()});
}

Result<sys::UniqueFd> open_file_in_layer(const layer::Layer& layer, const std::string& path) {
  // First a handle: opening a device or fifo by name would be an action of its own.
  const sys::UniqueFd handle = TRY(open_object_in_layer(layer, path));
  return open_regular(handle.borrow());
}

Result<std::string> file_digest(const layer::Layer& layer, const std::string& path) {
  const sys::UniqueFd handle = TRY(open_object_in_layer(layer, path));
  return digest_of(handle.borrow());
}

Result<std::string> file_digest(const OpenStack& stack, const Version& version) {
  const sys::UniqueFd handle = TRY(open_version(stack, version));
  return digest_of(handle.borrow());
}

Result<std::string> link_target(const OpenStack& stack, const Version& version) {
  const sys::UniqueFd handle = TRY(open_version(stack, version));
  return sys::read_link({handle.borrow(), ""});
}

Result<bool> same_content(const layer::Layer& a, const std::string& a_path, const layer::Layer& b,
                          const std::string& b_path) {
  const sys::UniqueFd first = TRY(open_file_in_layer(a, a_path));
  const sys::UniqueFd second = TRY(open_file_in_layer(b, b_path));
  const auto buffer = std::make_unique_for_overwrite<char[]>(2 * kBufferBytes);
  char* const other = buffer.get() + kBufferBytes;
  for (std::int64_t at = 0;;) {
    const std::size_t got = TRY(sys::read_at(first.borrow(), buffer.get(), kBufferBytes, at));
    const std::size_t too = TRY(sys::read_at(second.borrow(), other, kBufferBytes, at));
    if (got != too || std::memcmp(buffer.get(), other, got) != 0) {
      return false;
    }
    if (got < kBufferBytes) {
      return true;
    }
    at += static_cast<std::int64_t>(got);
  }
}

}  // namespace plyfs::dump
