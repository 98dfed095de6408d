// plyfs run --image: the image's layers, volumes and defaults, for a run.
#pragma once

#include <optional>
#include <span>

namespace plyfs {

/// The exit code, if `words` are a run of an image.
std::optional<int> run_with_image(std::span<const char* const> words);

}  // namespace plyfs
