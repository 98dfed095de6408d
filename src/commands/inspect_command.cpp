#include "commands/inspect_command.h"

#include <algorithm>
#include <cerrno>
#include <string>
#include <string_view>
#include <vector>

#include "base/text.h"
#include "commands/output.h"
#include "config/cli_stack.h"
#include "config/failure_text.h"
#include "control/client.h"
#include "control/description.h"
#include "store/home.h"
#include "store/mounts.h"

namespace plyfs::commands {
namespace {

constexpr std::string_view kInspectProgram = "plyfs";

using control::text_member;
using store::Json;

Json described_member(const Json& object, const char* name) {
  const auto found = object.find(name);
  return found != object.end() ? *found : Json{};
}

/// What is escaped on the control channel is printed as it is.
Json unescaped_strings(const Json& json) {
  if (json.is_string()) {
    return unescaped(json.get<std::string>());
  }
  Json out = json;
  if (out.is_structured()) {  // anything else would be iterated over as if it held itself
    for (Json& item : out) {
      item = unescaped_strings(item);
    }
  }
  return out;
}

/// As the record would have it, of a mount that needs none.
store::MountRecord record_of(const Json& described) {
  store::MountRecord record;
  const MountOptions options = control::described_options(described);
  record.name = text_member(described, "name");
  record.mountpoint = options.mountpoint;
  record.started = text_member(described, "started");
  const Json pid = described_member(described, "pid");
  record.pid = pid.is_number_integer() ? pid.get<int>() : 0;
  for (const LayerPath& lower : options.lowers) {
    record.lowers.push_back(lower.path);
  }
  record.upper = options.upper.value_or("");
  record.work = options.work.value_or("");
  record.volumes = options.volumes;
  record.live = true;
  return record;
}

/// What only the daemon knows: how the volumes are shown, what is in force, and why.
void add_live(const Json& described, Json& entry) {
  const Json mode = described_member(described, "volume_mode");
  if (mode.is_object()) {
    entry["VolumeMode"] = {{"Mode", text_member(mode, "mode")}, {"Why", text_member(mode, "why")}};
  }
  entry["Options"] = unescaped_strings(described_member(described, "options"));
  Json& list = entry["Capabilities"] = Json::array();
  for (const Json& capability : described_member(described, "capabilities")) {
    list.push_back({{"Name", text_member(capability, "name")},
                    {"Value", text_member(capability, "value")},
                    {"Why", text_member(capability, "why")}});
  }
  Json& messages = entry["Messages"] = Json::array();
  for (const Json& told : described_member(described, "messages")) {
    messages.push_back({{"Last", text_member(told, "last")},
                        {"Times", described_member(told, "times")},
                        {"Level", text_member(told, "level")},
                        {"Message", text_member(told, "message")}});
  }
}

/// The records of the store; none where there is no store.
std::vector<store::MountRecord> all_records() {
  store::Home home;
  sys::UniqueFd lock;
  if (store::Home::find(home) || store::names_in(home.mounts(), store::Hidden::kYes).empty() ||
      home.lock(lock)) {
    return {};
  }
  return store::list_mounts(home);
}

/// Null when nobody knows `target`.
Json inspect(const std::vector<store::MountRecord>& records, const std::string& target) {
  const store::MountRecord* const record = store::find_record(records, target);
  if (record != nullptr && !record->live) {
    return store::inspected(*record);
  }
  auto described = control::ask(record != nullptr ? record->mountpoint : target, "describe");
  if (!described && record == nullptr && target.find('/') == std::string::npos) {
    for (Json& other : control::ask_all("describe")) {
      if (!target.empty() && text_member(other, "name") == target) {
        described = std::move(other);  // its record is in another store
      }
    }
  }
  if (record == nullptr && !described) {
    return {};
  }
  Json entry = store::inspected(record != nullptr ? *record : record_of(*described));
  if (described) {
    add_live(*described, entry);
  }
  return entry;
}

}  // namespace

std::optional<int> run_inspect(std::span<const char* const> words) {
  if (config::command_of(words) != "inspect") {
    return std::nullopt;
  }
  std::vector<std::string> targets;
  CLI::App app{
      "Print what is known of mounts, as JSON with docker's keys. Of a live mount also the "
      "options in force, what was found possible, and why, and what it last warned of.",
      "plyfs inspect"};
  app.add_option("MOUNT", targets, "a name, or a mountpoint")->required();
  app.footer("Examples:\n  plyfs inspect web\n  plyfs inspect /merged");
  if (const auto settled = config::run_parser(app, words.subspan(2), "plyfs inspect")) {
    if (settled->action == config::Action::kFail) {
      return complain(kInspectProgram, settled->failure);
    }
    (void)write_out(settled->output);
    return finish_out(kInspectProgram, 0);
  }
  const std::vector<store::MountRecord> records = all_records();
  Json list = Json::array();
  int exit_code = 0;
  for (const std::string& target : targets) {
    Json entry = inspect(records, target);
    if (entry.is_null()) {
      exit_code =
          complain(kInspectProgram,
                   config::system_failure({"no such mount", target, Errno{ENOENT},
                                           "'plyfs ls' shows the mounts that have a record"}));
    } else {
      list.push_back(std::move(entry));
    }
  }
  (void)write_out(store::printed(list));
  return finish_out(kInspectProgram, exit_code);
}

}  // namespace plyfs::commands
