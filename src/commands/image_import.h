// plyfs image import: arguments in, images in the store.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>

#include "oci/image_store.h"

namespace plyfs::commands {

struct ImageImportWords {
  std::string path;
  std::string reference;
  std::string select;
  std::string platform;
  std::string progress = "auto";
  bool no_blobs = false;
  bool json = false;
  bool quiet = false;
  std::uint64_t most_bytes = 0;  ///< 0: the default
  std::uint64_t most_entries = 0;
  std::uint64_t most_layers = 0;
  std::uint64_t most_depth = 0;
};

void add_image_import(CLI::App& app, ImageImportWords& words);
int run_image_import(const oci::ImageStore& store, const ImageImportWords& words);

}  // namespace plyfs::commands
