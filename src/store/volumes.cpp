#include "store/volumes.h"

#include <filesystem>
#include <system_error>

#include "sys/durable_file.h"

namespace plyfs::store {
namespace {

namespace fs = std::filesystem;

constexpr auto kDataMode = static_cast<fs::perms>(0755);
constexpr auto kVolumeMode = static_cast<fs::perms>(0700);

Json volume_json(const Volume& volume) {
  return {{"version", 1},
          {"name", volume.name},
          {"created", volume.created},
          {"labels", volume.labels},
          {"anonymous", volume.anonymous},
          {"filled", volume.filled}};
}

Status make_content(const std::string& directory, const Volume& volume) {
  std::error_code error;
  for (const auto& [path, mode] :
       {std::pair{directory, kVolumeMode}, std::pair{directory + "/_data", kDataMode}}) {
    fs::create_directory(path, error);
    if (!error) {
      fs::permissions(path, mode, error);
    }
    if (error) {
      return Errno{error.value()};
    }
  }
  return write_json(directory + "/volume.json", volume_json(volume));
}

}  // namespace

Result<Volume> read_volume(const Home& home, const std::string& name) {
  const Json json = TRY(read_json(home.volume(name) + "/volume.json"));
  Volume volume;
  volume.name = name;
  volume.data = home.volume(name) + "/_data";
  try {
    volume.created = json.value("created", "");
    volume.labels = json.value("labels", std::map<std::string, std::string>{});
    volume.anonymous = json.value("anonymous", false);
    volume.filled = json.value("filled", "");
  } catch (const Json::exception&) {
    return Errno{EPROTO};
  }
  return volume;
}

Result<Volume> create_volume(const Home& home, const Volume& wanted) {
  Volume volume = wanted;
  volume.created = timestamp();
  volume.data = home.volume(volume.name) + "/_data";
  std::error_code error;
  if (fs::exists(fs::symlink_status(home.volume(volume.name), error))) {
    return Errno{EEXIST};
  }
  const std::string aside = home.volumes() + "/.new-" + TRY(sys::random_hex(8));
  Status made = make_content(aside, volume);
  if (made) {
    fs::rename(aside, home.volume(volume.name), error);
    made = error ? Status{Errno{error.value()}} : sys::sync_directory(home.volumes());
  }
  if (!made) {
    (void)sys::remove_tree(aside);
    return made.error();
  }
  return volume;
}

Status write_volume(const Home& home, const Volume& volume) {
  return write_json(home.volume(volume.name) + "/volume.json", volume_json(volume));
}

std::vector<Volume> list_volumes(const Home& home) {
  std::vector<Volume> volumes;
  for (const std::string& name : names_in(home.volumes(), Hidden::kNo)) {
    auto volume = read_volume(home, name);
    if (volume) {
      volumes.push_back(*std::move(volume));
    } else {
      volumes.emplace_back().name = name;
    }
  }
  return volumes;
}

Json inspected(const Volume& volume) {
  return {{"CreatedAt", volume.created},
          {"Driver", "local"},
          {"Labels", volume.labels},
          {"Mountpoint", volume.data},
          {"Name", volume.name},
          {"Options", Json::object()},
          {"Scope", "local"},
          {"Anonymous", volume.anonymous},
          {"FilledAt", volume.filled}};
}

}  // namespace plyfs::store
