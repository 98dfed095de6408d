// OCI layer tars: PAX, numeric owners, SCHILY.xattr, `.wh.` names; digests on the way.
#pragma once

#include <memory>
#include <string>

#include "image/tree_writer.h"

namespace plyfs::image {

enum class Compression : std::uint8_t { kNone, kGzip, kZstd };

/// By the end of a file's name: .tar, .tar.gz (.tgz), .tar.zst; nullopt for other names.
std::optional<Compression> compression_of(const std::string& target);

/// The tar is written beside `target` and renamed to it by finish(), which syncs it. An existing
/// file is replaced. Errors: those of creating it.
Result<std::unique_ptr<TreeWriter>> make_tar_writer(const std::string& target,
                                                    Compression compression);

}  // namespace plyfs::image
