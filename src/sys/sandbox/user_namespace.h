// A user namespace of our own: in it we are root, over the ids that this user may have.
#pragma once

#include <string>
#include <vector>

#include "plyfs/options.h"
#include "sys/sandbox/step.h"

namespace plyfs::sys::sandbox {

/// Which ids there will be inside.
struct IdMaps {
  enum class Kind : unsigned char {
    kOne,    ///< root inside is this user, and there is nobody else
    kRange,  ///< 1 and more are this user's subordinate ids
    kAll,    ///< we are root: all that we have
  };
  Kind kind = Kind::kOne;
  std::vector<IdMapping> uids;
  std::vector<IdMapping> gids;
  std::string why_one;  ///< what is missing for a range, with the remedy
};

/// What the calling process can have. Reads /etc/subuid and /etc/subgid, and asks getsubids(1) for
/// users that are not in them.
IdMaps possible_id_maps();

/// Moves the calling process, which must have one thread, into a new user and a new mount
/// namespace, as root, with nothing in its groups. Mounts of the outside go on being taken off
/// inside, and nothing else goes through.
Step enter_user_namespace(const IdMaps& maps);

}  // namespace plyfs::sys::sandbox
