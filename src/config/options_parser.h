// `-o` strings to MountOptions: the words of kernel overlayfs, fuse-overlayfs, mount(8) and ours.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "plyfs/mount.h"
#include "plyfs/options.h"

namespace plyfs::config {

/// As many lower layers as kernel overlayfs takes.
inline constexpr std::size_t kMostLayers = 500;

/// What happens to words we do not know, and to known ones that ask for what we cannot do.
enum class UnknownWords : unsigned char {
  kRefuse,  ///< our own command: a Failure that names the word
  kWarn,    ///< called in place of fuse-overlayfs or by mount(8): a warning, and go on
};

/// Who mounts: decides the defaults and which words fusermount3 will take.
enum class Caller : unsigned char { kOrdinary, kRoot };

using Warnings = std::vector<std::string>;

/// The file that the last `config=FILE` of an `-o` string names. It is to be read before the words
/// are applied (load_config()); parse_options() passes the word over.
std::optional<std::string> config_word(std::string_view text);

/// Applies the words of one `-o` string on top of `options`. Later words win; `lowerdir=` replaces
/// the layers named so far, `lowerdir+=` and `datadir+=` append one.
/// Accepts any bytes and never throws on them. After a Failure (exit code 1) `options` holds the
/// words before the bad one.
std::optional<Failure> parse_options(std::string_view text, UnknownWords unknown,
                                     MountOptions& options, Warnings& warnings);

/// Checks and appends one layer path that needs no unescaping.
std::optional<Failure> add_layer(LayerPath layer, MountOptions& options);

/// What follows from the caller and from what was left out: allow_other and suid for root, the
/// default work directory. Call once, after all words.
void apply_defaults(Caller caller, MountOptions& options);

/// `UPPER.work`, on the upper's filesystem unless the upper is a mount point. nullopt where no such
/// sibling can be named (the path ends in `.` or `..`, or is the root).
std::optional<std::string> default_work_path(std::string_view upper);

}  // namespace plyfs::config
