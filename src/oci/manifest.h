// Documents of images that we write ourselves.
#pragma once

#include <string>

#include "oci/image_store.h"

namespace plyfs::oci {

/// An OCI manifest of the record's layers; the same record gives the same bytes.
std::string manifest_of(const ImageRecord& record, std::size_t config_bytes);

std::string sha256_of(const std::string& text);

}  // namespace plyfs::oci
