#include "config/volume_spec.h"

#include <algorithm>
#include <cerrno>
#include <utility>
#include <vector>

#include "config/failure_text.h"
#include "config/option_text.h"

namespace plyfs::config {
namespace {

using MaybeFailure = std::optional<Failure>;

constexpr std::size_t kLongestName = 255;
constexpr std::size_t kLongestPath = 4095;

bool is_alphanumeric(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

bool is_name(std::string_view name) {
  return !name.empty() && name.size() <= kLongestName && is_alphanumeric(name.front()) &&
         std::ranges::all_of(
             name, [](char c) { return is_alphanumeric(c) || c == '_' || c == '.' || c == '-'; });
}

MaybeFailure bad(std::string_view text, std::string_view remedy) {
  return usage_failure({"bad volume", text, Errno{EINVAL}, remedy});
}

MaybeFailure take_source(std::string_view text, const std::string& source, VolumeSpec& volume) {
  if (source.empty()) {
    return bad(text, "give a host path or a volume name before the colon");
  }
  if (source.front() == '/') {
    volume.kind = VolumeSpec::Kind::kBind;
  } else if (source.front() == '.' || source.find('/') != std::string::npos) {
    return bad(text, "a host path is absolute: write it as \"$PWD/...\"");
  } else if (is_name(source)) {
    volume.kind = VolumeSpec::Kind::kNamed;
  } else {
    return bad(text,
               "a volume name has letters, digits, '_', '.' and '-' and begins with a letter "
               "or digit; a host path begins with '/'");
  }
  volume.source = source;
  return std::nullopt;
}

MaybeFailure take_destination(std::string_view text, std::string_view path, VolumeSpec& volume) {
  std::optional<std::string> destination = normalised(path);
  if (!destination) {
    return bad(text, "the path in the mount is absolute and has no '..'");
  }
  if (*destination == "/") {
    return bad(text, "the root of the mount cannot be a volume: name a path below it");
  }
  volume.destination = *std::move(destination);
  return std::nullopt;
}

/// A path that stays below where it starts; empty when `text` is none.
std::string relative_path(std::string_view text) {
  if (text.starts_with('/')) {
    return {};
  }
  const auto rooted = normalised("/" + std::string{text});
  return rooted ? rooted->substr(1) : std::string{};
}

MaybeFailure take_option(std::string_view text, std::string_view option, VolumeSpec& volume) {
  const bool managed = volume.kind != VolumeSpec::Kind::kBind;
  if (option == "ro" || option == "rw") {
    volume.read_only = option == "ro";
  } else if (option == "nocopy") {
    if (!managed) {
      return bad(text, "nocopy is for named volumes: a host directory is never filled");
    }
    volume.no_copy = true;
  } else if (option.starts_with("subpath=")) {
    if (!managed) {
      return bad(text, "subpath is for named volumes: give the host path of the directory itself");
    }
    volume.subpath = relative_path(option.substr(std::string_view{"subpath="}.size()));
    if (volume.subpath.empty()) {
      return bad(text, "subpath is a relative path inside the volume, without '..'");
    }
  } else {
    return bad(text, "the options of a volume are ro, rw, nocopy and subpath=DIR");
  }
  return std::nullopt;
}

MaybeFailure take_options(std::string_view text, std::string_view list, VolumeSpec& volume) {
  std::size_t accesses = 0;
  while (true) {
    const std::size_t comma = list.find(',');
    const std::string_view option = list.substr(0, comma);
    if (MaybeFailure failure = take_option(text, option, volume)) {
      return failure;
    }
    accesses += option == "ro" || option == "rw" ? 1U : 0U;
    if (comma == std::string_view::npos) {
      break;
    }
    list.remove_prefix(comma + 1);
  }
  return accesses > 1 ? bad(text, "say ro or rw once") : std::nullopt;
}

MaybeFailure parse_volume(std::string_view text, VolumeSpec& volume) {
  std::vector<std::string> parts;
  for (const std::string_view part : split_at_colons(text)) {
    parts.push_back(unescape(part));
    if (parts.back().find('\0') != std::string::npos || parts.back().size() > kLongestPath) {
      return bad(text, "a path has up to 4095 bytes, none of them zero");
    }
  }
  if (parts.size() > 3) {
    return bad(text, "use SOURCE:/path/in/mount[:OPTIONS]; a colon inside a path is written \\:");
  }
  if (parts.size() == 1) {
    if (!parts[0].starts_with('/')) {
      return bad(text, "use /host/path:/path/in/mount, NAME:/path/in/mount or /path/in/mount");
    }
    volume.kind = VolumeSpec::Kind::kAnonymous;
    return take_destination(text, parts[0], volume);
  }
  if (MaybeFailure failure = take_source(text, parts[0], volume)) {
    return failure;
  }
  if (MaybeFailure failure = take_destination(text, parts[1], volume)) {
    return failure;
  }
  return parts.size() == 3 ? take_options(text, parts[2], volume) : std::nullopt;
}

}  // namespace

std::optional<Failure> add_volume(std::string_view text, MountOptions& options) {
  VolumeSpec volume;
  if (MaybeFailure failure = parse_volume(text, volume)) {
    return failure;
  }
  const bool twice = std::ranges::any_of(options.volume_specs, [&](const VolumeSpec& other) {
    return other.destination == volume.destination;
  });
  if (twice) {
    return usage_failure({"two volumes at one path", volume.destination, Errno{EEXIST},
                          "leave one of them out, or choose another path in the mount"});
  }
  options.volume_specs.push_back(std::move(volume));
  return std::nullopt;
}

std::optional<Failure> add_volumes_from(std::string_view text, MountOptions& options) {
  const std::size_t colon = text.find(':');
  const std::string_view access = colon == std::string_view::npos ? "rw" : text.substr(colon + 1);
  if (access != "ro" && access != "rw") {
    return usage_failure({"bad --volumes-from", text, Errno{EINVAL}, "use NAME or NAME:ro"});
  }
  VolumesFrom from{.name = std::string{text.substr(0, colon)}, .read_only = access == "ro"};
  if (MaybeFailure failure = check_name(from.name, "bad name of a mount")) {
    return failure;
  }
  options.volumes_from.push_back(std::move(from));
  return std::nullopt;
}

std::optional<Failure> check_name(std::string_view name, std::string_view what) {
  if (is_name(name)) {
    return std::nullopt;
  }
  return usage_failure(
      {what, name.empty() ? "(empty)" : name, Errno{EINVAL},
       "use up to 255 letters, digits, '_', '.' and '-', a letter or digit first"});
}

std::optional<std::string> normalised(std::string_view path) {
  if (!path.starts_with('/')) {
    return std::nullopt;
  }
  std::string clean;
  while (!path.empty()) {
    const std::size_t slash = std::min(path.find('/'), path.size());
    const std::string_view component = path.substr(0, slash);
    path.remove_prefix(std::min(slash + 1, path.size()));
    if (component == "..") {
      return std::nullopt;
    }
    if (!component.empty() && component != ".") {
      clean.append("/").append(component);
    }
  }
  if (clean.empty()) {
    clean = "/";
  }
  return clean;
}

}  // namespace plyfs::config
