// Users of a root directory, by its own /etc/passwd and /etc/group.
#pragma once

#include <string>

#include "plyfs/result.h"
#include "sys/sandbox/program.h"

namespace plyfs::run {

struct User {
  sys::sandbox::Account account;
  std::string name;
  std::string home = "/";
  std::string shell;  ///< empty: none said
};

/// "USER[:GROUP]", each a name or a number. Reads the files of the root directory that the caller
/// is in already, so their links lead nowhere else. ENOENT: there is no such name.
Result<User> find_user(const std::string& wanted);

}  // namespace plyfs::run
