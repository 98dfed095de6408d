// Reading trees: walks, lookups, listings, and what the daemon needs for a large one.
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <stdexcept>
#include <thread>

#include "files.h"
#include "workload.h"

namespace plyfs::bench {
namespace {

Workload reading(std::string name, Fixture fixture, std::vector<Row> rows, Body body) {
  Workload made;
  made.name = std::move(name);
  made.access = Access::kRead;
  made.fixture = fixture;
  made.rows = std::move(rows);
  made.body = std::move(body);
  made.drops_caches = true;
  return made;
}

void expect(bool good, const std::string& what) {
  if (!good) {
    throw std::runtime_error(what);
  }
}

// The kernel forgets the time of access of what it read by a request, and asks for it when somebody
// looks for the first time after that. So the second pass over a FUSE mount is not yet the last
// word.
void walk_and_read(const Worker& worker) {
  std::uint64_t seen = 0;
  const auto visit = [&](const std::string& row, Visit how) {
    worker.measure(row, 1, [&] {
      const std::uint64_t now = walk(worker.root(), how);
      expect(seen == 0 || now == seen, "the walks saw different trees");
      seen = now;
    });
  };
  worker.drop_caches();
  visit("walk-cold", Visit::kStat);
  visit("walk-warm", Visit::kStat);
  visit("walk-warmer", Visit::kStat);
  worker.drop_caches();
  visit("read-cold", Visit::kRead);
  visit("read-warm", Visit::kRead);
  visit("read-warmer", Visit::kRead);
}

/// The way to a filesystem's server and back: an ioctl that none knows. Messages times this is the
/// least that an operation can take.
void ask_for_nothing(const Worker& worker, std::uint32_t count) {
  constexpr auto kUnknown = _IO('~', 0x7e);
  const OpenFile file(worker.file(0), O_RDONLY);
  worker.measure("round-trip", count, [&] {
    for (std::uint32_t i = 0; i < count; ++i) {
      expect(::ioctl(file.fd(), kUnknown) != 0, "that ioctl is known here");
    }
  });
}

void read_by_four(const Worker& worker) {
  constexpr int kReaders = 4;
  (void)walk(worker.root(), Visit::kRead);
  worker.measure("readers-4", 1, [&] {
    std::vector<pid_t> readers;
    for (int i = 0; i < kReaders; ++i) {
      readers.push_back(static_cast<pid_t>(checked(::fork(), "fork")));
      if (readers.back() == 0) {
        int result = 0;
        try {
          (void)walk(worker.root(), Visit::kRead);
        } catch (const std::exception&) {
          result = 1;
        }
        ::_exit(result);
      }
    }
    for (const pid_t reader : readers) {
      int status = 0;
      ::waitpid(reader, &status, 0);
      expect(status == 0, "a reader failed");
    }
  });
}

void look_for_nothing(const Worker& worker, const std::string& suffix, std::uint32_t names) {
  const auto look = [&](const std::string& row) {
    worker.measure(row, names, [&] {
      struct stat attributes = {};
      for (std::uint32_t i = 0; i < names; ++i) {
        const std::string path = worker.path("d/absent" + std::to_string(i));
        expect(::lstat(path.c_str(), &attributes) != 0 && errno == ENOENT, path + " is there");
      }
    });
  };
  worker.drop_caches();
  look("negative-cold-" + suffix);
  look("negative-warm-" + suffix);
}

void list(const Worker& worker) {
  const auto count = [&](const std::string& row) {
    worker.measure(row, 1, [&] {
      expect(count_entries(worker.root()) == worker.fixture().files, "entries are missing");
    });
  };
  worker.drop_caches();
  count("readdir-cold");
  count("readdir-warm");
}

// The kernel sends what it forgets bit by bit and tells nobody when it is through, so this watches
// until the size has been still for a while. Directories go only after what they hold.
double resident_after_drop(const Worker& worker) {
  constexpr int kRounds = 3;
  constexpr int kStillLooks = 5;
  constexpr int kMostLooks = 100;
  double resident = 0;
  for (int round = 0; round < kRounds; ++round) {
    worker.drop_caches();
    for (int look = 0, still = 0; look < kMostLooks && still < kStillLooks; ++look) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      const double now = worker.daemon_resident();
      still = now < resident || now > resident ? 0 : still + 1;
      resident = now;
    }
  }
  return resident;
}

void walk_huge(const Worker& worker) {
  const double before = worker.daemon_resident();
  const double processor = worker.daemon_processor_seconds();
  worker.drop_caches();
  worker.measure("huge-walk", 1, [&] { (void)walk(worker.root(), Visit::kStat); });
  if (before > 0) {
    worker.record("huge-processor", worker.daemon_processor_seconds() - processor);
    worker.record("huge-peak", worker.daemon_peak());
    worker.record("huge-kept", resident_after_drop(worker) - before);
  }
}

void add_lookups(std::vector<Workload>& all, std::uint32_t layers, std::uint32_t names,
                 double cold_target) {
  const std::string suffix = std::to_string(layers);
  const std::string where = layers == 1 ? "1 layer" : suffix + " layers";
  all.push_back(
      reading("negative-" + suffix, {.kind = FixtureKind::kDeep, .layers = layers, .files = 1000},
              {{.id = "negative-cold-" + suffix,
                .title = "Lookup of an absent name, " + where + ", cold",
                .target = cold_target},
               {.id = "negative-warm-" + suffix,
                .title = "Lookup of an absent name, " + where + ", warm",
                .target = 1}},
              [suffix, names](const Worker& worker) { look_for_nothing(worker, suffix, names); }));
}

void add_mounts(std::vector<Workload>& all, std::uint32_t layers) {
  const std::string suffix = std::to_string(layers);
  Workload mounting =
      reading("mount-" + suffix, {.kind = FixtureKind::kDeep, .layers = layers, .files = 1000},
              {{.id = "mount-" + suffix,
                .title = "Mounting " + suffix + (layers == 1 ? " layer" : " layers")}},
              {});
  mounting.drops_caches = false;
  all.push_back(std::move(mounting));
}

}  // namespace

void add_tree_workloads(std::vector<Workload>& all, double scale) {
  const std::uint32_t files = scaled(scale, 8500, 100);
  const Fixture rootfs = {.kind = FixtureKind::kRootfs, .layers = 4, .files = files};
  const std::string of = with_commas(files) + " files of /usr in 4 layers";
  const std::uint32_t requests = scaled(scale, 20'000);
  all.push_back(reading("round-trip", {.layers = 1, .directories = 0, .files = 1, .bytes = 4096},
                        {{.id = "round-trip", .title = "A request that does nothing"}},
                        [requests](const Worker& worker) { ask_for_nothing(worker, requests); }));
  all.back().drops_caches = false;
  all.push_back(reading("rootfs", rootfs,
                        {{.id = "walk-cold", .title = "Walk of " + of + ", cold", .target = 1.3},
                         {.id = "walk-warm", .title = "Walk of them, again", .target = 1},
                         {.id = "walk-warmer", .title = "Walk of them, once more", .target = 1},
                         {.id = "read-cold", .title = "Read of them, cold", .target = 1.5},
                         {.id = "read-warm", .title = "Read of them, again", .target = 0.9},
                         {.id = "read-warmer", .title = "Read of them, once more", .target = 0.9}},
                        walk_and_read));
  all.push_back(reading("readers", rootfs,
                        {{.id = "readers-4", .title = "Four readers of them, warm", .target = 1}},
                        read_by_four));
  all.back().drops_caches = false;

  const std::uint32_t names = scaled(scale, 2000);
  add_lookups(all, 1, names, 2);
  add_lookups(all, 20, names, 0);
  add_lookups(all, 100, names, 0.3);
  add_lookups(all, 500, names, 0);
  all.push_back(reading(
      "walk-100", {.kind = FixtureKind::kDeep, .layers = 100, .files = scaled(scale, 5000, 100)},
      {{.id = "walk-cold-100", .title = "Walk of 100 layers, cold", .target = 0.7}},
      [](const Worker& worker) {
        worker.drop_caches();
        worker.measure("walk-cold-100", 1, [&] { (void)walk(worker.root(), Visit::kStat); });
      }));

  const std::uint32_t wide = scaled(scale, 100000, 1000);
  all.push_back(
      reading("readdir", {.layers = 2, .directories = 0, .files = wide},
              {{.id = "readdir-cold",
                .title = "Listing of a merged directory of " + with_commas(wide) + ", cold",
                .target = 1.5},
               {.id = "readdir-warm", .title = "Listing of it, warm"}},
              list));
  add_mounts(all, 1);
  add_mounts(all, 100);
  add_mounts(all, 500);

  const std::uint32_t huge = scaled(scale, 300000, 1000);
  all.push_back(reading(
      "huge", {.layers = 4, .directories = scaled(scale, 1500), .files = huge},
      {{.id = "huge-walk", .title = "Walk of " + with_commas(huge) + " files, cold", .target = 1.5},
       {.id = "huge-processor",
        .title = "Processor time of the daemon for it",
        .target = 0.5,
        .target_reference = "fuse-overlayfs"},
       {.id = "huge-peak", .title = "Memory of the daemon, at its peak", .unit = Unit::kBytes},
       {.id = "huge-kept",
        .title = "Memory that it keeps after caches are dropped",
        .unit = Unit::kBytes}},
      walk_huge));
  all.back().when = When::kOnRequest;
  all.back().most_rounds = 2;
}

}  // namespace plyfs::bench
