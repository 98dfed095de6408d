// Contents of single versions: digests, link targets, comparisons. Only regular files are opened.
#pragma once

#include <string>

#include "dump/place.h"
#include "plyfs/result.h"

namespace plyfs::dump {

/// Opens the regular file at `path` of a layer for reading. EINVAL for any other type.
Result<sys::UniqueFd> open_file_in_layer(const layer::Layer& layer, const std::string& path);
/// A handle (O_PATH) of whatever lies there; links are not followed.
Result<sys::UniqueFd> open_object_in_layer(const layer::Layer& layer, const std::string& path);
/// XXH3-128 of a regular file, 32 hexadecimal digits. Cost: reads it whole.
Result<std::string> file_digest(const layer::Layer& layer, const std::string& path);
/// The same of a version, which may lie in the index.
Result<std::string> file_digest(const OpenStack& stack, const Version& version);
Result<std::string> link_target(const OpenStack& stack, const Version& version);
/// Whether two regular files have the same bytes. Cost: reads both up to the first difference.
Result<bool> same_content(const layer::Layer& a, const std::string& a_path, const layer::Layer& b,
                          const std::string& b_path);

}  // namespace plyfs::dump
