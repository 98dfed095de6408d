// The managed volumes.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "plyfs/result.h"
#include "store/home.h"

namespace plyfs::store {

struct Volume {
  std::string name;
  std::string data;  ///< host path of its content
  std::string created;
  std::map<std::string, std::string> labels;
  bool anonymous = false;
  std::string filled;  ///< when it got the image's content; empty: never
};

/// ENOENT when there is none of that name; EPROTO for a record that cannot be read.
Result<Volume> read_volume(const Home& home, const std::string& name);
/// Makes an empty volume, whole or not at all. EEXIST. Needs the store's lock.
Result<Volume> create_volume(const Home& home, const Volume& wanted);
/// Notes what changed of the record.
Status write_volume(const Home& home, const Volume& volume);
/// Sorted by name. Volumes whose record cannot be read have a name only.
std::vector<Volume> list_volumes(const Home& home);

/// docker's keys of `volume inspect`.
Json inspected(const Volume& volume);

}  // namespace plyfs::store
