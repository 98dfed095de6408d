// OCI layer tars: PAX, numeric owners, SCHILY.xattr, `.wh.` names; digests on the way.
#pragma once

#include <memory>
#include <string>

#include "image/tree_writer.h"
#include "tar/tar_output.h"

namespace plyfs::image {

/// The tar is written beside `target` and renamed to it by finish(), which syncs it. An existing
/// file is replaced. Errors: those of creating it.
Result<std::unique_ptr<TreeWriter>> make_tar_writer(const std::string& target,
                                                    tar::Compression compression);

}  // namespace plyfs::image
