// A tar of unknown origin that is imported into a volume: it changes nothing outside, and what it
// made comes back from an export.
#include <fcntl.h>
#include <fuzzer/FuzzedDataProvider.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "check.h"
#include "drawn_tar.h"
#include "sys/open.h"
#include "tar/export_tree.h"
#include "tar/import_tree.h"

namespace plyfs::fuzz {
namespace {

/// A room with two roots, and beside them what no archive may touch.
class Room {
 public:
  Room() {
    const char* const given = std::getenv("TMPDIR");
    path_ = std::string{given == nullptr ? "/tmp" : given} + "/plyfs-fuzz.XXXXXX";
    FUZZ_CHECK(::mkdtemp(path_.data()) != nullptr);
    for (const char* name : {"/a", "/b"}) {
      FUZZ_CHECK(::mkdir((path_ + name).c_str(), 0755) == 0);
    }
    std::ofstream{path_ + "/canary"} << "alive";
    FUZZ_CHECK(::stat((path_ + "/canary").c_str(), &canary_) == 0);
  }
  ~Room() {
    // A directory whose owner may not enter it keeps its content from anybody but root.
    open_up(path_);
    std::error_code error;
    (void)std::filesystem::remove_all(path_, error);
  }
  Room(const Room&) = delete;
  Room& operator=(const Room&) = delete;

  [[nodiscard]] std::string path(const char* name) const { return path_ + '/' + name; }
  [[nodiscard]] sys::UniqueFd root(const char* name) const {
    auto opened = sys::open_directory_path(path(name).c_str());
    FUZZ_CHECK(opened);
    return *std::move(opened);
  }

  void check_outside() const {
    std::size_t names = 0;
    for (const auto& entry : std::filesystem::directory_iterator{path_}) {
      const std::string name = entry.path().filename();
      FUZZ_CHECK(name == "a" || name == "b" || name == "canary");
      ++names;
    }
    FUZZ_CHECK(names == 3);
    struct ::stat now {};
    FUZZ_CHECK(::lstat((path_ + "/canary").c_str(), &now) == 0);
    FUZZ_CHECK(now.st_ino == canary_.st_ino && now.st_mode == canary_.st_mode &&
               now.st_nlink == 1 && now.st_uid == canary_.st_uid &&
               now.st_mtim.tv_sec == canary_.st_mtim.tv_sec &&
               now.st_mtim.tv_nsec == canary_.st_mtim.tv_nsec);
    std::ifstream in{path_ + "/canary"};
    FUZZ_CHECK((std::string{std::istreambuf_iterator<char>{in}, {}}) == "alive");
  }

 private:
  static void open_up(const std::string& directory) {
    (void)::chmod(directory.c_str(), 0700);
    std::error_code error;
    for (const auto& entry : std::filesystem::directory_iterator{directory, error}) {
      if (entry.is_directory(error) && !entry.is_symlink(error)) {
        open_up(entry.path());
      }
    }
  }
  std::string path_;
  struct ::stat canary_ {};
};

Status import_bytes(const std::string& tar, const Room& room, const char* name) {
  const sys::UniqueFd memory{::memfd_create("fuzz", MFD_CLOEXEC)};
  FUZZ_CHECK(::write(memory.borrow().get(), tar.data(), tar.size()) ==
             static_cast<ssize_t>(tar.size()));
  tar::TarInput input;
  TRY(input.open("/proc/self/fd/" + std::to_string(memory.borrow().get())));
  const sys::UniqueFd root = room.root(name);
  FileStat defaults;
  defaults.mode = kTypeDirectory | 0755;
  defaults.uid = ::geteuid();
  defaults.gid = ::getegid();
  tar::ImportEvents events;
  events.progress = [](std::uint64_t) {};
  events.left_out = [](const std::string&, const std::string&, Errno) {};
  tar::ImportTrouble trouble;
  const Status done = tar::import_tree(input, root.borrow(), defaults, {}, events, trouble);
  FUZZ_CHECK(trouble.remedy.find('\n') == std::string::npos);
  return done;
}

/// Empty when it could not be done, as where this user may not read what it made.
std::string export_bytes(const Room& room, const char* name) {
  const auto root = sys::open_listing({room.root(name).borrow(), ""});
  if (!root) {
    return {};
  }
  std::string bytes;
  const auto output =
      tar::TarOutput::open(tar::Compression::kNone, {}, [&](std::string_view piece) {
        bytes += piece;
        return Status{};
      });
  FUZZ_CHECK(output);
  tar::ExportEvents events;
  events.progress = [](std::uint64_t, std::uint64_t) {};
  events.left_out = [](const std::string&) {};
  std::string at;
  if (!tar::export_tree(root->borrow(), **output, events, at)) {
    return {};
  }
  FUZZ_CHECK((*output)->finish());
  return bytes;
}

/// Whether libarchive can say all of it in a tar, and soon: it writes no atime of 0, and holes byte
/// by byte.
bool comes_back(const std::string& directory) {
  constexpr off_t kMost = off_t{64} << 20U;
  for (const auto& entry : std::filesystem::recursive_directory_iterator{
           directory, std::filesystem::directory_options::skip_permission_denied}) {
    struct ::stat found {};
    FUZZ_CHECK(::lstat(entry.path().c_str(), &found) == 0);
    if ((S_ISREG(found.st_mode) && found.st_size > kMost) ||
        (found.st_atim.tv_sec == 0 && found.st_atim.tv_nsec == 0)) {
      return false;
    }
  }
  return true;
}

}  // namespace
}  // namespace plyfs::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace plyfs::fuzz;
  FuzzedDataProvider input{data, size};
  // Raw bytes rarely have a checksum that is right, but may be compressed.
  const std::string tar = input.ConsumeIntegralInRange<int>(0, 15) == 0
                              ? input.ConsumeRemainingBytesAsString()
                              : draw_tar(input);
  const Room room;
  const plyfs::Status imported = import_bytes(tar, room, "a");
  room.check_outside();
  if (!imported || !comes_back(room.path("a"))) {
    return 0;
  }
  const std::string exported = export_bytes(room, "a");
  if (!exported.empty()) {
    FUZZ_CHECK(import_bytes(exported, room, "b"));
    FUZZ_CHECK(export_bytes(room, "b") == exported);
    room.check_outside();
  }
  return 0;
}
