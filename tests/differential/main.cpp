// plyfs-difftest: random operations on plyfs and on kernel overlayfs over the same layers.
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <atomic>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "environment.h"
#include "generator.h"
#include "minimise.h"
#include "modes.h"
#include "worker.h"

namespace plyfs::difftest {
namespace {

struct Arguments {
  std::string plyfs;
  std::string plyfs_options;
  std::string mode = "root";
  std::string filesystem;
  std::string seeds = "1-20";
  std::string only_operations;
  std::string only_prelude;
  std::string only_layers;
  std::string keep;
  std::size_t operations = 200;
  int limit_s = 60;
  int minimise_runs = 200;
  std::size_t most_failures = 5;
  bool reference_only = false;
  bool list = false;
  bool trace = false;
  bool drop_caches = false;
};

struct Tally {
  std::size_t passed = 0;
  std::size_t failed = 0;
  std::size_t skipped = 0;
};

std::atomic<bool> interrupted{false};

void on_signal(int) {
  interrupted = true;
  const int worker = current_worker();
  if (worker > 0) ::kill(worker, SIGKILL);
}

class Runner {
 public:
  Runner(const Arguments& arguments, Mode mode, std::string directory)
      : arguments_(arguments),
        mode_(mode),
        directory_(std::move(directory)),
        limits_(limits_of(mode, probe_abilities())) {
    limits_.drop_caches = arguments.drop_caches;
  }

  [[nodiscard]] Case make_case(std::uint64_t seed) const {
    return generate_case(seed, arguments_.operations, limits_);
  }

  [[nodiscard]] Selection selected(const Case& input) const {
    Selection selection = whole(input);
    if (!arguments_.only_operations.empty()) {
      selection.operations = indexes_from(arguments_.only_operations);
    }
    if (!arguments_.only_prelude.empty()) {
      selection.prelude = indexes_from(arguments_.only_prelude);
    }
    if (!arguments_.only_layers.empty()) selection.layers = indexes_from(arguments_.only_layers);
    return selection;
  }

  /// True when the seed shows no difference.
  bool run_seed(std::uint64_t seed) {
    const Case input = make_case(seed);
    const Selection selection = selected(input);
    const std::optional<Difference> found = run(select(input, selection), arguments_.keep);
    if (!found || interrupted) return true;
    std::printf("FAILED seed %llu (%s): %s", static_cast<unsigned long long>(seed),
                found->key.c_str(), found->text.c_str());
    std::fflush(stdout);
    // A hang costs its whole limit each time.
    const bool hung = found->key == "broken/hang";
    if (hung) limit_s_ = std::min(limit_s_, 5);
    const int runs = hung ? arguments_.minimise_runs / 10 : arguments_.minimise_runs;
    const Probe probe = [&](const Selection& part) {
      if (interrupted) return false;
      const std::optional<Difference> again = run(select(input, part), "");
      return again && again->key == found->key;
    };
    print_minimised(seed, input, minimise(selection, probe, runs));
    limit_s_ = arguments_.limit_s;
    return false;
  }

 private:
  std::optional<Difference> run(const Case& input, const std::string& keep) {
    WorkerOptions options;
    options.base = directory_;
    options.own_tmpfs = arguments_.filesystem == "tmpfs";
    options.limit_s = limit_s_;
    options.keep = keep;
    return run_in_worker(options, [&](const std::string& base, Progress& progress) {
      const Subject subject{arguments_.reference_only ? "" : arguments_.plyfs,
                            arguments_.plyfs_options};
      return run_session(input, limits_, drivers_of(mode_, subject, base + "/plyfs.log"), base,
                         progress, arguments_.trace ? Trace::kOn : Trace::kOff);
    });
  }

  void print_minimised(std::uint64_t seed, const Case& input, const Selection& part) {
    const Case small = select(input, part);
    std::printf("--- minimised: %zu layer entries, %zu operations\n", small.layers.size(),
                small.operations.size());
    for (const LayerEntry& entry : small.layers) std::printf("  %s\n", describe(entry).c_str());
    for (const Operation& op : small.prelude) std::printf("  prelude: %s\n", describe(op).c_str());
    for (const Operation& op : small.operations) std::printf("  %s\n", describe(op).c_str());
    if (const std::optional<Difference> found = run(small, "")) {
      std::printf("  => %s", found->text.c_str());
    }
    const std::string prelude =
        input.prelude.empty() ? "" : " --only-prelude " + to_text(part.prelude);
    const std::string subject =
        arguments_.reference_only ? "--reference-only" : "--plyfs " + arguments_.plyfs;
    std::printf(
        "--- reproduce: plyfs-difftest --mode %s --fs %s %s --ops %zu --seed %llu --only-ops %s%s "
        "--only-layers %s\n\n",
        arguments_.mode.c_str(), arguments_.filesystem.c_str(), subject.c_str(),
        arguments_.operations, static_cast<unsigned long long>(seed),
        to_text(part.operations).c_str(), prelude.c_str(), to_text(part.layers).c_str());
    std::fflush(stdout);
  }

  const Arguments& arguments_;
  Mode mode_;
  std::string directory_;
  Limits limits_;
  int limit_s_ = arguments_.limit_s;
};

void print_case(const Runner& runner, std::uint64_t seed) {
  const Case whole_case = runner.make_case(seed);
  const Selection selection = runner.selected(whole_case);
  for (const std::size_t i : selection.layers) {
    std::printf("%4zu %s\n", i, describe(whole_case.layers[i]).c_str());
  }
  for (const std::size_t i : selection.prelude) {
    std::printf("%4zu prelude: %s\n", i, describe(whole_case.prelude[i]).c_str());
  }
  for (const std::size_t i : selection.operations) {
    std::printf("%4zu %s\n", i, describe(whole_case.operations[i]).c_str());
  }
}

int finish(const Tally& tally) {
  std::printf("%zu passed, %zu failed, %zu skipped\n", tally.passed, tally.failed, tally.skipped);
  return tally.failed == 0 ? 0 : 1;
}

int run_all(Arguments arguments) {
  const std::optional<Mode> mode = mode_named(arguments.mode);
  const std::vector<std::size_t> seeds = indexes_from(arguments.seeds);
  if (!mode || seeds.empty()) {
    std::fprintf(stderr, "plyfs-difftest: unknown --mode or --seeds\n");
    return 2;
  }
  TestFilesystem filesystem{arguments.filesystem, ""};
  Tally tally;
  const Environment environment = enter_environment(*mode, filesystem);
  if (!environment.ready) {
    std::printf("SKIPPED mode %s: %s\n", arguments.mode.c_str(), environment.reason.c_str());
    tally.skipped = seeds.size();
    leave_environment(filesystem);
    return finish(tally);
  }
  std::signal(SIGINT, on_signal);
  std::signal(SIGTERM, on_signal);
  std::signal(SIGPIPE, on_signal);
  if (filesystem.kind != arguments.filesystem) {
    arguments.filesystem = filesystem.kind;
    if (filesystem.kind == "none")
      std::printf("tmpfs has no user.* xattrs here: layers in $TMPDIR\n");
  }
  Runner runner{arguments, *mode, filesystem.directory};
  for (const std::size_t seed : seeds) {
    if (interrupted || tally.failed >= arguments.most_failures) {
      ++tally.skipped;
      continue;
    }
    if (arguments.list) {
      print_case(runner, seed);
      continue;
    }
    ++(runner.run_seed(seed) ? tally.passed : tally.failed);
  }
  leave_environment(filesystem);
  return finish(tally);
}

}  // namespace
}  // namespace plyfs::difftest

namespace {

/// Kernel overlayfs refuses redirects of more than 256 bytes with EXDEV; plyfs has no such limit.
/// The module's parameter is lifted while the test runs (where it may be: as root).
class LongRedirects {
 public:
  LongRedirects() {
    std::ifstream{kParameter} >> before_;
    if (!before_.empty()) set("4096");
  }
  ~LongRedirects() {
    if (!before_.empty()) set(before_);
  }
  LongRedirects(const LongRedirects&) = delete;
  LongRedirects& operator=(const LongRedirects&) = delete;

 private:
  static constexpr const char* kParameter = "/sys/module/overlay/parameters/redirect_max";
  static void set(const std::string& value) { std::ofstream{kParameter} << value; }
  std::string before_;
};

}  // namespace

int main(int argc, char** argv) {
  plyfs::difftest::Arguments arguments;
  CLI::App app{"Random operations on plyfs and on kernel overlayfs over the same layers"};
  app.add_option("--plyfs", arguments.plyfs, "the plyfs binary");
  app.add_option("--plyfs-options", arguments.plyfs_options, "more -o words for plyfs");
  app.add_option("--mode", arguments.mode, "root, root-plain, root-metacopy or user");
  app.add_option("--fs", arguments.filesystem,
                 "tmpfs, ext4, xfs, btrfs, or none (where $TMPDIR is)");
  app.add_option("--seeds,--seed", arguments.seeds, "N, A-B, or a list of these");
  app.add_option("--ops", arguments.operations, "operations in a sequence");
  app.add_option("--only-ops", arguments.only_operations, "run these operations only");
  app.add_option("--only-prelude", arguments.only_prelude, "do these of the prelude only");
  app.add_option("--only-layers", arguments.only_layers, "build these layer entries only");
  app.add_option("--limit", arguments.limit_s, "seconds after which a seed counts as hanging");
  app.add_option("--minimise-runs", arguments.minimise_runs, "runs spent on a minimal sequence");
  app.add_option("--failures", arguments.most_failures, "stop after this many failed seeds");
  app.add_option("--keep", arguments.keep, "copy the trees of a failed seed to this directory");
  app.add_flag("--reference-only", arguments.reference_only, "the kernel against itself");
  app.add_flag("--list", arguments.list, "print the sequences instead of running them");
  app.add_flag("--trace", arguments.trace, "print each operation with what it gave");
  app.add_flag("--drop-caches", arguments.drop_caches, "drop the machine's caches now and then");
  CLI11_PARSE(app, argc, argv);
  if (arguments.plyfs.empty() && !arguments.reference_only && !arguments.list) {
    std::fprintf(stderr, "plyfs-difftest: --plyfs or --reference-only is needed\n");
    return 2;
  }
  const LongRedirects lifted;
  return plyfs::difftest::run_all(arguments);
}
