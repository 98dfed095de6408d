#include "run/named_stack.h"

#include <algorithm>
#include <cerrno>

#include "config/failure_text.h"
#include "config/volume_spec.h"
#include "store/mounts.h"

namespace plyfs::run {
namespace {

VolumeSpec spec_of(const VolumeMount& volume) {
  VolumeSpec spec;
  spec.kind = volume.name.empty() ? VolumeSpec::Kind::kBind
              : volume.anonymous  ? VolumeSpec::Kind::kAnonymous
                                  : VolumeSpec::Kind::kNamed;
  if (!volume.anonymous) {
    spec.source = volume.name.empty() ? volume.source : volume.name;
  }
  spec.destination = volume.destination;
  spec.read_only = volume.read_only;
  return spec;
}

}  // namespace

std::optional<Failure> take_named_stack(RunOptions& options) {
  MountOptions& mount = options.mount;
  if (mount.name.empty()) {
    return config::usage_failure({"no layers given", "STACK", Errno{EINVAL},
                                  "name some with --lower, a file with --config, or a mount"});
  }
  if (auto failure = config::check_name(mount.name, "bad name of a mount")) {
    return failure;
  }
  store::Home home;
  if (auto failure = store::Home::find(home)) {
    return failure;
  }
  const auto record = store::read_mount(home, mount.name);
  if (!record) {
    return config::system_failure({"no mount has that name", mount.name, record.error(),
                                   "'plyfs ls' shows them; or give layers with --lower"});
  }
  for (const std::string& lower : record->lowers) {
    const bool data_only = mount.lowers.size() + record->data_only >= record->lowers.size();
    mount.lowers.push_back({lower, data_only});
  }
  mount.image = record->image;
  if (!mount.upper && !record->upper.empty()) {
    mount.upper = record->upper;
    if (!record->work.empty()) {
      mount.work = record->work;
    }
  }
  for (const VolumeMount& volume : record->volumes) {
    const bool given = std::ranges::any_of(mount.volume_specs, [&](const VolumeSpec& spec) {
      return spec.destination == volume.destination;
    });
    if (!given) {
      mount.volume_specs.push_back(spec_of(volume));
    }
  }
  return std::nullopt;
}

std::string kept_directory(const store::Home& home, const std::string& name) {
  return home.path() + "/uppers/" + name;
}

std::string kept_upper(const store::Home& home, const std::string& name) {
  return kept_directory(home, name) + "/upper";
}

}  // namespace plyfs::run
