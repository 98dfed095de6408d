// Names as they are printed, and snapshots as they are read again.
#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "base/text.h"
#include "check.h"
#include "dump/compare.h"

namespace plyfs {
namespace {

void check_escaping(const std::string& bytes) {
  const std::string shown = escaped(bytes);
  for (const char byte : shown) {
    const auto value = static_cast<unsigned char>(byte);
    FUZZ_CHECK(value >= 0x20 && value != 0x7f);
  }
  FUZZ_CHECK(unescaped(shown) == bytes);
  (void)nlohmann::json(shown).dump();  // throws when it is not UTF-8
}

/// A file that lives in memory only, and its path.
class File {
 public:
  explicit File(const std::string& content) : fd_(::memfd_create("fuzz", MFD_CLOEXEC)) {
    FUZZ_CHECK(::write(fd_, content.data(), content.size()) ==
               static_cast<ssize_t>(content.size()));
  }
  ~File() { (void)::close(fd_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  [[nodiscard]] std::string path() const { return "/proc/self/fd/" + std::to_string(fd_); }

 private:
  int fd_;
};

void compare(const std::string& before, const std::string& after) {
  const File a{before};
  const File b{after};
  Failure failure;
  const auto text = dump::compare_snapshots(a.path(), b.path(), {}, failure);
  if (!text) {
    FUZZ_CHECK(failure.exit_code == 2);
    FUZZ_CHECK(failure.what.find('\n') == std::string::npos);
    return;
  }
  for (const char byte : *text) {
    const auto value = static_cast<unsigned char>(byte);
    FUZZ_CHECK(byte == '\n' || (value >= 0x20 && value != 0x7f));
  }
  const auto itself = dump::compare_snapshots(a.path(), a.path(), {}, failure);
  FUZZ_CHECK(itself && itself->empty());
}

}  // namespace
}  // namespace plyfs

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input{data, size};
  if (input.ConsumeBool()) {
    plyfs::check_escaping(input.ConsumeRemainingBytesAsString());
    return 0;
  }
  const std::string head = input.ConsumeBool() ? "plyfs-dump snapshot 1\n" : "";
  const std::string before = head + input.ConsumeRandomLengthString();
  plyfs::compare(before, head + input.ConsumeRemainingBytesAsString());
  return 0;
}
