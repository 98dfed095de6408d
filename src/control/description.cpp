#include "control/description.h"

#include "base/text.h"

namespace plyfs::control {
namespace {

/// A member that is a list; an empty list when it is none.
const Json& list_member(const Json& object, const char* name) {
  static const Json kNone = Json::array();
  const auto found = object.find(name);
  return found != object.end() && found->is_array() ? *found : kNone;
}

bool flag_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_boolean() && found->get<bool>();
}

}  // namespace

std::string text_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() && found->is_string() ? unescaped(found->get<std::string>())
                                                     : std::string{};
}

std::vector<BoundVolume> bound_volumes(const Json& described) {
  std::vector<BoundVolume> bound;
  for (const Json& volume : list_member(described, "bound_volumes")) {
    BoundVolume found{text_member(volume, "place"), text_member(volume, "source")};
    if (!found.place.empty() && found.place.front() != '/') {
      bound.push_back(std::move(found));
    }
  }
  return bound;
}

MountOptions described_options(const Json& described) {
  MountOptions options;
  options.mountpoint = text_member(described, "mountpoint");
  for (const Json& layer : list_member(described, "layers")) {
    const std::string role = text_member(layer, "role");
    if (role == "upper") {
      options.upper = text_member(layer, "directory");
    } else {
      options.lowers.push_back({text_member(layer, "directory"), role == "data-only"});
    }
  }
  for (const Json& volume : list_member(described, "volumes")) {
    VolumeMount mounted;
    mounted.source = text_member(volume, "source");
    mounted.destination = text_member(volume, "destination");
    mounted.name = text_member(volume, "name");
    mounted.read_only = flag_member(volume, "read_only");
    mounted.anonymous = flag_member(volume, "anonymous");
    options.volumes.push_back(std::move(mounted));
  }
  const auto in_force = described.find("options");
  if (in_force != described.end() && text_member(*in_force, "index") == "off") {
    options.index = Toggle::kOff;
  }
  // Marks are read as the mount reads them (layer/mark_rules.h).
  if (in_force != described.end() && text_member(*in_force, "user_marks") == "on") {
    options.xattr_namespace = XattrNamespace::kUser;
  }
  if (const std::string work = text_member(described, "work"); !work.empty()) {
    options.work = work;
  }
  return options;
}

}  // namespace plyfs::control
