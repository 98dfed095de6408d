// What an image says about running it.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace plyfs {

/// Strings are as the image has them, unchecked. What is given on the command line comes first.
struct RunDefaults {
  std::vector<std::string> environment;  ///< "NAME=VALUE"
  std::vector<std::string> entrypoint;   ///< stands before the command, given or the image's own
  std::vector<std::string> command;      ///< where none is given
  std::string directory;                 ///< WorkingDir; empty: /
  std::string user;                      ///< "USER[:GROUP]", names or numbers; empty: root
  std::optional<int> stop_signal;        ///< what SIGTERM to `plyfs run` is passed on as
  std::vector<std::string> volumes;      ///< absolute, normalised destinations of anonymous volumes
};

}  // namespace plyfs
