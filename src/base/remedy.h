// What can be done about errors that filesystems below a mount give, whoever asked.
#pragma once

#include <string>

namespace plyfs {

/// Errors that say something about a filesystem below rather than about the request.
bool is_of_filesystem(int error);

/// "; ..." to follow the error's text; empty where nothing general can be said. `place` is what is
/// written to: "the upper layer".
std::string remedy_for(int error, const std::string& place);

}  // namespace plyfs
