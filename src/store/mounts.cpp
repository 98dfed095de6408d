#include "store/mounts.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "sys/durable_file.h"

namespace plyfs::store {
namespace {

Json mount_json(const MountRecord& record) {
  Json volumes = Json::array();
  for (const VolumeMount& volume : record.volumes) {
    volumes.push_back({{"source", volume.source},
                       {"destination", volume.destination},
                       {"read_only", volume.read_only},
                       {"name", volume.name},
                       {"subpath", volume.subpath},
                       {"anonymous", volume.anonymous}});
  }
  return {{"version", 1},
          {"name", record.name},
          {"mountpoint", record.mountpoint},
          {"pid", record.pid},
          {"started", record.started},
          {"lowers", record.lowers},
          {"data_only", record.data_only},
          {"image", record.image},
          {"upper", record.upper},
          {"work", record.work},
          {"userxattr", record.userxattr},
          {"volumes", volumes},
          {"volumes_from", record.volumes_from}};
}

/// Older records hold the path that the subpath led to when it was asked for.
std::string subpath_of_older(const VolumeMount& volume) {
  const std::string inside = "/" + volume.name + "/_data/";
  const std::size_t at = volume.name.empty() ? std::string::npos : volume.source.find(inside);
  return at == std::string::npos ? "" : volume.source.substr(at + inside.size());
}

VolumeMount volume_of(const Json& json) {
  VolumeMount volume;
  volume.source = json.at("source").get<std::string>();
  volume.destination = json.at("destination").get<std::string>();
  volume.read_only = json.at("read_only").get<bool>();
  volume.name = json.at("name").get<std::string>();
  volume.subpath = json.value("subpath", subpath_of_older(volume));
  volume.anonymous = json.at("anonymous").get<bool>();
  return volume;
}

bool is_live(const Home& home, const std::string& key) {
  const auto file = sys::open_lock_file(home.mount(key) + "/lock");
  if (!file) {
    return false;
  }
  const Status locked =
      sys::lock_file(file->borrow(), sys::LockKind::kExclusive, sys::LockWait::kNo);
  return !locked && locked.error() == EWOULDBLOCK;
}

}  // namespace

std::string same_path(const std::string& path) {
  std::error_code error;
  const std::filesystem::path found = std::filesystem::weakly_canonical(path, error);
  return error ? path : found.string();
}

const MountRecord* find_record(const std::vector<MountRecord>& records, const std::string& target) {
  for (const MountRecord& record : records) {
    if (!record.name.empty() && record.name == target) {
      return &record;
    }
  }
  const std::string path = same_path(target);
  for (const MountRecord& record : records) {
    if (record.live && same_path(record.mountpoint) == path) {
      return &record;
    }
  }
  return nullptr;
}

bool MountRecord::uses(const std::string& volume) const {
  return std::ranges::any_of(volumes, [&](const VolumeMount& v) { return v.name == volume; });
}

std::string MountRecord::shown() const {
  return name.empty() ? mountpoint : name + " at " + mountpoint;
}

Result<MountRecord> read_mount(const Home& home, const std::string& key) {
  const Json json = TRY(read_json(home.mount(key) + "/record.json"));
  MountRecord record;
  record.key = key;
  try {
    record.name = json.at("name").get<std::string>();
    record.mountpoint = json.at("mountpoint").get<std::string>();
    record.pid = json.at("pid").get<int>();
    record.started = json.at("started").get<std::string>();
    record.lowers = json.at("lowers").get<std::vector<std::string>>();
    record.data_only = json.value("data_only", std::size_t{0});  // older records have none
    record.image = json.value("image", std::string{});
    record.upper = json.at("upper").get<std::string>();
    record.work = json.at("work").get<std::string>();
    record.userxattr = json.value("userxattr", false);  // older records do not say
    for (const Json& volume : json.at("volumes")) {
      record.volumes.push_back(volume_of(volume));
    }
    record.volumes_from = json.at("volumes_from").get<std::vector<std::string>>();
  } catch (const Json::exception&) {
    return Errno{EPROTO};
  }
  record.live = is_live(home, key);
  return record;
}

Status write_mount(const Home& home, const MountRecord& record) {
  return write_json(home.mount(record.key) + "/record.json", mount_json(record));
}

std::vector<MountRecord> list_mounts(const Home& home) {
  std::vector<MountRecord> records;
  for (const std::string& key : names_in(home.mounts(), Hidden::kYes)) {
    auto record = read_mount(home, key);
    const bool live = record ? record->live : is_live(home, key);
    if (key.starts_with('.') && !live) {
      (void)sys::remove_tree(home.mount(key));  // its mount died; the next command tries again
    } else if (record) {
      records.push_back(*std::move(record));
    }
  }
  return records;
}

Json mount_entry(const VolumeMount& volume) {
  Json entry{{"Type", volume.name.empty() ? "bind" : "volume"}};
  if (!volume.name.empty()) {
    entry["Name"] = volume.name;
  }
  entry["Source"] = volume.shown_source();
  entry["Destination"] = volume.destination;
  if (!volume.name.empty()) {
    entry["Driver"] = "local";
  }
  entry["Mode"] = volume.read_only ? "ro" : "";
  entry["RW"] = !volume.read_only;
  entry["Propagation"] = volume.name.empty() ? "rprivate" : "";
  return entry;
}

Json inspected(const MountRecord& record) {
  Json mounts = Json::array();
  for (const VolumeMount& volume : record.volumes) {
    mounts.push_back(mount_entry(volume));
  }
  return {{"Name", record.name},
          {"Mountpoint", record.mountpoint},
          {"State",
           {{"Status", record.live ? "mounted" : "unmounted"},
            {"Pid", record.live ? record.pid : 0},
            {"StartedAt", record.started}}},
          {"LowerDirs", record.lowers},
          {"UpperDir", record.upper},
          {"WorkDir", record.work},
          {"VolumesFrom", record.volumes_from},
          {"Mounts", mounts}};
}

}  // namespace plyfs::store
