// One layer in another family of marks.
#pragma once

#include <string>

#include "dump/open_stack.h"
#include "image/directory_writer.h"

namespace plyfs::image {

/// Writes the layer that is the only one of `view`'s stack; whiteouts and opaque directories of any
/// family become those of `format`. Private xattrs change their namespace. EOPNOTSUPP for redirects
/// and metadata-only files where `format` (aufs) has no words for them: `at` names the path. EPERM
/// for a mark in user.* that would become root's, unless `asked` is kUser (layer/mark_rules).
Status convert(const View& view, XattrNamespace asked, LayerFormat format, TreeWriter& writer,
               const Progress& progress, std::string& at);

}  // namespace plyfs::image
