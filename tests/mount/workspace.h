// Where on disk the tests work. See system.h for the functions most tests need.
#pragma once

#include <string>

namespace plyfs::tests {

const std::string& workspace();
std::string workspace_filesystem();

/// A fresh directory in the workspace.
std::string fresh_directory();

/// Whether user.* xattrs can be set on this directory.
bool takes_user_xattrs(const std::string& directory);

}  // namespace plyfs::tests
