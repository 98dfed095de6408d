// What an image says about how its program is run: the defaults of `plyfs run`.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plyfs/options.h"

namespace plyfs::run {

/// The members of an image's configuration that `run` heeds. What is given on the command line
/// comes before it. Plain data; strings are as the image has them, unchecked.
struct ImageConfig {
  std::vector<LayerPath> layers;         ///< first is the topmost
  std::vector<std::string> environment;  ///< "NAME=VALUE"
  std::vector<std::string> entrypoint;   ///< stands before the command, given or the image's own
  std::vector<std::string> command;      ///< where none is given
  std::string directory;                 ///< WorkingDir; empty: /
  std::string user;                      ///< "USER[:GROUP]", names or numbers; empty: root
  std::optional<int> stop_signal;        ///< what SIGTERM to `plyfs run` is passed on as
  std::vector<std::string> volumes;      ///< destinations of anonymous volumes
};

}  // namespace plyfs::run
