// What a run is asked to be: plain data, filled by run/cli.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "plyfs/options.h"

namespace plyfs::run {

enum class Engine : unsigned char { kAuto, kFuse, kKernel };

struct Tmpfs {
  std::string destination;
  std::string options;  ///< as of mount(8)
};

struct RunOptions {
  MountOptions mount;  ///< stack, volumes, name
  bool keep = false;
  Engine engine = Engine::kAuto;
  std::vector<std::string> image_environment;  ///< "NAME=VALUE"; what is given comes before it
  std::vector<std::string> environment;        ///< "NAME=VALUE", of files first
  std::optional<int> stop_signal;              ///< what SIGTERM is passed on as, if the image says
  std::string directory;
  std::string user;
  std::string hostname;
  bool own_network = false;
  bool read_only = false;
  std::vector<Tmpfs> tmpfs;
  bool host_devices = false;
  bool terminal = false;
  bool verbose = false;
  std::vector<std::string> command;  ///< empty: the image's, else a shell
};

/// What `exec` takes.
struct ExecOptions {
  std::string name;
  std::vector<std::string> environment;
  std::string directory;
  std::string user;
  bool terminal = false;
  std::vector<std::string> command;
};

}  // namespace plyfs::run
