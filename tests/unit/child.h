// Runs a piece of a test in a process of its own, with other privileges or mounts.
#pragma once

#include <functional>
#include <optional>
#include <string>

namespace plyfs::test {

/// What `body` returned in a child that first ran `prepare`; nullopt when `prepare` returned false
/// (the need of the test is not met here).
std::optional<std::string> in_child(const std::function<bool()>& prepare,
                                    const std::function<std::string()>& body);

/// For `prepare`: gives up root's rights. True at once for ordinary users.
bool become_ordinary_user();

/// For `prepare`: a mount namespace of our own, inside a user namespace where that is needed.
bool enter_own_mounts();

/// Says on stderr and in the test's report that a part was not run.
void skip(const std::string& reason);

}  // namespace plyfs::test
