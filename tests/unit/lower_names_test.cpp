// The index of lower names: no false "absent", whatever family of whiteouts a layer has.
#include "merge/lower_names.h"

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "catch.h"
#include "sys/open.h"

namespace {

namespace fs = std::filesystem;
using plyfs::merge::LowerNames;

/// A directory whose parts are directories of a scratch folder: layer 1 is the topmost lower.
class ScratchDirectory final : public plyfs::merge::DirectoryAccess {
 public:
  explicit ScratchDirectory(std::vector<std::vector<std::string>> layers) {
    std::string pattern = (fs::temp_directory_path() / "plyfs-unit-XXXXXX").string();
    base_ = ::mkdtemp(pattern.data());
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const std::string directory = base_ + "/" + std::to_string(i + 1);
      fs::create_directory(directory);
      for (const std::string& name : layers[i]) {
        std::ofstream{directory + "/" + name};
      }
      plyfs::merge::DirectoryPart part;
      part.layer = static_cast<plyfs::layer::LayerIndex>(i + 1);
      parts_.push_back(std::move(part));
      paths_.push_back(directory);
    }
  }
  ~ScratchDirectory() override { fs::remove_all(base_); }
  plyfs::merge::DirectoryParts& parts() override { return parts_; }
  plyfs::Result<plyfs::sys::FdPin> open_part(std::size_t index) override {
    auto opened = TRY(plyfs::sys::open_directory_path(paths_[index].c_str()));
    return std::make_shared<const plyfs::sys::UniqueFd>(std::move(opened));
  }
  std::string part_path(std::size_t /*index*/) override { return {}; }

 private:
  std::string base_;
  std::vector<std::string> paths_;
  plyfs::merge::DirectoryParts parts_;
};

std::shared_ptr<const LowerNames> read(ScratchDirectory& directory, std::size_t most = 100) {
  auto names = LowerNames::read(directory, most);
  REQUIRE(names);
  return *names;
}

}  // namespace

TEST_CASE("the index of lower names says which layer has a name first", "[merge]") {
  ScratchDirectory directory{{{"a", "b"}, {"b", "c"}, {"c", "d"}}};
  const auto names = read(directory);
  REQUIRE(names);
  CHECK(names->first_layer("a") == 1);
  CHECK(names->first_layer("b") == 1);
  CHECK(names->first_layer("c") == 2);
  CHECK(names->first_layer("d") == 3);
  CHECK(names->first_layer("e") == LowerNames::kNoLayer);
  CHECK(names->first_layer("") == LowerNames::kNoLayer);
}

TEST_CASE("in the index of lower names a `.wh.` file stands for what it hides", "[merge]") {
  ScratchDirectory directory{{{".wh.x"}, {"x", ".wh..wh..opq"}}};
  const auto names = read(directory);
  REQUIRE(names);
  CHECK(names->first_layer("x") == 1);
}

TEST_CASE("directories with more names than wanted get no index", "[merge]") {
  ScratchDirectory directory{{{"a", "b"}, {"c"}}};
  CHECK(read(directory, 2) == nullptr);
  CHECK(read(directory, 3) != nullptr);
}
