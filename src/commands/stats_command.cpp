#include "commands/stats_command.h"

#include <chrono>
#include <cstdio>
#include <optional>
#include <thread>

#include "base/text.h"
#include "commands/output.h"
#include "commands/stack_argument.h"

namespace plyfs::commands {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kProgram = "plyfs-dump";

std::uint64_t number(const Json& json, const char* path) {
  const auto* found = &json;
  const auto pointer = Json::json_pointer{path};
  if (!found->contains(pointer) || !found->at(pointer).is_number()) {
    return 0;
  }
  return found->at(pointer).get<std::uint64_t>();
}

std::string fixed(double value) {
  char text[64];
  (void)std::snprintf(text, sizeof text, value < 9.95 ? "%.1f" : "%.0f", value);
  return text;
}

std::uint64_t requests_of(const Json& stats, const std::string& operation) {
  for (const Json& entry : stats.value("requests", Json::array())) {
    if (entry.value("operation", "") == operation) {
      return entry.value("requests", std::uint64_t{0});
    }
  }
  return 0;
}

std::string cache_line(const Json& now, const std::string& name, const char* open) {
  const std::string at = "/caches/" + name;
  const std::uint64_t hits = number(now, (at + "/hits").c_str());
  const std::uint64_t all = hits + number(now, (at + "/misses").c_str());
  const std::string rate =
      all == 0 ? "-" : fixed(100.0 * static_cast<double>(hits) / static_cast<double>(all)) + " %";
  return std::to_string(number(now, (at + '/' + open).c_str())) + ", hits " + rate;
}

}  // namespace

std::string stats_text(const Json& now, const Json* before, const dump::PrintStyle& style) {
  std::vector<std::string> head = {"OPERATION", "REQUESTS", "ERRORS",
                                   "MEAN us",   "P50 us",   "P99 us"};
  if (before != nullptr) {
    head.insert(head.begin() + 2, "PER SECOND");
  }
  dump::Table table{std::move(head)};
  const double seconds =
      before == nullptr ? 0 : now.value("seconds", 0.0) - before->value("seconds", 0.0);
  for (const Json& entry : now.value("requests", Json::array())) {
    const std::string operation = entry.value("operation", "");
    const auto requests = entry.value("requests", std::uint64_t{0});
    std::vector<std::string> row = {
        operation,
        std::to_string(requests),
        std::to_string(entry.value("errors", std::uint64_t{0})),
        fixed(requests == 0 ? 0 : entry.value("total_us", 0.0) / static_cast<double>(requests)),
        "< " + fixed(entry.value("p50_us", 0.0)),
        "< " + fixed(entry.value("p99_us", 0.0))};
    if (before != nullptr) {
      const auto fresh = static_cast<double>(requests - requests_of(*before, operation));
      row.insert(row.begin() + 2, fixed(seconds > 0 ? fresh / seconds : 0));
    }
    table.add(std::move(row));
  }
  dump::Table facts{{"WHAT", "NOW"}};
  facts.add(
      {"copied up", std::to_string(number(now, "/copy_up/files")) + " files, " +
                        std::to_string(number(now, "/copy_up/metadata_only")) + " metadata only, " +
                        std::to_string(number(now, "/copy_up/completed_later")) +
                        " completed later, " + std::to_string(number(now, "/copy_up/directories")) +
                        " directories; " + dump::size_text(style, number(now, "/copy_up/bytes"))});
  facts.add({"changes of the upper", std::to_string(number(now, "/upper_changes"))});
  facts.add({"nodes known", std::to_string(number(now, "/nodes"))});
  facts.add({"directory descriptors", cache_line(now, "directory_fds", "open")});
  facts.add({"file descriptors", cache_line(now, "file_fds", "open")});
  facts.add({"listings", cache_line(now, "listings", "listings") + ", " +
                             dump::size_text(style, number(now, "/caches/listings/bytes"))});
  facts.add({"memory", dump::size_text(style, number(now, "/process/resident_bytes")) + ", most " +
                           dump::size_text(style, number(now, "/process/peak_resident_bytes"))});
  facts.add({"open files", std::to_string(number(now, "/process/open_files"))});
  facts.add({"threads", std::to_string(number(now, "/process/threads"))});
  facts.add({"CPU time",
             fixed(static_cast<double>(number(now, "/process/user_cpu_us")) / 1e6) + " s user, " +
                 fixed(static_cast<double>(number(now, "/process/system_cpu_us")) / 1e6) +
                 " s system"});
  return table.text(style) + '\n' + facts.text(style);
}

int run_stats(const StatsArguments& arguments) {
  Failure failure;
  std::optional<Json> before;
  const bool redraw = arguments.watch && !arguments.json && may_colour();
  for (;;) {
    auto now = ask_mount(arguments.target, "stats", failure);
    if (!now) {
      // Watching ends with the mount; that is no failure.
      return before ? finish_out(kProgram, 0) : complain(kProgram, failure);
    }
    std::string text = redraw ? "\x1b[H\x1b[2J" : (before && !arguments.json ? "\n" : "");
    text += arguments.json ? now->dump(arguments.watch ? -1 : 2) + '\n'
                           : stats_text(*now, before ? &*before : nullptr, arguments.style);
    const bool written = write_out(text) && std::fflush(stdout) == 0;
    if (!arguments.watch || !written) {
      return finish_out(kProgram, 0);
    }
    before = std::move(now);
    std::this_thread::sleep_for(std::chrono::duration<double>(arguments.interval_s));
  }
}

}  // namespace plyfs::commands
