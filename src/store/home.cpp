#include "store/home.h"

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <filesystem>
#include <system_error>

#include "base/text.h"
#include "config/failure_text.h"
#include "sys/creds.h"
#include "sys/durable_file.h"
#include "sys/trusted_path.h"

namespace plyfs::store {
namespace {

namespace fs = std::filesystem;

// What older versions gave a store of root's.
constexpr fs::perms kPassThrough =
    fs::perms::owner_all | fs::perms::group_exec | fs::perms::others_exec;
constexpr fs::perms kForOthers = fs::perms::group_all | fs::perms::others_all;

const char* set_variable(const char* name) {
  const char* const value = std::getenv(name);
  return value != nullptr && *value != '\0' ? value : nullptr;
}

/// A home that was there before may hold other things, too: only what we made is shut.
std::error_code make_home(const std::string& path) {
  std::error_code error;
  const bool made = fs::create_directories(path, error);
  if (!error && (made || fs::status(path, error).permissions() == kPassThrough)) {
    fs::permissions(path, fs::perms::owner_all, error);
  }
  return error;
}

std::optional<Failure> check_trusted(const std::string& path) {
  const auto untrusted = sys::find_untrusted(path);
  if (!untrusted) {
    return config::system_failure({"cannot use the volume store", path, untrusted.error(),
                                   "set PLYFS_HOME to a directory of root's"});
  }
  if (!*untrusted) {
    return std::nullopt;
  }
  const std::string& where = (*untrusted)->path;
  const uid_t owner = (*untrusted)->owner;
  const std::string why = owner != 0 ? "belongs to user " + std::to_string(owner)
                                     : std::string{"may be written by others"};
  return config::system_failure({"cannot use the volume store", path, Errno{EPERM},
                                 config::shown(where) + " " + why +
                                     ", who could lead root elsewhere: unset PLYFS_HOME, or " +
                                     "set it to a directory that only root can change"});
}

/// What one that was killed left in `directory`, where things are made under `lock_name`.
void remove_half_made(const std::string& directory, const char* lock_name) {
  for (const std::string& name : names_in(directory, Hidden::kNo)) {
    const bool half = name.starts_with(kFillingPrefix) || name.starts_with(kImportPrefix) ||
                      name.find(".json.new-") != std::string::npos;
    if (!half) {
      continue;
    }
    const auto lock = sys::open_lock_file(directory + "/" + lock_name);
    if (lock && sys::lock_file(lock->borrow(), sys::LockKind::kExclusive, sys::LockWait::kNo)) {
      (void)sys::remove_tree(directory + "/" + name);  // the next one tries again
    }
  }
}

void remove_left_overs(const std::string& directory) {
  for (const std::string& name : names_in(directory, Hidden::kYes)) {
    if (name.starts_with(".new-") || name.starts_with(".trash-")) {
      (void)sys::remove_tree(directory + "/" + name);  // the next one tries again
    }
  }
}

}  // namespace

std::error_code make_private(const std::string& path) {
  std::error_code error;
  (void)fs::create_directory(path, error);
  if (!error && (fs::status(path, error).permissions() & kForOthers) != fs::perms::none) {
    fs::permissions(path, fs::perms::owner_all, error);
  }
  return error;
}

std::optional<Failure> Home::find(Home& home) {
  if (const char* const given = set_variable("PLYFS_HOME")) {
    home.path_ = given;
    if (!home.path_.starts_with('/')) {
      return config::usage_failure(
          {"cannot use the volume store", given, Errno{EINVAL}, "PLYFS_HOME is an absolute path"});
    }
  } else if (sys::current_privileges().euid == 0) {
    home.path_ = "/var/lib/plyfs";
  } else if (const char* const data = set_variable("XDG_DATA_HOME")) {
    home.path_ = std::string{data} + "/plyfs";
  } else if (const char* const user = set_variable("HOME")) {
    home.path_ = std::string{user} + "/.local/share/plyfs";
  } else {
    return config::system_failure({"cannot find the volume store", "PLYFS_HOME", Errno{ENOENT},
                                   "set PLYFS_HOME or HOME to a directory of yours"});
  }
  if (sys::current_privileges().euid != 0 || !sys::in_initial_user_namespace()) {
    return std::nullopt;
  }
  for (const std::string& path : {home.path_, home.volumes(), home.mounts()}) {
    if (auto failure = check_trusted(path)) {
      return failure;
    }
  }
  return std::nullopt;
}

std::optional<Failure> Home::lock(sys::UniqueFd& held) const {
  for (const std::string& path : {path_, volumes(), mounts()}) {
    const std::error_code error = path == path_ ? make_home(path) : make_private(path);
    if (error) {
      return config::system_failure({"cannot make the volume store", path, Errno{error.value()},
                                     "set PLYFS_HOME to a directory of yours"});
    }
  }
  auto file = sys::open_lock_file(path_ + "/lock");
  const Status locked =
      file ? sys::lock_file(file->borrow(), sys::LockKind::kExclusive, sys::LockWait::kYes)
           : Status{file.error()};
  if (!locked) {
    return config::system_failure({"cannot lock the volume store", path_, locked.error(),
                                   "make it writable for you, or set PLYFS_HOME"});
  }
  remove_left_overs(volumes());
  remove_left_overs(mounts());
  for (const std::string& name : names_in(volumes(), Hidden::kNo)) {
    (void)make_private(volume(name));  // what older versions made; its name is shut already
    remove_half_made(volume(name), "fill.lock");
  }
  for (const std::string& name : names_in(mounts(), Hidden::kYes)) {
    remove_half_made(mount(name), "lock");
  }
  held = *std::move(file);
  return std::nullopt;
}

Result<std::string> Home::discard(const std::string& path) const {
  const std::string trash = path.substr(0, path.rfind('/')) + "/.trash-" + TRY(sys::random_hex(8));
  std::error_code error;
  fs::rename(path, trash, error);
  if (error) {
    return Errno{error.value()};
  }
  return trash;
}

std::vector<std::string> names_in(const std::string& directory, Hidden hidden) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it{directory, error}; !error && it != fs::directory_iterator{};
       it.increment(error)) {
    std::string name = it->path().filename().string();
    if (hidden == Hidden::kYes || !name.starts_with('.')) {
      names.push_back(std::move(name));
    }
  }
  std::ranges::sort(names);
  return names;
}

Result<Json> read_json(const std::string& path) {
  const std::string text = TRY(sys::read_file(path));
  Json json = Json::parse(text, nullptr, false);
  if (json.is_discarded() || !json.is_object()) {
    return Errno{EPROTO};
  }
  return json;
}

Status write_json(const std::string& path, const Json& json) {
  std::string text;
  try {
    text = json.dump(2);
  } catch (const Json::exception&) {
    return Errno{EILSEQ};
  }
  return sys::write_durably(path, text + "\n");
}

std::string printed(const Json& json) {
  return harmless_json(json.dump(4, ' ', false, Json::error_handler_t::replace)) + "\n";
}

std::string timestamp() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  char text[32];
  if (gmtime_r(&now, &utc) == nullptr ||
      std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", &utc) == 0) {
    return {};
  }
  return text;
}

}  // namespace plyfs::store
