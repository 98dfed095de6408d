// The start options of a mount in a TOML file: `plyfs mount --config FILE` and `--save FILE`.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/cli.h"
#include "plyfs/mount.h"
#include "plyfs/options.h"

namespace plyfs::config {

/// Applies the file on top of `line.options`. Relative paths of layers, mountpoint and volumes
/// ("./x:/y") are relative to the file and come out absolute, if `directory`, the current one, is.
/// A key that is not known, a value of the wrong kind and a bad option are failures (exit code 1)
/// that name the line. Exit code 2 when the file cannot be read.
std::optional<Failure> load_config(const std::string& path, const std::string& directory,
                                   CommandLine& line);

/// The same for a file's text; `path` is for messages and relative paths.
std::optional<Failure> apply_config(std::string_view text, const std::string& path,
                                    const std::string& directory, CommandLine& line);

/// What the file gave and the command line adds to, instead of taking its place.
struct FromFile {
  std::vector<LayerPath> lowers;
  std::vector<VolumeSpec> volumes;
  std::optional<std::string> upper;
  std::optional<std::string> work;
};

/// Before the command line is applied: takes the lists out of `options`.
FromFile take_lists(MountOptions& options);
/// After that: lays the command line's layers over the file's; puts back the volumes, but for those
/// at a path that the command line uses. Another upper does not get the file's work directory.
std::optional<Failure> add_lists(FromFile taken, MountOptions& options);

/// The text that makes load_config() build `options` again: paths absolute, options that are not
/// the default, volumes as they were asked for, and those that --volumes-from brought as if they
/// had been. nullopt when a path is not UTF-8, which TOML cannot hold.
std::optional<std::string> config_text(const MountOptions& options);

/// Writes that text aside and renames it to `path`.
std::optional<Failure> save_config(const std::string& path, const MountOptions& options);

}  // namespace plyfs::config
