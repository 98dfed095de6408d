// Whether the store still holds what images say.
#pragma once

#include <functional>
#include <string>

#include "oci/image_store.h"

namespace plyfs::oci {

struct VerifyEvents {
  std::function<void(const std::string& what)> wrong;
  std::function<void(const std::string& what)> unknown;  ///< cannot be told: no blob was kept
};

/// Reads every document and blob of an image, and holds each layer's tree against its blob: names,
/// types, sizes, modes, owners where they could be kept, times, links and contents.
void verify_image(const ImageStore& store, const ImageRecord& image, const VerifyEvents& events);

}  // namespace plyfs::oci
