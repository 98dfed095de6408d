// A tar that is made from the input, with headers whose checksums are right.
#pragma once

#include <fuzzer/FuzzedDataProvider.h>

#include <string>

namespace plyfs::fuzz {

/// Objects of every type, with names that climb, meet again and lead through links; long names of
/// both kinds, PAX attributes, sparse files; sometimes cut, or damaged in places.
std::string draw_tar(FuzzedDataProvider& input);

}  // namespace plyfs::fuzz
