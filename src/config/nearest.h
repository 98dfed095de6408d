// A word that was written wrongly, and the one that was meant.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace plyfs::config {

/// The word of `known` that is nearest to `written`; empty where none is near: more than a third of
/// its letters would have to change.
std::string nearest(std::string_view written, const std::vector<std::string>& known);

/// "did you mean 'WORD'? " before `remedy`, where there is such a word.
std::string suggestion(std::string_view written, const std::vector<std::string>& known,
                       std::string_view remedy);

}  // namespace plyfs::config
