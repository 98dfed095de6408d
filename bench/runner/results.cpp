#include "results.h"

#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <sstream>

namespace plyfs::bench {
namespace {

std::string formatted(const char* format, double value) {
  std::array<char, 64> text{};
  std::snprintf(text.data(), text.size(), format, value);
  return text.data();
}

// Two or three digits that mean something.
std::string short_number(double value) {
  return formatted(value < 10 ? "%.2f" : value < 100 ? "%.1f" : "%.0f", value);
}

const Samples& samples_of(const RowResult& row, const std::string& system) {
  static const Samples none;
  const auto found = row.samples.find(system);
  return found != row.samples.end() ? found->second : none;
}

std::string ratio_cell(const RowResult& row, const std::string& system,
                       const std::string& reference) {
  const Samples& base = samples_of(row, reference);
  return base.empty() || median(base) <= 0
             ? "–"
             : short_number(median(samples_of(row, system)) / median(base));
}

std::vector<std::string> systems_in(const Results& results, Table table) {
  std::vector<std::string> names;
  for (const SystemResult& each : results.systems) {
    for (const RowResult& row : results.rows) {
      if (row.table == table && !samples_of(row, each.system.name).empty()) {
        names.push_back(each.system.name);
        break;
      }
    }
  }
  return names;
}

void main_table(std::ostringstream& out, const Results& results, Table table,
                const std::string& reference) {
  const std::vector<std::string> names = systems_in(results, table);
  if (names.empty()) {
    return;
  }
  const bool first = table == Table::kBindIo;
  out << "\n## "
      << (first ? "Copy-up against bind-mount I/O" : "Trees, changes and mounts against the peers")
      << "\n\nMedians; in brackets the ratio to " << reference << ", smaller is better.\n\n| |";
  for (const std::string& name : names) {
    out << ' ' << name << " |";
  }
  out << (first ? " what it means |" : "") << "\n|---|";
  for (std::size_t i = 0; i < names.size() + (first ? 1 : 0); ++i) {
    out << "---|";
  }
  out << '\n';
  for (const RowResult& row : results.rows) {
    if (row.table != table) {
      continue;
    }
    out << "| " << row.row.title << " |";
    for (const std::string& name : names) {
      const Samples& samples = samples_of(row, name);
      out << ' '
          << (samples.empty() ? "–"
                              : quantity(median(samples), row.row.unit) + " (" +
                                    ratio_cell(row, name, reference) + ")")
          << " |";
    }
    out << (first ? " " + advice(row, results.noise) + " |" : "") << '\n';
  }
}

const char* in_words(Verdict verdict) {
  switch (verdict) {
    case Verdict::kFaster:
      return "faster";
    case Verdict::kSlower:
      return "slower";
    case Verdict::kWithinNoise:
      return "no difference shown";
    case Verdict::kUnknown:
      break;
  }
  return "–";
}

void target_table(std::ostringstream& out, const Results& results) {
  std::ostringstream lines;
  for (const RowResult& row : results.rows) {
    const Samples& subject = samples_of(row, "plyfs");
    const Samples& reference = samples_of(row, row.row.target_reference);
    if (row.row.target <= 0 || subject.empty() || reference.empty()) {
      continue;
    }
    const Comparison found = compare(subject, reference, results.noise);
    lines << "| " << row.row.title << " | " << row.row.target_reference << " | ≤ " << row.row.target
          << " | " << short_number(found.ratio) << " (" << short_number(found.low) << "–"
          << short_number(found.high) << ") | " << in_words(found.verdict) << " | "
          << (found.ratio <= row.row.target ? "met" : "missed") << " |\n";
  }
  if (!lines.str().empty()) {
    out << "\n## plyfs against its targets\n\nThe ratio, and the smallest and largest of one "
           "round.\n\n"
           "| | reference | target | ratio | plyfs is | |\n|---|---|---|---|---|---|\n"
        << lines.str();
  }
}

void detail_table(std::ostringstream& out, const Results& results) {
  out << "\n## Every figure\n\n| | system | median | min–max | rounds | to plain | to bind | to "
         "overlayfs | against overlayfs |\n|---|---|---|---|---|---|---|---|---|\n";
  for (const RowResult& row : results.rows) {
    for (const SystemResult& each : results.systems) {
      const std::string& name = each.system.name;
      const Samples& samples = samples_of(row, name);
      if (samples.empty()) {
        continue;
      }
      const Summary all = summarise(samples);
      const Comparison kernel = compare(samples, samples_of(row, "overlayfs"), results.noise);
      out << "| " << row.row.title << ", " << name_of(row.medium) << " | " << name << " | "
          << quantity(all.median, row.row.unit) << " | " << quantity(all.min, row.row.unit) << " – "
          << quantity(all.max, row.row.unit) << " | " << all.count << " | "
          << ratio_cell(row, name, "plain") << " | " << ratio_cell(row, name, "bind") << " | "
          << ratio_cell(row, name, "overlayfs") << " | "
          << (name == "overlayfs" ? "–" : in_words(kernel.verdict)) << " |\n";
    }
  }
}

void heading(std::ostringstream& out, const Results& results) {
  const Machine& machine = results.machine;
  out << "# plyfs-bench\n\n"
      << machine.date << ", Linux " << machine.kernel << ", " << machine.processors << " × "
      << machine.processor << ", " << short_number(machine.memory_bytes / (1U << 30U))
      << " GiB.\n\n"
      << "Noise of this machine during the run: " << short_number(results.noise * 100)
      << " %; differences below it are not called differences. Load before it: "
      << short_number(results.load_before)
      << "; time taken by the hypervisor: " << short_number(results.stolen_share * 100)
      << " %.\n\nReproduce with `" << results.command << "`.\n\n";
  for (const SystemResult& each : results.systems) {
    out << "- `" << each.system.name << "`: " << each.system.title
        << (each.version.empty() ? "" : " (" + each.version + ")")
        << (each.missing.empty() ? "" : "; **not measured**: " + each.missing) << '\n';
  }
}

}  // namespace

std::string quantity(double value, Unit unit) {
  if (unit == Unit::kBytes) {
    return short_number(value / (1024 * 1024)) + " MiB";
  }
  if (value < 1e-6) {
    return formatted("%.0f ns", value * 1e9);
  }
  if (value < 1e-3) {
    return short_number(value * 1e6) + " µs";
  }
  return value < 1 ? short_number(value * 1e3) + " ms" : short_number(value) + " s";
}

std::string advice(const RowResult& row, double noise) {
  constexpr double kLittle = 1.5;
  constexpr double kMuch = 3;
  const char* const name = row.samples.contains("plyfs") ? "plyfs" : "plyfs-root";
  const Comparison bind = compare(samples_of(row, name), samples_of(row, "bind"), noise);
  switch (bind.verdict) {
    case Verdict::kUnknown:
      return "–";
    case Verdict::kWithinNoise:
      return "costs what a bind mount costs, as far as this run can tell";
    case Verdict::kFaster:
      return "cheaper than a bind mount";
    case Verdict::kSlower:
      break;
  }
  if (bind.ratio < kLittle) {
    return "nearly a bind mount: no reason for a volume";
  }
  const Comparison volume = compare(samples_of(row, "plyfs-volume"), samples_of(row, name), noise);
  const std::string times = short_number(bind.ratio) + " times a bind mount";
  if (volume.verdict == Verdict::kFaster) {
    return times + (bind.ratio < kMuch ? ": a volume helps where this is all you do"
                                       : ": belongs in a volume");
  }
  return volume.verdict == Verdict::kUnknown
             ? times + (bind.ratio < kMuch ? "" : ": put it on a bind mount")
             : times + "; a volume in plyfs is not faster, a bind mount is";
}

Machine this_machine() {
  Machine machine;
  utsname about = {};
  ::uname(&about);
  machine.kernel = about.release;
  std::ifstream processors("/proc/cpuinfo");
  for (std::string line; std::getline(processors, line);) {
    if (line.starts_with("model name") && line.find(':') != std::string::npos) {
      machine.processor = line.substr(line.find(':') + 2);
      break;
    }
  }
  machine.processors = ::sysconf(_SC_NPROCESSORS_ONLN);
  machine.memory_bytes =
      static_cast<double>(::sysconf(_SC_PHYS_PAGES)) * static_cast<double>(::sysconf(_SC_PAGESIZE));
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  ::gmtime_r(&now, &parts);
  std::array<char, 32> text{};
  std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M UTC", &parts);
  machine.date = text.data();
  return machine;
}

std::string to_markdown(const Results& results) {
  std::ostringstream out;
  heading(out, results);
  main_table(out, results, Table::kBindIo, "bind");
  main_table(out, results, Table::kPeers, "overlayfs");
  target_table(out, results);
  detail_table(out, results);
  if (!results.failures.empty()) {
    out << "\n## Not measured\n\n";
    for (const std::string& failure : results.failures) {
      out << "- " << failure << '\n';
    }
  }
  return out.str();
}

std::string to_json(const Results& results) {
  using nlohmann::json;
  json rows = json::array();
  for (const RowResult& row : results.rows) {
    json systems = json::object();
    for (const auto& [name, samples] : row.samples) {
      const Summary all = summarise(samples);
      const Comparison kernel = compare(samples, samples_of(row, "overlayfs"), results.noise);
      systems[name] = {{"samples", samples},
                       {"median", all.median},
                       {"min", all.min},
                       {"max", all.max},
                       {"ratio_to_overlayfs", kernel.ratio}};
    }
    rows.push_back({{"id", row.row.id},
                    {"title", row.row.title},
                    {"workload", row.workload},
                    {"filesystem", name_of(row.medium)},
                    {"unit", row.row.unit == Unit::kBytes ? "bytes" : "seconds"},
                    {"target", row.row.target},
                    {"target_reference", row.row.target_reference},
                    {"systems", systems}});
  }
  json systems = json::array();
  for (const SystemResult& each : results.systems) {
    systems.push_back({{"name", each.system.name},
                       {"title", each.system.title},
                       {"version", each.version},
                       {"missing", each.missing}});
  }
  const Machine& machine = results.machine;
  const json all = {{"machine",
                     {{"date", machine.date},
                      {"kernel", machine.kernel},
                      {"processor", machine.processor},
                      {"processors", machine.processors},
                      {"memory_bytes", machine.memory_bytes},
                      {"noise", results.noise},
                      {"load_before", results.load_before},
                      {"stolen_share", results.stolen_share}}},
                    {"command", results.command},
                    {"systems", systems},
                    {"rows", rows},
                    {"failures", results.failures}};
  return all.dump(2, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string to_gnuplot(const Results& results, const std::string& file) {
  // gnuplot refuses a column without any value.
  std::vector<std::string> shown;
  for (const char* const name :
       {"plyfs", "plyfs-uring", "plyfs-volume", "fuse-overlayfs", "overlayfs-userns"}) {
    const bool any =
        std::any_of(results.rows.begin(), results.rows.end(), [&](const RowResult& row) {
          return !samples_of(row, name).empty() && !samples_of(row, "overlayfs").empty();
        });
    if (any) {
      shown.emplace_back(name);
    }
  }
  if (shown.empty()) {
    return "";
  }
  std::ostringstream data;
  std::size_t lines = 0;
  for (const RowResult& row : results.rows) {
    const double base = median(samples_of(row, "overlayfs"));
    if (base <= 0) {
      continue;
    }
    data << '"' << row.row.id << '"';
    for (const std::string& name : shown) {
      const Samples& samples = samples_of(row, name);
      data << ' ' << (samples.empty() ? "NaN" : formatted("%.4f", median(samples) / base));
    }
    data << '\n';
    ++lines;
  }
  std::ostringstream out;
  const std::size_t width = 300 + 45 * lines;
  out << "set terminal " << (file.ends_with(".png") ? "png" : "svg") << " size " << width
      << ",600\nset output '" << file << "'\nset title 'time as a ratio to the kernel overlayfs ("
      << results.machine.date << ", Linux " << results.machine.kernel << ")'\n"
      << "set logscale y\nset grid y\nset style data histograms\nset style fill solid 0.8\n"
         "set style histogram clustered gap 1\nset xtics rotate by -45 noenhanced\nset key outside "
         "noenhanced\nset ylabel 'smaller is better'\n$data << END\n"
      << data.str() << "END\nplot ";
  for (std::size_t i = 0; i < shown.size(); ++i) {
    out << (i == 0 ? "" : ", ") << "$data using " << i + 2 << (i == 0 ? ":xtic(1)" : "")
        << " title '" << shown.at(i) << "'";
  }
  out << ", 1 notitle with lines lc black\n";
  return out.str();
}

}  // namespace plyfs::bench
