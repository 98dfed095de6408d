// plyfs volume create | ls | inspect | rm | prune: docker's words and docker's output.
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "config/cli_stack.h"
#include "config/failure_text.h"
#include "config/volume_spec.h"
#include "store/commands.h"
#include "store/mounts.h"
#include "store/transfer.h"
#include "store/volumes.h"
#include "sys/durable_file.h"

namespace plyfs::store {
namespace {

namespace fs = std::filesystem;
using config::add_repeated;
using config::run_parser;
using config::system_failure;
using MaybeFailure = std::optional<Failure>;

constexpr const char* kVolumeHelp = R"(plyfs volume: data that outlives its mounts

Usage:
  plyfs volume create [NAME] [--label K=V]...
  plyfs volume ls [-q] [--filter KEY=VALUE]... [--json]
  plyfs volume inspect NAME...
  plyfs volume rm [-f] NAME...
  plyfs volume prune [-f] [--all] [--filter label=K[=V]]...
  plyfs volume export NAME [-o FILE]
  plyfs volume import [-f] NAME [-i FILE]

Examples:
  plyfs volume create web
  plyfs mount --lower image --upper up -v web:/srv merged
  plyfs volume ls --filter dangling=true

See 'plyfs volume COMMAND --help' for the options of a command.
)";

/// The store, locked; what is listed under the lock.
struct Opened {
  Home home;
  sys::UniqueFd lock;
  std::vector<MountRecord> mounts;
};

MaybeFailure open_store(Opened& store) {
  if (MaybeFailure failure = Home::find(store.home)) {
    return failure;
  }
  if (MaybeFailure failure = store.home.lock(store.lock)) {
    return failure;
  }
  store.mounts = list_mounts(store.home);
  return std::nullopt;
}

std::vector<const MountRecord*> users_of(const Opened& store, const std::string& volume) {
  std::vector<const MountRecord*> users;
  for (const MountRecord& record : store.mounts) {
    if (record.uses(volume)) {
      users.push_back(&record);
    }
  }
  return users;
}

/// `--filter`: name=PART, label=K[=V], dangling=true|false, anonymous=true|false, driver=local.
struct Filters {
  std::vector<std::string> words;

  MaybeFailure check() const {
    for (const std::string& word : words) {
      const std::size_t equals = std::min(word.find('='), word.size());
      const std::string key = word.substr(0, equals);
      const std::string value = word.substr(std::min(equals + 1, word.size()));
      const bool answer = value == "true" || value == "false" || value == "1" || value == "0";
      const bool good = ((key == "name" || key == "label" || key == "driver") && !value.empty()) ||
                        ((key == "dangling" || key == "anonymous") && answer);
      if (!good) {
        return config::usage_failure(
            {"bad filter", word, Errno{EINVAL},
             "use name=, label=, driver=, dangling=true|false or anonymous=true|false"});
      }
    }
    return std::nullopt;
  }

  [[nodiscard]] bool take(const Volume& volume, bool used) const {
    return std::ranges::all_of(words,
                               [&](const std::string& word) { return takes(word, volume, used); });
  }

 private:
  static bool takes(const std::string& word, const Volume& volume, bool used) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    const std::string value = word.substr(equals + 1);
    if (key == "name") {
      return volume.name.find(value) != std::string::npos;
    }
    if (key == "driver") {
      return value == "local";
    }
    if (key == "label") {
      const std::size_t sign = value.find('=');
      const auto label = volume.labels.find(value.substr(0, sign));
      return label != volume.labels.end() &&
             (sign == std::string::npos || label->second == value.substr(sign + 1));
    }
    const bool wanted = value == "true" || value == "1";
    return (key == "dangling" ? !used : volume.anonymous) == wanted;
  }
};

MaybeFailure take_labels(const std::vector<std::string>& words, Volume& volume) {
  for (const std::string& word : words) {
    const std::size_t equals = word.find('=');
    const std::string key = word.substr(0, equals);
    if (key.empty()) {
      return config::usage_failure({"bad label", word, Errno{EINVAL}, "use KEY=VALUE"});
    }
    volume.labels[key] = equals == std::string::npos ? "" : word.substr(equals + 1);
  }
  return std::nullopt;
}

int run_create(Arguments arguments) {
  Volume wanted;
  std::vector<std::string> labels;
  CLI::App app{"Create an empty volume; without a name it gets a random one. Prints the name.",
               "plyfs volume create"};
  app.add_option("NAME", wanted.name, "letters, digits, '_', '.', '-'");
  add_repeated(app, "--label", labels, "a note on it")->type_name("KEY=VALUE");
  app.footer("Examples:\n  plyfs volume create web\n  plyfs volume create web --label tier=front");
  if (const auto settled = run_parser(app, arguments, "plyfs volume create")) {
    return settle(*settled);
  }
  if (const auto failure = take_labels(labels, wanted)) {
    return complain(*failure);
  }
  wanted.anonymous = wanted.name.empty();
  if (wanted.anonymous) {
    wanted.name = sys::random_hex(32).value_or("");
  }
  if (const auto failure = config::check_name(wanted.name, "bad volume name")) {
    return complain(*failure);
  }
  Opened store;
  if (const auto failure = open_store(store)) {
    return complain(*failure);
  }
  const auto made = create_volume(store.home, wanted);
  // As docker: a volume that is there already is what was asked for.
  if (!made && made.error() != EEXIST) {
    return complain(system_failure({"cannot create volume", wanted.name, made.error(),
                                    "see what this error says about PLYFS_HOME"}));
  }
  say(wanted.name + "\n");
  return 0;
}

int run_volume_ls(Arguments arguments) {
  Filters filters;
  bool quiet = false;
  bool json = false;
  CLI::App app{"List the volumes.", "plyfs volume ls"};
  app.add_flag("-q,--quiet", quiet, "print names only");
  add_repeated(app, "--filter", filters.words,
               "name=PART, label=K[=V], dangling=true|false, anonymous=true|false")
      ->type_name("KEY=VALUE");
  app.add_flag("--json", json, "print JSON");
  app.footer("Examples:\n  plyfs volume ls\n  plyfs volume ls -q --filter dangling=true");
  if (const auto settled = run_parser(app, arguments, "plyfs volume ls")) {
    return settle(*settled);
  }
  Opened store;
  MaybeFailure failure = filters.check();
  failure = failure ? failure : open_store(store);
  if (failure) {
    return complain(*failure);
  }
  Json list = Json::array();
  std::string text = quiet ? "" : "DRIVER    VOLUME NAME\n";
  for (const Volume& volume : list_volumes(store.home)) {
    if (filters.take(volume, !users_of(store, volume.name).empty())) {
      list.push_back(inspected(volume));
      text += (quiet ? "" : "local     ") + config::shown(volume.name) + "\n";
    }
  }
  say(json ? printed(list) : text);
  return 0;
}

int run_volume_inspect(Arguments arguments) {
  std::vector<std::string> names;
  CLI::App app{"Print what is known of volumes, as JSON with docker's keys.",
               "plyfs volume inspect"};
  app.add_option("NAME", names, "names of volumes")->required();
  app.footer("Examples:\n  plyfs volume inspect web");
  if (const auto settled = run_parser(app, arguments, "plyfs volume inspect")) {
    return settle(*settled);
  }
  Opened store;
  if (const auto failure = open_store(store)) {
    return complain(*failure);
  }
  Json list = Json::array();
  int exit_code = 0;
  for (const std::string& name : names) {
    const bool possible = !config::check_name(name, "");
    const auto volume = possible ? read_volume(store.home, name) : Result<Volume>{Errno{ENOENT}};
    if (!volume) {
      exit_code = complain(system_failure(
          {"no such volume", name, volume.error(), "'plyfs volume ls' shows those there are"}));
      continue;
    }
    Json entry = inspected(*volume);
    entry["UsedBy"] = Json::array();
    for (const MountRecord* const user : users_of(store, name)) {
      entry["UsedBy"].push_back(
          {{"Name", user->name}, {"Mountpoint", user->mountpoint}, {"Mounted", user->live}});
    }
    list.push_back(std::move(entry));
  }
  say(printed(list));
  return exit_code;
}

/// Moves the volume out of sight if nobody uses it; `trash` is what is left to remove.
MaybeFailure discard_volume(const Opened& store, const std::string& name, bool force,
                            std::string& trash) {
  std::error_code error;
  const bool possible = !config::check_name(name, "");
  if (!possible || !fs::exists(fs::symlink_status(store.home.volume(name), error))) {
    if (force) {
      return std::nullopt;  // as docker
    }
    return system_failure(
        {"cannot remove volume", name, Errno{ENOENT}, "'plyfs volume ls' shows those there are"});
  }
  for (const MountRecord* const user : users_of(store, name)) {
    if (user->live) {
      return system_failure(
          {"cannot remove volume", name, Errno{EBUSY},
           "it is in use by " + config::shown(user->shown()) + ": unmount that first"});
    }
    if (!force) {
      return system_failure({"cannot remove volume", name, Errno{EBUSY},
                             "the mount " + user->name + ", not mounted now, uses it: 'plyfs rm " +
                                 user->name + "' first, or use -f"});
    }
  }
  if (is_held(store.home, name)) {
    return system_failure({"cannot remove volume", name, Errno{EBUSY},
                           "it is being exported or imported: wait until that is done"});
  }
  auto moved = store.home.discard(store.home.volume(name));
  if (!moved) {
    return system_failure(
        {"cannot remove volume", name, moved.error(), "make the volume store writable for you"});
  }
  trash = *std::move(moved);
  return std::nullopt;
}

int run_volume_rm(Arguments arguments) {
  std::vector<std::string> names;
  bool force = false;
  CLI::App app{"Remove volumes and what is in them. Refused while a mount uses one.",
               "plyfs volume rm"};
  app.add_flag("-f,--force", force,
               "not an error if there is none; also if a mount that is not mounted now names it");
  app.add_option("NAME", names, "names of volumes")->required();
  app.footer("Examples:\n  plyfs volume rm web\n  plyfs volume rm $(plyfs volume ls -q)");
  if (const auto settled = run_parser(app, arguments, "plyfs volume rm")) {
    return settle(*settled);
  }
  Opened store;
  if (const auto failure = open_store(store)) {
    return complain(*failure);
  }
  int exit_code = 0;
  std::vector<std::string> trashes;
  for (const std::string& name : names) {
    std::string trash;
    if (const auto failure = discard_volume(store, name, force, trash)) {
      exit_code = complain(*failure);
      continue;
    }
    say(name + "\n");
    if (!trash.empty()) {
      trashes.push_back(std::move(trash));
    }
  }
  store.lock.reset();  // removing may take long
  for (const std::string& trash : trashes) {
    if (const Status removed = sys::remove_tree(trash); !removed) {
      exit_code = complain(system_failure(
          {"cannot remove what was in the volume", trash, removed.error(), "remove it by hand"}));
    }
  }
  return exit_code;
}

std::uintmax_t bytes_in(const std::string& directory) {
  std::uintmax_t bytes = 0;
  std::error_code error;
  fs::recursive_directory_iterator it{directory, fs::directory_options::skip_permission_denied,
                                      error};
  for (; !error && it != fs::recursive_directory_iterator{}; it.increment(error)) {
    std::error_code unknown;
    if (it->is_regular_file(unknown) && !it->is_symlink(unknown)) {
      const auto size = it->file_size(unknown);
      bytes += unknown ? 0 : size;
    }
  }
  return bytes;
}

/// As docker writes sizes: "1.5kB".
std::string human_size(std::uintmax_t bytes) {
  static constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  auto value = static_cast<double>(bytes);
  std::size_t unit = 0;
  while (value >= 1000 && unit + 1 < std::size(kUnits)) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  (void)std::snprintf(text, sizeof text, "%.4g%s", value, kUnits[unit]);
  return text;
}

bool confirmed(bool all) {
  say(std::string{"WARNING! This will remove "} + (all ? "all" : "anonymous") +
      " volumes that no mount uses.\nAre you sure you want to continue? [y/N] ");
  (void)std::fflush(stdout);
  const int answer = std::getchar();
  return answer == 'y' || answer == 'Y';
}

int run_prune(Arguments arguments) {
  Filters filters;
  bool force = false;
  bool all = false;
  CLI::App app{"Remove the anonymous volumes that no mount uses.", "plyfs volume prune"};
  app.add_flag("-f,--force", force, "do not ask");
  app.add_flag("-a,--all", all, "named volumes, too");
  add_repeated(app, "--filter", filters.words, "only those that it fits: label=K[=V], name=PART")
      ->type_name("KEY=VALUE");
  app.footer("Examples:\n  plyfs volume prune\n  plyfs volume prune -f --all");
  if (const auto settled = run_parser(app, arguments, "plyfs volume prune")) {
    return settle(*settled);
  }
  if (const auto failure = filters.check()) {
    return complain(*failure);
  }
  if (!force && !confirmed(all)) {
    return 0;
  }
  Opened store;
  if (const auto failure = open_store(store)) {
    return complain(*failure);
  }
  int exit_code = 0;
  std::string deleted;
  std::vector<std::string> trashes;
  for (const Volume& volume : list_volumes(store.home)) {
    const bool used = !users_of(store, volume.name).empty();
    if (used || (!volume.anonymous && !all) || !filters.take(volume, used)) {
      continue;
    }
    std::string trash;
    if (const auto failure = discard_volume(store, volume.name, false, trash)) {
      exit_code = complain(*failure);
    } else {
      deleted += config::shown(volume.name) + "\n";
      trashes.push_back(std::move(trash));
    }
  }
  store.lock.reset();
  std::uintmax_t bytes = 0;
  for (const std::string& trash : trashes) {
    bytes += bytes_in(trash + "/_data");
    if (const Status removed = sys::remove_tree(trash); !removed) {
      exit_code = complain(system_failure(
          {"cannot remove what was in the volume", trash, removed.error(), "remove it by hand"}));
    }
  }
  say((deleted.empty() ? "" : "Deleted Volumes:\n" + deleted + "\n") +
      "Total reclaimed space: " + human_size(bytes) + "\n");
  return exit_code;
}

}  // namespace

int run_volume(Arguments arguments) {
  const std::string_view command = arguments.empty() ? "" : arguments[0];
  const Arguments rest = arguments.empty() ? arguments : arguments.subspan(1);
  if (command == "create") {
    return run_create(rest);
  }
  if (command == "ls" || command == "list") {
    return run_volume_ls(rest);
  }
  if (command == "inspect") {
    return run_volume_inspect(rest);
  }
  if (command == "rm" || command == "remove") {
    return run_volume_rm(rest);
  }
  if (command == "prune") {
    return run_prune(rest);
  }
  if (command == "--help" || command == "-h" || command == "help") {
    say(kVolumeHelp);
    return 0;
  }
  return complain(
      config::usage_failure({"unknown volume command", command.empty() ? "(none)" : command,
                             Errno{EINVAL}, "see 'plyfs volume --help' for the known ones"}));
}

}  // namespace plyfs::store
