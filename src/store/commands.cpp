#include "store/commands.h"

#include <cerrno>
#include <cstdio>
#include <utility>
#include <vector>

#include "config/cli_stack.h"
#include "config/failure_text.h"
#include "store/mounts.h"
#include "store/transfer.h"
#include "store/volumes.h"
#include "sys/durable_file.h"
#include "sys/mount_table.h"

namespace plyfs::store {
namespace {

using config::add_repeated;
using config::run_parser;
using config::system_failure;

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(text.size() + 2, width), ' ');
  return text;
}

/// Removes the anonymous volumes of a record that nobody else uses.
std::vector<std::string> discard_anonymous(const Home& home, const MountRecord& gone,
                                           const std::vector<MountRecord>& records) {
  std::vector<std::string> trash;
  for (const VolumeMount& volume : gone.volumes) {
    const bool used = std::ranges::any_of(records, [&](const MountRecord& other) {
      return other.key != gone.key && other.uses(volume.name);
    });
    if (volume.anonymous && !used && !is_held(home, volume.name)) {
      if (auto moved = home.discard(home.volume(volume.name))) {
        trash.push_back(*std::move(moved));
      }
    }
  }
  return trash;
}

int remove_record(const Home& home, const std::string& name, bool volumes) {
  sys::UniqueFd lock;
  if (const auto failure = home.lock(lock)) {
    return complain(*failure);
  }
  const std::vector<MountRecord> records = list_mounts(home);
  const auto record = std::ranges::find_if(
      records, [&](const MountRecord& r) { return !r.name.empty() && r.name == name; });
  if (record == records.end()) {
    return complain(system_failure({"cannot remove the record of a mount", name, Errno{ENOENT},
                                    "'plyfs ls' shows the mounts that have a name"}));
  }
  if (record->live) {
    return complain(system_failure({"cannot remove the record of a mount", name, Errno{EBUSY},
                                    "it is mounted at " + config::shown(record->mountpoint) +
                                        ": 'plyfs umount " + name + "' first"}));
  }
  std::vector<std::string> trash;
  if (volumes) {
    trash = discard_anonymous(home, *record, records);
  }
  const auto moved = home.discard(home.mount(name));
  if (!moved) {
    return complain(system_failure({"cannot remove the record of a mount", name, moved.error(),
                                    "make the volume store writable for you"}));
  }
  trash.push_back(*moved);
  lock.reset();
  for (const std::string& path : trash) {
    if (const Status removed = sys::remove_tree(path); !removed) {
      return complain(
          system_failure({"cannot remove", path, removed.error(), "remove it by hand"}));
    }
  }
  say(name + "\n");
  return 0;
}

}  // namespace

void say(const std::string& text) { (void)std::fputs(text.c_str(), stdout); }

int complain(const Failure& failure) {
  (void)std::fprintf(stderr, "plyfs: %s\n", failure.what.c_str());
  return failure.exit_code;
}

int settle(const config::CommandLine& line) {
  if (line.action == config::Action::kFail) {
    return complain(line.failure);
  }
  say(line.output);
  return 0;
}

int run_ls(Arguments arguments) {
  bool json = false;
  bool quiet = false;
  CLI::App app{"List the named mounts, and those without a name that use managed volumes.",
               "plyfs ls"};
  app.add_flag("--json", json, "print JSON");
  app.add_flag("-q,--quiet", quiet, "print names only");
  app.footer("Examples:\n  plyfs ls\n  plyfs ls -q\n  plyfs ls --json");
  if (const auto settled = run_parser(app, arguments, "plyfs ls")) {
    return settle(*settled);
  }
  Home home;
  sys::UniqueFd lock;
  if (const auto failure = Home::find(home)) {
    return complain(*failure);
  }
  if (const auto failure = home.lock(lock)) {
    return complain(*failure);
  }
  Json list = Json::array();
  std::string text = quiet ? "" : "NAME            STATUS     MOUNTPOINT\n";
  for (const MountRecord& record : list_mounts(home)) {
    list.push_back(inspected(record));
    if (!quiet) {
      text += padded(record.name.empty() ? "-" : config::shown(record.name), 16) +
              padded(record.live ? "mounted" : "unmounted", 11) + config::shown(record.mountpoint) +
              "\n";
    } else if (!record.name.empty()) {
      text += config::shown(record.name) + "\n";
    }
  }
  say(json ? printed(list) : text);
  return 0;
}

int run_rm(Arguments arguments) {
  std::vector<std::string> names;
  bool volumes = false;
  CLI::App app{"Remove the records of named mounts. The layers, the upper and named volumes stay.",
               "plyfs rm"};
  app.add_flag("-v,--volumes", volumes,
               "remove also its anonymous volumes that no other mount uses");
  app.add_option("NAME", names, "names of mounts")->required();
  app.footer("Examples:\n  plyfs rm web\n  plyfs rm -v web");
  if (const auto settled = run_parser(app, arguments, "plyfs rm")) {
    return settle(*settled);
  }
  Home home;
  if (const auto failure = Home::find(home)) {
    return complain(*failure);
  }
  int exit_code = 0;
  for (const std::string& name : names) {
    exit_code = std::max(exit_code, remove_record(home, name, volumes));
  }
  return exit_code;
}

std::string mountpoint_of(const std::string& target) {
  // Not by stat(2): what is mounted there may be dead, or its daemon stopped.
  if (target.find('/') != std::string::npos || sys::kernel_path(target)) {
    return target;
  }
  Home home;
  if (Home::find(home)) {
    return target;
  }
  const auto record = read_mount(home, target);
  return record && record->live && record->name == target ? record->mountpoint : target;
}

std::optional<int> run_command(Arguments arguments) {
  const std::string_view command = config::command_of(arguments);
  if (command.empty()) {
    return std::nullopt;
  }
  const Arguments rest = arguments.subspan(2);
  if (command == "volume") {
    return run_volume(rest);
  }
  if (command == "ls") {
    return run_ls(rest);
  }
  if (command == "rm") {
    return run_rm(rest);
  }
  return std::nullopt;
}

}  // namespace plyfs::store
