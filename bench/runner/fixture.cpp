#include "fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <random>
#include <stdexcept>

namespace plyfs::bench {
namespace {

namespace fs = std::filesystem;

constexpr std::uint32_t kSeed = 20240607;
constexpr std::size_t kChunk = std::size_t{1} << 20U;
constexpr std::uintmax_t kLargestRootfsFile = 128U << 10U;

// Never zero, so that nobody saves the work by making holes.
std::string noise(std::size_t bytes, std::mt19937_64& random) {
  std::string data(bytes, 'x');
  for (std::size_t i = 0; i + 8 <= bytes; i += 8) {
    std::uint64_t word = random() | 0x0101010101010101U;
    data.replace(i, 8, reinterpret_cast<const char*>(&word), 8);
  }
  return data;
}

void write_file(const std::string& path, std::size_t bytes, std::mt19937_64& random) {
  const int fd = static_cast<int>(
      checked(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), path));
  const std::string data = noise(std::min(bytes, kChunk), random);
  for (std::size_t done = 0; done < bytes;) {
    done += static_cast<std::size_t>(
        checked(::write(fd, data.data(), std::min(data.size(), bytes - done)), path));
  }
  ::close(fd);
}

void make_files(const Fixture& fixture, const std::vector<std::string>& layers) {
  std::mt19937_64 random(kSeed);
  for (const std::string& layer : layers) {
    for (std::uint32_t i = 0; i < fixture.directories; ++i) {
      fs::create_directory(layer + "/d" + std::to_string(i));
    }
  }
  for (std::uint32_t i = 0; i < fixture.files; ++i) {
    const std::string& layer = layers[fixture.layers > 1 ? random() % fixture.layers : 0];
    write_file(layer + "/" + file_path(fixture, i), fixture.bytes, random);
  }
}

void make_deep(const Fixture& fixture, const std::vector<std::string>& layers) {
  std::mt19937_64 random(kSeed);
  std::uint32_t number = 0;
  for (const std::string& layer : layers) {
    fs::create_directory(layer + "/d");
    for (std::uint32_t i = 0; i < std::max(fixture.files / fixture.layers, 1U); ++i) {
      write_file(layer + "/d/f" + std::to_string(number++), fixture.bytes, random);
    }
  }
}

// Sorted, so that the same part of a tree is taken each time.
std::vector<fs::directory_entry> entries_of(const fs::path& directory) {
  std::error_code failed;
  std::vector<fs::directory_entry> entries;
  for (const auto& entry : fs::directory_iterator(directory, failed)) {
    entries.push_back(entry);
  }
  std::sort(entries.begin(), entries.end());
  return entries;
}

class RootfsCopy {
 public:
  RootfsCopy(const Fixture& fixture, const std::vector<std::string>& layers)
      : left_(fixture.files), layers_(layers) {}

  void copy(const fs::path& from, const std::string& relative) {  // NOLINT(misc-no-recursion)
    std::uint32_t here = 0;
    for (const auto& entry : entries_of(from)) {
      const std::string name = relative + "/" + entry.path().filename().string();
      std::error_code failed;
      if (left_ == 0) {
        return;
      }
      if (entry.is_symlink(failed)) {
        fs::copy_symlink(entry.path(), place(name), failed);
      } else if (entry.is_directory(failed)) {
        copy(entry.path(), name);
      } else if (entry.is_regular_file(failed) && entry.file_size(failed) <= kLargestRootfsFile &&
                 here < kMostOfOneDirectory && fs::copy_file(entry.path(), place(name), failed)) {
        --left_;
        ++here;
      }
    }
  }

 private:
  static constexpr std::uint32_t kMostOfOneDirectory = 60;

  // Three of ten files come from a layer above the base.
  std::string place(const std::string& name) {
    const std::size_t dice = random_() % 10;
    const std::size_t last = layers_.size() - 1;
    const std::string path = layers_[dice < 3 ? dice % (last + 1) : last] + name;
    fs::create_directories(fs::path(path).parent_path());
    return path;
  }

  std::uint32_t left_;
  const std::vector<std::string>& layers_;
  std::mt19937_64 random_{kSeed};
};

void make(const Fixture& fixture, const std::vector<std::string>& layers) {
  for (const std::string& layer : layers) {
    fs::create_directory(layer);
  }
  switch (fixture.kind) {
    case FixtureKind::kFiles:
      make_files(fixture, layers);
      return;
    case FixtureKind::kDeep:
      make_deep(fixture, layers);
      return;
    case FixtureKind::kRootfs:
      RootfsCopy(fixture, layers).copy("/usr", "");
      return;
  }
}

}  // namespace

std::string file_path(const Fixture& fixture, std::uint32_t index) {
  const std::string name = "f" + std::to_string(index);
  return fixture.directories == 0 ? name
                                  : "d" + std::to_string(index % fixture.directories) + "/" + name;
}

Layers::Layers(Storage& storage, const Identity& user, const Fixture& fixture, Medium medium)
    : storage_(storage),
      user_(user),
      fixture_(fixture),
      medium_(medium),
      base_(storage.fresh(medium, "layers")) {
  for (std::uint32_t i = 0; i < fixture.layers; ++i) {
    paths_.push_back(base_ + "/" + std::to_string(i));
  }
  try {
    run_as(user, {}, Rights::kKeep, [&] { make(fixture_, paths_); });
  } catch (...) {
    storage_.remove(base_);
    throw;
  }
  sync_filesystem(base_);
}

Layers::~Layers() {
  storage_.remove(base_);
  if (!merged_.empty()) {
    storage_.remove(merged_);
  }
}

const std::string& Layers::merged() {
  if (merged_.empty()) {
    merged_ = storage_.fresh(medium_, "merged");
    copy_merged(user_, paths_, merged_);
    sync_filesystem(merged_);
  }
  return merged_;
}

}  // namespace plyfs::bench
