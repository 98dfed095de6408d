// Layers on disk, drawn from a fuzzer's bytes.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <string>
#include <vector>

#include "plyfs/options.h"

namespace plyfs::fuzz {

/// Makes up to five layers in a directory of its own below $TMPDIR (better a tmpfs), and removes
/// them at the end. Names repeat from layer to layer, so that much is hidden, merged and
/// redirected.
class DrawnLayers {
 public:
  explicit DrawnLayers(FuzzedDataProvider& input);
  ~DrawnLayers();
  DrawnLayers(const DrawnLayers&) = delete;
  DrawnLayers& operator=(const DrawnLayers&) = delete;
  [[nodiscard]] const MountOptions& options() const { return options_; }

 private:
  void draw(FuzzedDataProvider& input);
  std::string path_of(FuzzedDataProvider& input) const;
  void mark(FuzzedDataProvider& input, const std::string& path) const;

  std::string root_;
  std::vector<std::string> layers_;
  std::vector<std::string> directories_;  ///< whose mode may shut us out
  MountOptions options_;
};

}  // namespace plyfs::fuzz
