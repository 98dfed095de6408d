#include "described.h"

#include <sstream>
#include <vector>

namespace plyfs::config {
namespace {

std::string number(int value) { return std::to_string(value); }

std::string describe(const char* name, const std::vector<IdMapping>& mappings) {
  std::ostringstream text;
  for (const IdMapping& mapping : mappings) {
    text << " " << name << "[disk " << mapping.outside << " shown " << mapping.inside << " x"
         << mapping.count << "]";
  }
  return text.str();
}

std::string describe_ids(const IdPolicy& ids) {
  std::string text = describe("uids", ids.uids) + describe("gids", ids.gids);
  if (ids.squash_uid) {
    text += " squash_uid=" + std::to_string(*ids.squash_uid);
  }
  if (ids.squash_gid) {
    text += " squash_gid=" + std::to_string(*ids.squash_gid);
  }
  return text;
}

}  // namespace

std::string describe(const MountOptions& options) {
  const MountOptions defaults;
  std::ostringstream text;
  const auto differs = [&](const char* name, auto value, auto standard) {
    if (value != standard) {
      text << " " << name << "=" << number(static_cast<int>(value));
    }
  };
  for (const LayerPath& layer : options.lowers) {
    text << (layer.data_only ? " data(" : " lower(") << layer.path << ")";
  }
  if (options.upper) {
    text << " upper(" << *options.upper << ")";
  }
  if (options.work) {
    text << " work(" << *options.work << ")";
  }
  differs("ro", options.read_only, defaults.read_only);
  differs("whiteout", options.whiteout, defaults.whiteout);
  differs("xattr", options.xattr_namespace, defaults.xattr_namespace);
  differs("sync", options.sync, defaults.sync);
  differs("redirect_dir", options.redirect_dir, defaults.redirect_dir);
  differs("metacopy", options.metacopy, defaults.metacopy);
  differs("index", options.index, defaults.index);
  differs("xino", options.xino, defaults.xino);
  differs("acl", options.acl, defaults.acl);
  differs("xattrs", options.xattrs, defaults.xattrs);
  differs("writeback", options.writeback, defaults.writeback);
  text << describe_ids(options.ids);
  if (options.timeout_s < defaults.timeout_s) {
    text << " timeout=" << options.timeout_s;
  }
  differs("threads", options.threads, defaults.threads);
  differs("debug", options.debug, defaults.debug);
  for (const std::string& word : options.fuse_options) {
    text << " " << word;
  }
  if (options.fsname != defaults.fsname || options.subtype != defaults.subtype) {
    text << " name(" << options.fsname << "," << options.subtype << ")";
  }
  const std::string all = text.str();
  return all.empty() ? all : all.substr(1);
}

std::string describe_volumes(const MountOptions& options) {
  std::string text;
  for (const VolumeSpec& volume : options.volume_specs) {
    static constexpr const char* kKinds[] = {"bind ", "named ", "anonymous "};
    text += text.empty() ? "" : ", ";
    text += kKinds[static_cast<int>(volume.kind)] + volume.source + " to " + volume.destination;
    text += volume.read_only ? " ro" : "";
    text += volume.no_copy ? " nocopy" : "";
    text += volume.subpath.empty() ? "" : " subpath " + volume.subpath;
  }
  for (const VolumesFrom& from : options.volumes_from) {
    text += (text.empty() ? "from " : ", from ") + from.name + (from.read_only ? " ro" : "");
  }
  return text;
}

}  // namespace plyfs::config
