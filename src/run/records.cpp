#include "run/records.h"

#include <filesystem>
#include <system_error>

#include "config/failure_text.h"
#include "sys/durable_file.h"

namespace plyfs::run {
namespace {

namespace fs = std::filesystem;
using store::Json;

std::string directory_of(const store::Home& home, const std::string& id) {
  return runs_directory(home) + "/" + id;
}

/// Holds the lock when the run is dead.
std::optional<sys::UniqueFd> lock_dead(const store::Home& home, const std::string& id) {
  auto lock = sys::open_lock_file(directory_of(home, id) + "/lock");
  if (lock && sys::lock_file(lock->borrow(), sys::LockKind::kExclusive, sys::LockWait::kNo)) {
    return std::move(*lock);
  }
  return std::nullopt;
}

std::optional<RunRecord> read_run(const store::Home& home, const std::string& id) {
  const auto json = store::read_json(directory_of(home, id) + "/run.json");
  if (!json) {
    return std::nullopt;
  }
  RunRecord record;
  try {
    record.id = id;
    record.name = json->at("name").get<std::string>();
    record.pid = json->at("pid").get<int>();
    record.init_pid = json->at("init_pid").get<int>();
    record.pid_namespace = json->at("pid_namespace").get<std::uint64_t>();
    record.command = json->at("command").get<std::vector<std::string>>();
    record.engine = json->at("engine").get<std::string>();
    record.why = json->at("why").get<std::string>();
    record.started = json->at("started").get<std::string>();
    record.user_range = json->at("subordinate_ids").get<bool>();
  } catch (const Json::exception&) {
    return std::nullopt;
  }
  return record;
}

}  // namespace

std::string runs_directory(const store::Home& home) { return home.path() + "/run"; }

Json as_json(const RunRecord& record) {
  return {{"id", record.id},
          {"name", record.name},
          {"pid", record.pid},
          {"init_pid", record.init_pid},
          {"pid_namespace", record.pid_namespace},
          {"command", record.command},
          {"engine", record.engine},
          {"why", record.why},
          {"started", record.started},
          {"subordinate_ids", record.user_range}};
}

Status write_run(const store::Home& home, const RunRecord& record) {
  return store::write_json(directory_of(home, record.id) + "/run.json", as_json(record));
}

std::vector<RunRecord> live_runs(const store::Home& home) {
  std::vector<RunRecord> live;
  for (const std::string& id : store::names_in(runs_directory(home), store::Hidden::kNo)) {
    auto record = read_run(home, id);
    if (record && !lock_dead(home, id)) {
      live.push_back(*std::move(record));
    }
  }
  return live;
}

std::optional<RunRecord> find_run(const store::Home& home, const std::string& wanted) {
  for (RunRecord& record : live_runs(home)) {
    if (record.id == wanted || (!record.name.empty() && record.name == wanted)) {
      return std::move(record);
    }
  }
  return std::nullopt;
}

std::optional<Failure> make_run_directory(const store::Home& home, std::string& id,
                                          sys::UniqueFd& lock) {
  sys::UniqueFd store_lock;
  if (auto failure = home.lock(store_lock)) {
    return failure;
  }
  const auto random = sys::random_hex(6);
  if (!random) {
    return config::system_failure(
        {"cannot name the run", "getrandom", random.error(), "try again"});
  }
  id = *random;
  std::error_code error;
  fs::create_directory(runs_directory(home), error);
  const std::string directory = directory_of(home, id);
  if (!error) {
    fs::create_directory(directory, error);
  }
  auto file = error ? Result<sys::UniqueFd>{Errno{error.value()}}
                    : sys::open_lock_file(directory + "/lock");
  const Status locked =
      file ? sys::lock_file(file->borrow(), sys::LockKind::kExclusive, sys::LockWait::kNo)
           : Status{file.error()};
  if (!locked) {
    return config::system_failure({"cannot make a directory for the run", directory, locked.error(),
                                   "set PLYFS_HOME to a directory of yours"});
  }
  lock = *std::move(file);
  return std::nullopt;
}

void remove_run(const store::Home& home, const std::string& id) {
  // The lock's file last: until it is gone others see that somebody is at it.
  const std::string directory = directory_of(home, id);
  for (const std::string& name : store::names_in(directory, store::Hidden::kYes)) {
    if (name != "lock") {
      (void)sys::remove_tree(directory + "/" + name);
    }
  }
  std::error_code error;
  fs::remove(directory + "/lock", error);
  fs::remove(directory, error);
}

std::optional<Failure> remove_dead_runs(const store::Home& home) {
  std::vector<std::pair<std::string, sys::UniqueFd>> dead;
  {
    // A run that is just being made is not locked yet.
    sys::UniqueFd store_lock;
    if (auto failure = home.lock(store_lock)) {
      return failure;
    }
    for (const std::string& id : store::names_in(runs_directory(home), store::Hidden::kNo)) {
      if (auto lock = lock_dead(home, id)) {
        dead.emplace_back(id, *std::move(lock));
      }
    }
  }
  for (const auto& [id, lock] : dead) {
    remove_run(home, id);
  }
  return std::nullopt;
}

}  // namespace plyfs::run
