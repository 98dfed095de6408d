#include "drawn_tar.h"

#include <array>
#include <cstdint>
#include <cstdio>
#include <string_view>

namespace plyfs::fuzz {
namespace {

constexpr std::size_t kBlock = 512;
constexpr int kMostObjects = 12;

/// Names that meet again, lead through each other, and climb out.
std::string path_of(FuzzedDataProvider& input) {
  static const std::array<std::string, 18> kPaths = {
      "./",          "a",    "b",   "a/b",           "a/b/c",   "d/",
      "d/e",         ".",    "..",  "../canary",     "/canary", "a/../../canary",
      "link/canary", "a//b", "./a", "\xff\n\x1b[2J", "d/../b",  std::string(99, 'n')};
  if (input.ConsumeIntegralInRange<int>(0, 7) == 0) {
    return input.ConsumeRandomLengthString(120);
  }
  return input.PickValueInArray(kPaths);
}

std::string target_of(FuzzedDataProvider& input) {
  static const std::array<std::string, 6> kTargets = {"..", "../canary", "/", "a", ".", "d/e"};
  return input.ConsumeBool() ? input.PickValueInArray(kTargets) : path_of(input);
}

void put(std::string& header, std::size_t at, std::size_t size, std::string_view text) {
  header.replace(at, std::min(size, text.size()), text.substr(0, size));
}

/// Octal, or (when it does not fit, as GNU does) binary.
void put_number(std::string& header, std::size_t at, std::size_t size, std::uint64_t value) {
  if (value >> (3 * (size - 1)) == 0) {
    std::array<char, 32> text{};
    (void)std::snprintf(text.data(), text.size(), "%0*llo", static_cast<int>(size - 1),
                        static_cast<unsigned long long>(value));
    put(header, at, size, text.data());
    return;
  }
  for (std::size_t i = 0; i < size; ++i, value >>= 8U) {
    header[at + size - 1 - i] = static_cast<char>(value & 0xffU);
  }
  header[at] = static_cast<char>(header[at] | '\x80');
}

void seal(std::string& header) {
  put(header, 148, 8, "        ");
  unsigned sum = 0;
  for (const char byte : header) {
    sum += static_cast<unsigned char>(byte);
  }
  std::array<char, 16> text{};
  (void)std::snprintf(text.data(), text.size(), "%06o", sum);
  put(header, 148, 7, {text.data(), 7});
}

std::string padded(std::string content) {
  content.resize((content.size() + kBlock - 1) / kBlock * kBlock);
  return content;
}

std::string header_of(const std::string& path, char type, std::uint64_t size) {
  std::string header(kBlock, '\0');
  put(header, 0, 100, path);
  put_number(header, 100, 8, 0644);
  put_number(header, 108, 8, 0);
  put_number(header, 116, 8, 0);
  put_number(header, 124, 12, size);
  put_number(header, 136, 12, 1);
  header[156] = type;
  put(header, 257, 8, std::string_view{"ustar\00000", 8});
  return header;
}

/// "LENGTH KEY=VALUE\n", the length counting itself.
std::string pax_record(const std::string& key, const std::string& value) {
  const std::size_t rest = key.size() + value.size() + 3;
  std::size_t length = rest + 1;
  while (std::to_string(length).size() + rest != length) {
    ++length;
  }
  return std::to_string(length) + ' ' + key + '=' + value + '\n';
}

std::string pax_of(FuzzedDataProvider& input) {
  static const std::array<std::string, 16> kKeys = {"path",
                                                    "linkpath",
                                                    "size",
                                                    "mtime",
                                                    "atime",
                                                    "uid",
                                                    "gid",
                                                    "SCHILY.xattr.user.x",
                                                    "SCHILY.xattr.trusted.overlay.opaque",
                                                    "SCHILY.xattr.",
                                                    "LIBARCHIVE.xattr.user.%41",
                                                    "SCHILY.acl.access",
                                                    "SCHILY.acl.default",
                                                    "GNU.sparse.realsize",
                                                    "GNU.sparse.map",
                                                    "GNU.sparse.major"};
  static const std::array<std::string, 10> kValues = {"..",
                                                      "-1.5",
                                                      "-0.25",
                                                      "99999999999999999999",
                                                      "1",
                                                      "0,1,4,2",
                                                      "user::rw-,group::r--,other::---",
                                                      "user:1:rwx,mask::r-x",
                                                      std::string("\0\xff", 2),
                                                      "../canary"};
  std::string records;
  const auto count = input.ConsumeIntegralInRange<int>(1, 3);
  for (int i = 0; i < count; ++i) {
    const std::string key = input.PickValueInArray(kKeys);
    records += pax_record(key, input.ConsumeBool() ? input.PickValueInArray(kValues)
                                                   : input.ConsumeRandomLengthString(40));
  }
  return input.ConsumeIntegralInRange<int>(0, 7) == 0 ? records + input.ConsumeRandomLengthString(9)
                                                      : records;
}

std::string object_of(FuzzedDataProvider& input) {
  static constexpr char kTypes[] = {'0', '0', '0', '5', '5', '2',  '2', '1', '1',
                                    '3', '4', '6', '7', 'S', '\0', 'V', 's'};
  std::string before;
  switch (input.ConsumeIntegralInRange<int>(0, 7)) {
    case 0:
    case 1: {
      const std::string records = pax_of(input);
      std::string header = header_of(
          "pax", input.ConsumeIntegralInRange<int>(0, 7) == 0 ? 'g' : 'x', records.size());
      seal(header);
      before = header + padded(records);
      break;
    }
    case 2: {
      const std::string name =
          (input.ConsumeBool() ? path_of(input) : std::string(200, 'l')) + '\0';
      std::string header = header_of("././@LongLink", input.ConsumeBool() ? 'L' : 'K', name.size());
      seal(header);
      before = header + padded(name);
      break;
    }
    default:
      break;
  }
  const char type = input.PickValueInArray(kTypes);
  const std::string content =
      type == '0' || type == 'S' || type == '\0' ? input.ConsumeRandomLengthString(600) : "";
  std::string header = header_of(path_of(input), type, content.size());
  put_number(header, 100, 8, input.ConsumeIntegral<std::uint16_t>());
  if (input.ConsumeIntegralInRange<int>(0, 3) == 0) {
    put_number(header, 108, 8, input.ConsumeIntegral<std::uint32_t>());
    put_number(header, 136, 12, input.ConsumeIntegral<std::uint64_t>());
  }
  if (type == '1' || type == '2') {
    put(header, 157, 100, target_of(input));
  }
  if (type == 'S') {
    put_number(header, 386, 12, input.ConsumeIntegralInRange<std::uint64_t>(0, 1U << 20U));
    put_number(header, 398, 12, content.size());
    put_number(header, 483, 12, input.ConsumeIntegralInRange<std::uint64_t>(0, 1U << 21U));
  }
  seal(header);
  return before + header + padded(content);
}

}  // namespace

std::string draw_tar(FuzzedDataProvider& input) {
  std::string tar;
  const auto objects = input.ConsumeIntegralInRange<int>(1, kMostObjects);
  for (int i = 0; i < objects && input.remaining_bytes() > 0; ++i) {
    tar += object_of(input);
  }
  tar.append(2 * kBlock, '\0');
  const auto damages = input.ConsumeIntegralInRange<int>(0, 9) - 7;
  for (int i = 0; i < damages; ++i) {
    tar[input.ConsumeIntegralInRange<std::size_t>(0, tar.size() - 1)] =
        input.ConsumeIntegral<char>();
  }
  if (input.ConsumeIntegralInRange<int>(0, 9) == 9) {
    tar.resize(input.ConsumeIntegralInRange<std::size_t>(0, tar.size()));
  }
  return tar;
}

}  // namespace plyfs::fuzz
