#include "store/attachment.h"

#include <cerrno>
#include <filesystem>
#include <system_error>

#include "config/failure_text.h"

namespace plyfs::store {
namespace {

namespace fs = std::filesystem;
using config::mount_failure;

}  // namespace

std::optional<Failure> Attachment::resolve_bind(const VolumeSpec& spec, MountOptions& options) {
  std::error_code error;
  const fs::file_status found = fs::status(spec.source, error);
  if (found.type() == fs::file_type::not_found) {
    if (options.strict_volumes) {
      return mount_failure({"cannot use volume", spec.source, Errno{ENOENT},
                            "create it, or leave out --strict-volumes"});
    }
    fs::create_directories(spec.source, error);
    if (error) {
      return mount_failure({"cannot create the host directory of a volume", spec.source,
                            Errno{error.value()}, "create it yourself, or choose another"});
    }
  } else if (found.type() == fs::file_type::none) {
    return mount_failure({"cannot use volume", spec.source, Errno{error.value()},
                          "make it reachable for you, or choose another"});
  } else if (found.type() != fs::file_type::directory && found.type() != fs::file_type::regular) {
    return mount_failure(
        {"cannot use volume", spec.source, Errno{EINVAL}, "name a directory or a regular file"});
  }
  options.volumes.push_back(VolumeMount{.source = spec.source,
                                        .destination = spec.destination,
                                        .read_only = spec.read_only,
                                        .name = {},
                                        .anonymous = false,
                                        .fill = false});
  return std::nullopt;
}

std::optional<Failure> Attachment::resolve(MountOptions& options) {
  options.volumes.clear();
  for (const VolumesFrom& from : options.volumes_from) {
    return mount_failure(
        {"cannot take over volumes", from.name, Errno{ENOSYS}, "not built yet: leave it out"});
  }
  for (const VolumeSpec& spec : options.volume_specs) {
    if (spec.kind != VolumeSpec::Kind::kBind) {
      return mount_failure({"cannot use volume", spec.destination, Errno{ENOSYS},
                            "not built yet: use a host directory"});
    }
    if (auto failure = resolve_bind(spec, options)) {
      return failure;
    }
  }
  return std::nullopt;
}

}  // namespace plyfs::store
