// An image out of the store, as a tar.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "oci/repack.h"

namespace plyfs::oci {

enum class ArchiveFormat : unsigned char {
  kOci,     ///< an OCI layout
  kDocker,  ///< what `docker load` of any age reads
};

struct ExportSink {
  std::function<Status(std::string_view)> write;
  std::function<void(std::uint64_t bytes)> progress;
};

/// `names` are those that it has in the archive. The same image gives the same bytes.
MaybeFailure export_image(const OutgoingImage& image, const std::vector<Reference>& names,
                          ArchiveFormat format, const std::string& stage, const ExportSink& sink);

}  // namespace plyfs::oci
