#include "commands/stats_command.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <map>
#include <optional>
#include <set>
#include <thread>

#include "base/text.h"
#include "commands/output.h"
#include "commands/stack_argument.h"

namespace plyfs::commands {
namespace {

using Json = nlohmann::ordered_json;

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

using Buckets = std::map<int, std::uint64_t>;  ///< requests by power of two

/// The buckets of one operation, numbered from that of `base_us`. Two answers of a daemon may put
/// the same bound at slightly different times (its clock is measured when it is asked), so the
/// number is what counts.
Buckets buckets_of(const Json& stats, const std::string& operation, double base_us) {
  Buckets buckets;
  for (const Json& entry : stats.value("requests", Json::array())) {
    if (entry.value("operation", "") != operation) {
      continue;
    }
    for (const Json& bucket : entry.value("histogram", Json::array())) {
      const double below_us = bucket.value("below_us", 0.0);
      if (below_us > 0) {
        buckets[static_cast<int>(std::lround(std::log2(below_us / base_us)))] +=
            bucket.value("requests", std::uint64_t{0});
      }
    }
  }
  return buckets;
}

double any_bound_us(const Json& stats) {
  for (const Json& entry : stats.value("requests", Json::array())) {
    for (const Json& bucket : entry.value("histogram", Json::array())) {
      if (const double below_us = bucket.value("below_us", 0.0); below_us > 0) {
        return below_us;
      }
    }
  }
  return 0;
}

std::string share_text(std::uint64_t part, std::uint64_t whole) {
  if (part == 0) {
    return ".";
  }
  const double share = 100.0 * static_cast<double>(part) / static_cast<double>(whole);
  return share < 0.5 ? "<1" : std::to_string(std::lround(share));
}

/// How the latencies are spread, one row for each operation; of the requests since `before`.
std::string distribution_text(const Json& now, const Json* before, const dump::PrintStyle& style) {
  const double base_us = any_bound_us(now);
  std::map<std::string, Buckets> rows;
  std::set<int> columns;
  for (const Json& entry : now.value("requests", Json::array())) {
    const std::string operation = entry.value("operation", "");
    Buckets fresh = buckets_of(now, operation, base_us);
    for (const auto& [column, requests] :
         before == nullptr ? Buckets{} : buckets_of(*before, operation, base_us)) {
      fresh[column] -= std::min(fresh[column], requests);
    }
    std::erase_if(fresh, [](const auto& bucket) { return bucket.second == 0; });
    for (const auto& [column, requests] : fresh) {
      columns.insert(column);
    }
    if (!fresh.empty()) {
      rows.emplace(operation, std::move(fresh));
    }
  }
  std::vector<std::string> head = {"OF 100 TOOK LESS THAN"};
  for (const int column : columns) {
    head.push_back(fixed(std::ldexp(base_us, column)) + " us");
  }
  dump::Table table{std::move(head)};
  for (const auto& [operation, buckets] : rows) {
    std::uint64_t all = 0;
    for (const auto& [column, requests] : buckets) {
      all += requests;
    }
    std::vector<std::string> row = {operation};
    for (const int column : columns) {
      const auto found = buckets.find(column);
      row.push_back(share_text(found == buckets.end() ? 0 : found->second, all));
    }
    table.add(std::move(row));
  }
  return rows.empty() ? std::string{} : table.text(style) + '\n';
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
      {"copied up", dump::quantity(number(now, "/copy_up/files"), "file") + ", " +
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
  return table.text(style) + '\n' + distribution_text(now, before, style) + facts.text(style);
}

int run_stats(const StatsArguments& arguments) {
  Failure failure;
  std::optional<Json> before;
  const bool redraw = arguments.watch && !arguments.json && may_colour();
  for (;;) {
    auto now = ask_mount(arguments.target, "stats", failure);
    if (!now) {
      // Watching ends with the mount; that is no failure.
      return before ? finish_out(kDumpProgram, 0) : complain(kDumpProgram, failure);
    }
    std::string text = redraw ? "\x1b[H\x1b[2J" : (before && !arguments.json ? "\n" : "");
    text += arguments.json ? now->dump(arguments.watch ? -1 : 2) + '\n'
                           : stats_text(*now, before ? &*before : nullptr, arguments.style);
    const bool written = write_out(text) && std::fflush(stdout) == 0;
    if (!arguments.watch || !written) {
      return finish_out(kDumpProgram, 0);
    }
    before = std::move(now);
    std::this_thread::sleep_for(std::chrono::duration<double>(arguments.interval_s));
  }
}

}  // namespace plyfs::commands
