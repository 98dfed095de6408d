#include "mount_report.h"

#include <cmath>

#include "base/log.h"
#include "base/text.h"
#include "sys/fuse_device.h"
#include "sys/process_facts.h"

namespace plyfs {
namespace {

using Json = nlohmann::ordered_json;

const char* word(Toggle toggle) { return toggle == Toggle::kOn ? "on" : "off"; }
const char* word(bool value) { return value ? "on" : "off"; }

const char* word(SyncPolicy policy) {
  switch (policy) {
    case SyncPolicy::kAuto:
      return "auto";
    case SyncPolicy::kStrict:
      return "strict";
    case SyncPolicy::kVolatile:
      return "volatile";
  }
  return "auto";
}

const char* word(Xino xino) {
  switch (xino) {
    case Xino::kAuto:
      return "auto";
    case Xino::kOn:
      return "on";
    case Xino::kOff:
      return "off";
  }
  return "auto";
}

const char* word(WhiteoutFamily family) {
  switch (family) {
    case WhiteoutFamily::kProbe:
      return "auto";
    case WhiteoutFamily::kChar:
      return "char";
    case WhiteoutFamily::kXattr:
      return "xattr";
    case WhiteoutFamily::kAufs:
      return "aufs";
  }
  return "auto";
}

const char* word(XattrNamespace space) {
  switch (space) {
    case XattrNamespace::kProbe:
      return "auto";
    case XattrNamespace::kTrusted:
      return "trusted";
    case XattrNamespace::kUser:
      return "user";
  }
  return "auto";
}

const char* word(VolumeMode mode) {
  switch (mode) {
    case VolumeMode::kAuto:
      return "none";
    case VolumeMode::kFuse:
      return "fuse";
    case VolumeMode::kBind:
      return "bind";
  }
  return "none";
}

Json mappings(const std::vector<IdMapping>& maps) {
  Json json = Json::array();
  for (const IdMapping& map : maps) {
    json.push_back({{"inside", map.inside}, {"outside", map.outside}, {"count", map.count}});
  }
  return json;
}

Json layers_of(const MountOptions& options) {
  Json layers = Json::array();
  unsigned index = 0;
  if (options.upper) {
    layers.push_back({{"layer", 0}, {"role", "upper"}, {"directory", escaped(*options.upper)}});
  }
  for (const LayerPath& lower : options.lowers) {
    layers.push_back({{"layer", ++index},
                      {"role", lower.data_only ? "data-only" : "lower"},
                      {"directory", escaped(lower.path)}});
  }
  return layers;
}

Json options_in_force(const MountReport& report, const ConnectionFacts& connection) {
  const MountOptions& options = report.options;
  Json json;
  json["read_only"] = !report.upper;
  json["redirect_dir"] = word(report.redirect);
  json["metacopy"] = word(report.metacopy);
  json["index"] = word(report.index);
  json["xino"] = word(options.xino);
  json["fsync"] = word(options.sync);
  json["writeback"] = word(connection.writeback);
  json["passthrough"] = word(connection.passthrough);
  json["acl"] = word(report.acl);
  json["xattrs"] = word(options.xattrs);
  json["user_marks"] = word(report.user_marks);
  json["timeout"] = options.timeout_s;
  json["threads"] = report.threads;
  json["follow"] = word(options.follow);
  json["uidmapping"] = mappings(options.ids.uids);
  json["gidmapping"] = mappings(options.ids.gids);
  json["squash_uid"] = options.ids.squash_uid ? Json(*options.ids.squash_uid) : Json(nullptr);
  json["squash_gid"] = options.ids.squash_gid ? Json(*options.ids.squash_gid) : Json(nullptr);
  Json& words = json["fuse"] = Json::array();
  for (const std::string& option : options.fuse_options) {
    words.push_back(escaped(option));
  }
  return json;
}

Json capability(const char* name, const std::string& value, const std::string& why) {
  return {{"name", name}, {"value", value}, {"why", why}};
}

std::string why_off(Toggle asked, bool marks, const char* otherwise) {
  return asked == Toggle::kOff ? "switched off by option"
         : !marks              ? "the upper cannot hold marks (xattrs)"
                               : otherwise;
}

void add_upper_capabilities(const MountReport& report, Json& list) {
  const MountOptions& options = report.options;
  const layer::UpperAbilities& upper = *report.upper;
  const bool forced = options.whiteout != WhiteoutFamily::kProbe;
  const char* why = upper.whiteouts == WhiteoutFamily::kChar
                        ? "character devices 0:0 can be made on the upper's filesystem"
                    : upper.marks ? "character devices 0:0 cannot be made on the upper's filesystem"
                                  : "the upper's filesystem cannot hold marks (xattrs)";
  list.push_back(
      capability("whiteout", word(upper.whiteouts), forced ? "asked for by option" : why));
  list.push_back(capability(
      "xattr", upper.marks ? word(*upper.marks) : "none",
      options.xattr_namespace != XattrNamespace::kProbe ? "asked for by option"
      : !upper.marks                                    ? report.user_marks
                                                              ? "neither trusted.* nor user.* can be set in the work directory"
                                                              : "trusted.* cannot be set in the work directory, and a mount of root "
                                                                "believes user.* only with userxattr"
      : *upper.marks == XattrNamespace::kTrusted
          ? "trusted.* can be set in the work directory"
          : "trusted.* cannot be set (it needs CAP_SYS_ADMIN in the first user namespace)"));
  const bool marks = upper.marks.has_value();
  constexpr const char* kForged = "users could forge them: a mount of root has user.* marks here";
  list.push_back(capability(
      "redirect_dir", word(report.redirect),
      report.redirect ? "marks can be written" : why_off(options.redirect_dir, marks, kForged)));
  list.push_back(capability(
      "metacopy", word(report.metacopy),
      report.metacopy ? "marks can be written" : why_off(options.metacopy, marks, kForged)));
  list.push_back(capability(
      "index", word(report.index),
      report.index ? "marks can be written and WORK/index is there"
                   : why_off(options.index, marks, "the index directory cannot be made")));
  list.push_back(
      capability("rename_exchange", word(upper.exchange), "tried in the work directory"));
  list.push_back(
      capability("rename_whiteout", word(upper.rename_whiteout), "tried in the work directory"));
}

}  // namespace

void make_paths_absolute(MountOptions& options) {
  const auto absolute = [](std::string& path) {
    if (auto found = sys::absolute_path(path)) {
      path = *std::move(found);
    }
  };
  for (LayerPath& lower : options.lowers) {
    absolute(lower.path);
  }
  if (options.upper) {
    if (!options.work) {
      options.work = *options.upper + ".work";
    }
    absolute(*options.upper);
    absolute(*options.work);
  }
}

nlohmann::ordered_json describe(const MountReport& report, const ConnectionFacts& connection) {
  const MountOptions& options = report.options;
  Json json;
  json["plyfs"] = "describe";
  json["version"] = PLYFS_VERSION;
  json["pid"] = sys::process_id();
  json["uid"] = sys::effective_uid();
  json["name"] = escaped(options.name);
  json["mountpoint"] = escaped(report.mountpoint);
  json["device"] = report.device;
  json["type"] = "fuse." + escaped(options.subtype);
  json["started"] = iso_time({report.started.tv_sec, 0});
  json["layers"] = layers_of(options);
  json["upper"] = options.upper ? Json(escaped(*options.upper)) : Json(nullptr);
  json["work"] = options.work ? Json(escaped(*options.work)) : Json(nullptr);
  Json& volumes = json["volumes"] = Json::array();
  for (const VolumeMount& volume : options.volumes) {
    volumes.push_back({{"source", escaped(volume.shown_source())},
                       {"destination", escaped(volume.destination)},
                       {"read_only", volume.read_only},
                       {"name", escaped(volume.name)},
                       {"anonymous", volume.anonymous}});
  }
  Json& bound = json["bound_volumes"] = Json::array();
  for (std::size_t i = 0; i < report.bound_places.size() && i < options.volumes.size(); ++i) {
    bound.push_back({{"place", escaped(report.bound_places[i])},
                     {"source", escaped(options.volumes[i].source)}});
  }
  json["volume_mode"] = {{"mode", word(report.volumes.mode)}, {"why", escaped(report.volumes.why)}};
  json["options"] = options_in_force(report, connection);
  Json& messages = json["messages"] = Json::array();
  for (const log::Noted& noted : log::noted()) {
    messages.push_back({{"last", iso_time({noted.last, 0})},
                        {"times", noted.times},
                        {"level", noted.level == log::Level::kError ? "error" : "warning"},
                        {"message", escaped(noted.message)}});
  }
  Json& capabilities = json["capabilities"] = Json::array();
  if (report.upper) {
    add_upper_capabilities(report, capabilities);
  }
  capabilities.push_back(capability("writeback", word(connection.writeback),
                                    connection.writeback ? "there is an upper layer"
                                    : report.upper
                                        ? "switched off, by option, for volumes or for passthrough"
                                        : "the mount is read-only"));
  capabilities.push_back(capability("acl", word(report.acl),
                                    report.acl ? "a layer's filesystem has POSIX ACLs"
                                    : options.acl == Toggle::kOff
                                        ? "switched off by option"
                                        : "no layer's filesystem has POSIX ACLs"));
  capabilities.push_back(capability("passthrough", word(connection.passthrough),
                                    connection.passthrough ? "asked for, and the kernel offers it"
                                    : options.passthrough == Toggle::kOff
                                        ? "not asked for (passthrough=on, root only)"
                                    : report.upper ? "the kernel does not offer it (Linux 6.9)"
                                                   : "the mount is read-only"));
  capabilities.push_back(capability("io_uring", word(connection.over_io_uring),
                                    connection.over_io_uring ? "the kernel offers it"
                                    : options.uring == Toggle::kOff
                                        ? "switched off by option"
                                        : "the kernel does not offer it to us: see plyfs check"));
  return json;
}

nlohmann::ordered_json statistics_json(const ops::Statistics& operations,
                                       fuse::Counters& requests) {
  const auto rounded = [](double value) { return std::round(value * 100) / 100; };
  const auto cache = [](const sys::FdCache::Statistics& fds) {
    return Json{
        {"open", fds.size}, {"most", fds.capacity}, {"hits", fds.hits}, {"misses", fds.misses}};
  };
  Json json;
  json["plyfs"] = "stats";
  json["seconds"] = rounded(requests.seconds());
  Json& list = json["requests"] = Json::array();
  for (const fuse::OperationStatistics& operation : requests.statistics()) {
    Json histogram = Json::array();
    for (const auto& bucket : operation.histogram) {
      histogram.push_back({{"below_us", rounded(bucket.below_us)}, {"requests", bucket.requests}});
    }
    list.push_back({{"operation", operation.name},
                    {"requests", operation.requests},
                    {"errors", operation.errors},
                    {"total_us", rounded(operation.total_us)},
                    {"p50_us", rounded(operation.p50_us)},
                    {"p99_us", rounded(operation.p99_us)},
                    {"histogram", std::move(histogram)}});
  }
  json["copy_up"] = {{"files", operations.files_copied},
                     {"metadata_only", operations.metadata_copied},
                     {"completed_later", operations.files_completed},
                     {"directories", operations.directories_copied},
                     {"bytes", operations.bytes_copied}};
  json["upper_changes"] = operations.upper_changes;
  json["nodes"] = operations.nodes;
  json["caches"] = {{"directory_fds", cache(operations.directory_fds)},
                    {"file_fds", cache(operations.file_fds)},
                    {"listings",
                     {{"listings", operations.listings.directories},
                      {"bytes", operations.listings.bytes},
                      {"hits", operations.listings.hits},
                      {"misses", operations.listings.misses}}}};
  const sys::ProcessFacts process = sys::process_facts();
  json["process"] = {{"resident_bytes", process.resident_bytes},
                     {"peak_resident_bytes", process.peak_resident_bytes},
                     {"open_files", process.open_files},
                     {"threads", process.threads},
                     {"user_cpu_us", process.user_cpu_us},
                     {"system_cpu_us", process.system_cpu_us}};
  return json;
}

}  // namespace plyfs
