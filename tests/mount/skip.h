// Skips that nobody can overlook: printed when they happen, counted, and summed up by reason.
#pragma once

#include <map>
#include <string>

namespace plyfs::tests {

/// Notes that the running unit lacks what it needs. Use as `return skip("...")`.
void skip(const std::string& reason);

/// Whether skip() was called since the last call of this function.
bool take_skip();

/// Every reason with how often it was given.
const std::map<std::string, int>& skip_reasons();

}  // namespace plyfs::tests
