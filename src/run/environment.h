// What a run's program finds in its environment.
#pragma once

#include <string>
#include <vector>

#include "plyfs/result.h"

namespace plyfs::run {

/// Adds "NAME=VALUE"; an entry of that name is replaced.
void set_variable(std::vector<std::string>& environment, const std::string& entry);

/// -e: "NAME=VALUE", or "NAME", which takes the caller's value, if there is one.
void add_variable(std::vector<std::string>& environment, const std::string& word);

/// --env-file: such words, one on a line; empty lines and those that begin with # are passed over.
Status add_variables_of(const std::string& file, std::vector<std::string>& environment);

/// PATH, LANG of the caller, TERM where there is a terminal; then the image's; then what was given.
std::vector<std::string> make_environment(const std::vector<std::string>& of_image,
                                          const std::vector<std::string>& given, bool terminal);

[[nodiscard]] bool has_variable(const std::vector<std::string>& environment,
                                const std::string& name);

}  // namespace plyfs::run
