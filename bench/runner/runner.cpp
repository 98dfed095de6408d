#include "runner.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <set>
#include <sstream>
#include <stdexcept>

#include "files.h"

namespace plyfs::bench {
namespace {

namespace fs = std::filesystem;

constexpr double kLeastNoise = 0.03;
constexpr std::uint32_t kSeed = 20240607;

bool contains(const std::vector<std::string>& words, const std::string& word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

// Work of always the same size, of the processor and of system calls.
double calibrate() {
  const double began = now_seconds();
  std::mt19937_64 random(kSeed);
  std::uint64_t sum = 0;
  for (int i = 0; i < 2000000; ++i) {
    sum += random();
  }
  struct stat attributes = {};
  for (int i = 0; i < 20000; ++i) {
    sum += static_cast<std::uint64_t>(::lstat("/", &attributes));
  }
  volatile std::uint64_t kept = sum;
  (void)kept;
  return now_seconds() - began;
}

double noise_of(Samples samples) {
  if (samples.size() < 3) {
    return kLeastNoise;
  }
  std::sort(samples.begin(), samples.end());
  const double low = samples[samples.size() / 10];
  const double high = samples[samples.size() - 1 - samples.size() / 10];
  return std::max(kLeastNoise, (high - low) / median(samples));
}

struct ProcessorTimes {
  double stolen = 0;
  double all = 0;
};

ProcessorTimes processor_times() {
  std::ifstream file("/proc/stat");
  std::string word;
  file >> word;
  ProcessorTimes times;
  double value = 0;
  for (int field = 0; field < 8 && file >> value; ++field) {
    times.all += value;
    times.stolen = field == 7 ? value : 0;
  }
  return times;
}

class Benchmark {
 public:
  Benchmark(const Settings& settings, const std::string& base)
      : settings_(settings), storage_(settings.user, base) {}

  Results run();

 private:
  void choose_systems();
  std::vector<Workload> chosen_workloads();
  std::string why_unusable(const System& system);
  void run_workload(const Workload& workload);
  void run_one(const Workload& workload, const System& system, Layers& layers,
               std::map<std::string, RowResult*>& rows);
  [[nodiscard]] bool fits(const Workload& workload, const System& system) const;
  Layers& layers_for(const Workload& workload, Medium medium);
  void say(const std::string& text) const;

  const Settings& settings_;
  Storage storage_;
  Results results_;
  std::unique_ptr<Layers> layers_;
  std::set<std::string> gave_up_;  ///< "workload/system": not tried again
  Samples calibrations_;
};

void Benchmark::say(const std::string& text) const {
  if (settings_.show_progress) {
    std::fprintf(stderr, "\r\033[K%s", text.c_str());
  }
}

// A checkout may be out of the user's reach; a copy of the program is not.
System within_reach(System system, const Storage& storage) {
  if (!system.program.empty() && system.program.find('/') != std::string::npos) {
    const std::string copy = storage.scratch() + "/" + fs::path(system.program).filename().string();
    if (is_installed(system.program) && !fs::exists(copy)) {
      fs::copy_file(system.program, copy);
      checked(::chmod(copy.c_str(), 0755), "chmod");
    }
    system.program = fs::exists(copy) ? copy : system.program;
  }
  return system;
}

// Mounts it over next to nothing, and reads and writes there.
std::string Benchmark::why_unusable(const System& system) {
  if (const std::string known = obstacle(system); !known.empty()) {
    return known;
  }
  try {
    const Fixture fixture = {.layers = 1, .directories = 0, .files = 1, .bytes = 4096};
    Layers layers(storage_, settings_.user, fixture, Medium::kTmpfs);
    const Mount mount(system, layers, Access::kWrite, storage_, settings_.user);
    run_worker(
        mount, fixture, storage_, settings_.user,
        [](const Worker& worker) {
          char byte = 0;
          OpenFile(worker.file(0), O_RDWR).write_at("y", 1, 0);
          OpenFile(worker.file(0), O_RDONLY).read_at(&byte, 1, 0);
          if (byte != 'y') {
            throw std::runtime_error("what was written is not what is read");
          }
        },
        20);
    return "";
  } catch (const std::exception& failure) {
    return failure.what();
  }
}

void Benchmark::choose_systems() {
  std::vector<System> known = known_systems(settings_.plyfs);
  known.insert(known.end(), settings_.more_systems.begin(), settings_.more_systems.end());
  for (const std::string& name : settings_.systems) {
    if (std::none_of(known.begin(), known.end(), [&](const System& s) { return s.name == name; })) {
      throw std::runtime_error("--systems: " + name + ": there is no such system; see --list");
    }
  }
  for (const System& each : known) {
    if (!settings_.systems.empty() && !contains(settings_.systems, each.name)) {
      continue;
    }
    say("trying " + each.name);
    SystemResult result;
    result.system = within_reach(each, storage_);
    result.missing = why_unusable(result.system);
    if (result.missing.empty()) {
      result.version = version_of(result.system);
    }
    results_.systems.push_back(std::move(result));
  }
}

std::vector<Workload> Benchmark::chosen_workloads() {
  std::vector<Workload> all = all_workloads(settings_.scale);
  const std::vector<std::string>& names = settings_.workloads;
  const auto wanted = [&](const Workload& workload) {
    if (contains(names, "all") || contains(names, workload.name)) {
      return true;
    }
    if (contains(names, workload.table == Table::kBindIo ? "io" : "peers") || names.empty()) {
      return workload.when == When::kDefault;
    }
    return false;
  };
  for (const std::string& name : names) {
    const bool known =
        name == "all" || name == "io" || name == "peers" ||
        std::any_of(all.begin(), all.end(), [&](const Workload& w) { return w.name == name; });
    if (!known) {
      throw std::runtime_error("--workloads: " + name + ": there is no such workload; see --list");
    }
  }
  std::erase_if(all, [&](const Workload& workload) { return !wanted(workload); });
  return all;
}

bool Benchmark::fits(const Workload& workload, const System& system) const {
  if (workload.body == nullptr) {
    return is_union(system.kind);  // the time of mounting depends on layers
  }
  return workload.table == Table::kBindIo || is_union(system.kind) ||
         system.kind == SystemKind::kPlain || system.kind == SystemKind::kBindfs ||
         system.kind == SystemKind::kMergerfs || system.kind == SystemKind::kMirror ||
         contains(settings_.systems, system.name);
}

Layers& Benchmark::layers_for(const Workload& workload, Medium medium) {
  if (layers_ == nullptr || layers_->medium() != medium || layers_->fixture() != workload.fixture) {
    layers_.reset();
    layers_ = std::make_unique<Layers>(storage_, settings_.user, workload.fixture, medium);
  }
  return *layers_;
}

void Benchmark::run_one(const Workload& workload, const System& system, Layers& layers,
                        std::map<std::string, RowResult*>& rows) {
  const std::string both = workload.name + "/" + system.name;
  if (gave_up_.contains(both)) {
    return;
  }
  try {
    const Mount mount(system, layers, workload.access, storage_, settings_.user);
    Outcome outcome;
    if (workload.body) {
      outcome = run_worker(mount, workload.fixture, storage_, settings_.user, workload.body,
                           settings_.limit_s);
    } else {
      outcome.values[workload.rows.front().id] = mount.mount_seconds();
    }
    for (const auto& [row, value] : outcome.values) {
      if (const auto found = rows.find(row); found != rows.end()) {
        found->second->samples[system.name].push_back(value);
      }
    }
  } catch (const std::exception& failure) {
    if (interrupted) {
      throw;
    }
    gave_up_.insert(both);
    results_.failures.push_back(workload.name + " on " + system.name + ": " + failure.what());
  }
}

void Benchmark::run_workload(const Workload& workload) {
  Medium medium = workload.medium;
  if (!settings_.medium.empty()) {
    medium = settings_.medium == "ext4" ? Medium::kExt4 : Medium::kTmpfs;
  }
  std::string obstacle = storage_.missing(medium);
  if (workload.drops_caches && ::geteuid() != 0) {
    obstacle = "needs root to drop caches";
  } else if (!workload.needs_program.empty() && !is_installed(workload.needs_program)) {
    obstacle = workload.needs_program + " is not installed";
  }
  if (!obstacle.empty()) {
    results_.failures.push_back(workload.name + ": " + obstacle);
    return;
  }
  Layers& layers = layers_for(workload, medium);
  std::vector<RowResult> found;
  for (const Row& row : workload.rows) {
    found.push_back({.row = row,
                     .table = workload.table,
                     .workload = workload.name,
                     .medium = medium,
                     .samples = {}});
  }
  std::map<std::string, RowResult*> rows;
  for (RowResult& each : found) {
    rows[each.row.id] = &each;
  }
  std::vector<const System*> order;
  for (const SystemResult& each : results_.systems) {
    if (each.missing.empty() && fits(workload, each.system)) {
      order.push_back(&each.system);
    }
  }
  std::mt19937 random(kSeed);
  const unsigned rounds = std::min(settings_.rounds, workload.most_rounds);
  for (unsigned round = 0; round < rounds; ++round) {
    std::shuffle(order.begin(), order.end(), random);
    for (const System* const system : order) {
      say(workload.name + ", round " + std::to_string(round + 1) + " of " + std::to_string(rounds) +
          ", " + system->name);
      calibrations_.push_back(calibrate());
      run_one(workload, *system, layers, rows);
    }
  }
  results_.rows.insert(results_.rows.end(), found.begin(), found.end());
}

Results Benchmark::run() {
  results_.machine = this_machine();
  results_.command = settings_.command;
  std::ifstream("/proc/loadavg") >> results_.load_before;
  const ProcessorTimes before = processor_times();
  const std::vector<Workload> workloads = chosen_workloads();
  choose_systems();
  const double end = now_seconds() + settings_.budget_s;
  for (const Workload& workload : workloads) {
    if (settings_.budget_s > 0 && now_seconds() > end) {
      results_.failures.push_back(workload.name + ": not begun, the time was used up");
      continue;
    }
    run_workload(workload);
  }
  layers_.reset();
  const ProcessorTimes after = processor_times();
  results_.noise = noise_of(calibrations_);
  results_.stolen_share =
      after.all > before.all ? (after.stolen - before.stolen) / (after.all - before.all) : 0;
  say("");
  return results_;
}

}  // namespace

Results run_benchmark(const Settings& settings, const std::string& base) {
  return Benchmark(settings, base).run();
}

}  // namespace plyfs::bench
