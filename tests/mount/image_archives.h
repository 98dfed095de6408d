// Archives of images, made up: good ones in each format, and hostile ones.
#pragma once

#include <string>

#include "store_host.h"

namespace plyfs::tests {

/// Runs a Python script in the host's directory. It has `layer(*entries)`, which gives the bytes of
/// a tar, of `f(name, data, **more)`, `d(name)`, `l(name, target)`, `h(name, target)`, `n(name,
/// major, minor)`; `gz(bytes)`; and `layout(path, layers, **more)`, which writes an OCI layout as a
/// tar, or as a directory where `path` ends in a slash; `docker(path, layers)` writes a
/// docker-archive.
void make_archives(const Host& host, const std::string& script);

}  // namespace plyfs::tests
