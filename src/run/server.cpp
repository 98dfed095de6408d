#include "run/server.h"

#include <atomic>
#include <filesystem>
#include <optional>
#include <system_error>
#include <thread>
#include <utility>
#include <vector>

#include "config/failure_text.h"
#include "config/validate.h"
#include "plyfs/mount.h"
#include "run/cli.h"
#include "run/engine.h"
#include "run/inside.h"
#include "run/kernel_root.h"
#include "run/named_stack.h"
#include "run/records.h"
#include "run/root_mounts.h"
#include "run/trouble.h"
#include "store/attachment.h"
#include "sys/durable_file.h"
#include "sys/host_check.h"
#include "sys/layer_root.h"
#include "sys/object_stat.h"
#include "sys/open.h"
#include "sys/sandbox/mounts.h"
#include "sys/sandbox/process.h"

namespace plyfs::run {
namespace {

namespace fs = std::filesystem;
namespace sandbox = sys::sandbox;
using config::system_failure;
using sandbox::Link;
using sandbox::Word;
using MaybeFailure = std::optional<Failure>;

/// What unmapped owners look like in a user namespace.
constexpr std::uint32_t kNobody = 65534;

/// Owners that are not ours to have are shown as root, where a layer's own root has such a one:
/// that is a directory of the host. Elsewhere 65534 is somebody.
void show_foreign_owners_as_root(MountOptions& mount) {
  bool foreign = false;
  for (const LayerPath& lower : mount.lowers) {
    const auto root = sys::open_directory_path(lower.path.c_str());
    const auto stat =
        root ? sys::stat_object({root->borrow(), ""}) : Result<FileStat>{root.error()};
    foreign = foreign || (stat && (stat->uid == kNobody || stat->gid == kNobody));
  }
  const std::vector<IdMapping> maps{{0, 0, kNobody},
                                    {0, kNobody, 1},
                                    {kNobody, kNobody, 1},
                                    {kNobody + 1, kNobody + 1, UINT32_MAX - kNobody - 1}};
  IdPolicy& ids = mount.ids;
  if (foreign && ids.uids.empty() && !ids.squash_uid) {
    ids.uids = maps;
  }
  if (foreign && ids.gids.empty() && !ids.squash_gid) {
    ids.gids = maps;
  }
}

class Server {
 public:
  Server(const ServerTask& task, const Link& front)
      : task_(task), front_(front), options_(task.options), mount_(task.options.mount) {}

  void run();

 private:
  MaybeFailure make_directories();
  MaybeFailure enter();
  MaybeFailure choose_upper();
  MaybeFailure make_directory(const std::string& path);
  void settle_owners();
  MaybeFailure start_program_side();
  [[noreturn]] void be_program_side(const Link& server);
  MaybeFailure serve_union();
  MaybeFailure check_machine();
  MaybeFailure lock_upper();
  void write_record();
  /// While the root directory is served: lets its user in, and takes it off here when he has it.
  void watch(Mount& mount);
  /// When the union is served. False: the program cannot start.
  bool complete_root(MaybeFailure& failure);
  void tidy_up();

  const ServerTask& task_;
  const Link& front_;
  RunOptions options_;
  MountOptions mount_;
  std::optional<store::Attachment> attachment_;
  std::string id_;
  sys::UniqueFd lock_;
  Stage stage_;
  bool staged_ = false;
  std::vector<sys::UniqueFd> upper_locks_;
  bool forget_name_ = false;  ///< nothing of this name is kept
  pid_t child_ = -1;
  Link child_link_;
  Choice choice_;
};

MaybeFailure Server::make_directories() {
  if (auto failure = make_run_directory(task_.home, id_, lock_)) {
    return failure;
  }
  const std::string directory = runs_directory(task_.home) + "/" + id_;
  stage_.path = directory + "/stage";
  return make_directory(stage_.path);
}

MaybeFailure Server::make_directory(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    return system_failure({"cannot make a directory for the run", path, Errno{error.value()},
                           "set PLYFS_HOME to a directory of yours"});
  }
  return std::nullopt;
}

/// A directory for what the program changes, if there is none; it must be there before the name is
/// recorded.
MaybeFailure Server::choose_upper() {
  std::error_code error;
  forget_name_ = !mount_.name.empty() && !options_.keep && !mount_.upper &&
                 !fs::exists(task_.home.mount(mount_.name), error);
  mount_.read_only = mount_.read_only || options_.read_only;
  if (mount_.read_only) {
    return std::nullopt;
  }
  if (mount_.upper) {
    return mount_.work ? make_directory(*mount_.work) : std::nullopt;
  }
  if (options_.keep) {
    mount_.upper = kept_upper(task_.home, mount_.name);
  } else {
    mount_.upper = runs_directory(task_.home) + "/" + id_ + "/upper";
    // Nobody will ever see it after a crash.
    mount_.sync = SyncPolicy::kVolatile;
  }
  mount_.work = *mount_.upper + ".work";
  MaybeFailure failure = make_directory(*mount_.upper);
  fs::permissions(*mount_.upper, fs::perms{0755}, error);
  return failure ? failure : make_directory(*mount_.work);
}

MaybeFailure Server::enter() {
  if (const sandbox::Step wrong = sandbox::enter_user_namespace(task_.ids)) {
    return explain(*wrong);
  }
  settle_owners();
  if (const sandbox::Step wrong =
          make_stage(stage_, options_, task_.ids.kind != sandbox::IdMaps::Kind::kOne)) {
    return explain(*wrong);
  }
  staged_ = true;
  return std::nullopt;
}

void Server::settle_owners() {
  if (task_.ids.kind == sandbox::IdMaps::Kind::kRange) {
    show_foreign_owners_as_root(mount_);
  } else if (task_.ids.kind == sandbox::IdMaps::Kind::kOne) {
    // What belongs to others cannot be changed, nor given to them.
    if (mount_.ids.uids.empty() && !mount_.ids.squash_uid) {
      mount_.ids.squash_uid = 0;
    }
    if (mount_.ids.gids.empty() && !mount_.ids.squash_gid) {
      mount_.ids.squash_gid = 0;
    }
  }
}

MaybeFailure Server::start_program_side() {
  auto links = Link::make();
  // The program belongs to the group of whoever waits for it.
  if (const Status back = sandbox::return_to_group(); !back) {
    return system_failure(
        {"nobody waits for the run any more", "setpgid", back.error(), "start it again"});
  }
  const auto forked =
      links ? sandbox::fork_into_namespaces(options_.own_network) : Result<pid_t>{links.error()};
  if (!forked) {
    return system_failure({"cannot make the namespaces of the run", "clone", forked.error(),
                           "'plyfs check' tells what is missing"});
  }
  if (*forked == 0) {
    links->first.close();
    be_program_side(links->second);
  }
  child_ = *forked;
  child_link_ = std::move(links->first);
  links->second.close();
  // Ours is the only copy now: the other side's end is heard.
  sandbox::leave_session();
  sandbox::drop_standard_descriptors();
  const sandbox::Message heard = child_link_.hear();
  if (heard.word != Word::kReady) {
    return Failure{heard.text.empty() ? "the process of the run ended at once" : heard.text,
                   kExitRun};
  }
  return std::nullopt;
}

/// Process 1 of the run. It tells our server of what it makes, and the front of the program.
void Server::be_program_side(const Link& server) {
  if (!sandbox::end_with_parent(0)) {
    sandbox::end_process(kExitRun);
  }
  sandbox::forget_own_words();
  lock_.reset();
  const auto give_up = [&](const sandbox::Trouble& trouble, const Link& to) {
    to.say(Word::kFailed, kExitRun, explain(trouble).what);
    sandbox::end_process(kExitRun);
  };
  if (const sandbox::Step wrong = sandbox::mount_proc(stage_.proc())) {
    give_up(*wrong, server);
  }
  server.say(Word::kReady);
  if (server.hear().word != Word::kServing) {
    sandbox::end_process(kExitRun);
  }
  if (const sandbox::Step wrong = sandbox::enter_root(stage_.root())) {
    give_up(*wrong, front_);
  }
  if (!options_.hostname.empty()) {
    if (const Status named = sandbox::set_host_name(options_.hostname); !named) {
      give_up({"cannot set the host's name", options_.hostname, named.error()}, front_);
    }
  }
  if (options_.own_network) {
    (void)sandbox::raise_loopback();
  }
  server.say(Word::kMoved);
  ProgramOptions program;
  program.command = options_.command;
  program.environment = options_.environment;
  program.directory = options_.directory;
  program.user = options_.user;
  program.terminal = task_.terminal;
  program.one_id = task_.ids.kind == sandbox::IdMaps::Kind::kOne;
  run_inside(program, front_);
  sandbox::end_process(0);
}

void Server::watch(Mount& mount) {
  // Moved, or ended: in either case nobody needs it here any more.
  (void)child_link_.hear();
  if (choice_.engine == Engine::kKernel) {
    (void)sandbox::detach(stage_.root());
  }
  mount.stop();
}

MaybeFailure Server::check_machine() {
  const auto host = sys::host_facts("");
  auto failure = config::check_fuse_device(host);
  if (!failure) {
    failure = config::check_stack(mount_).failure;
  }
  return failure;
}

void Server::write_record() {
  RunRecord record;
  record.id = id_;
  record.name = mount_.name;
  record.pid = task_.front_pid;
  record.init_pid = child_;
  record.pid_namespace = sandbox::pid_namespace_of(child_).value_or(0);
  record.command = options_.command;
  record.engine = engine_name(choice_.engine);
  record.why = choice_.why;
  record.started = store::timestamp();
  record.user_range = task_.ids.kind != sandbox::IdMaps::Kind::kOne;
  (void)write_run(task_.home, record);  // `ps` and `exec` miss it, the run does not
}

bool Server::complete_root(MaybeFailure& failure) {
  if (choice_.engine == Engine::kKernel) {
    failure = mount_kernel_root(mount_, stage_.lower(), stage_.root());
  }
  return !failure;
}

MaybeFailure Server::serve_union() {
  mount_.mountpoint = stage_.root();
  mount_.volume_mode = VolumeMode::kBind;
  attachment_.emplace();
  if (auto failure = attachment_->resolve(mount_)) {
    return failure;
  }
  if (auto failure = lock_upper()) {
    return failure;
  }
  if (auto failure = choose_engine(options_, mount_, stage_, choice_)) {
    return failure;
  }
  const bool kernel = choice_.engine == Engine::kKernel;
  if (options_.verbose) {
    front_.say(Word::kWarning, 0,
               std::string{"engine "} + engine_name(choice_.engine) + ": " + choice_.why);
  }
  if (!kernel) {
    upper_locks_.clear();  // the mount takes them itself
  }
  add_root_mounts(stage_, options_, mount_.volumes);
  Failure failure;
  const std::unique_ptr<Mount> mount =
      Mount::make(kernel ? lower_of(mount_, stage_.lower()) : mount_, failure);
  if (!mount) {
    return failure;
  }
  attachment_->settle(mount_);
  write_record();
  MaybeFailure incomplete;
  std::thread watcher;
  const bool served = mount->run(
      [&] {
        if (complete_root(incomplete)) {
          watcher = std::thread{[&] { watch(*mount); }};
          child_link_.say(Word::kServing);
        } else {
          (void)sandbox::detach(stage_.root());
          mount->stop();
        }
      },
      failure);
  if (watcher.joinable()) {
    watcher.join();
  }
  return !served ? MaybeFailure{failure} : incomplete;
}

/// As a mount has them: of two that write to one upper each would spoil what the other does.
MaybeFailure Server::lock_upper() {
  if (mount_.read_only || !mount_.upper) {
    return std::nullopt;
  }
  for (const std::string& path : {*mount_.upper, mount_.work.value_or(*mount_.upper + ".work")}) {
    constexpr int kWait_ms = 2000;
    auto directory = sys::open_listing({sys::BorrowedFd{-100 /* AT_FDCWD */}, path.c_str()});
    const Status locked =
        directory ? sys::lock_directory(directory->borrow(), kWait_ms) : Status{directory.error()};
    if (!locked) {
      return config::mount_failure({"upper or work directory is in use by another mount", path,
                                    locked.error(), "end that one first, or use others"});
    }
    upper_locks_.push_back(*std::move(directory));
  }
  return std::nullopt;
}

void Server::tidy_up() {
  child_link_.close();
  if (child_ > 0) {
    (void)sandbox::wait_for_child(child_);
  }
  const std::string name = forget_name_ && attachment_ ? mount_.name : "";
  attachment_.reset();
  if (staged_) {
    (void)sandbox::detach(stage_.path);
  }
  if (!name.empty()) {
    (void)sys::remove_tree(task_.home.mount(name));
  }
  if (!id_.empty()) {
    remove_run(task_.home, id_);
  }
}

void Server::run() {
  MaybeFailure failure = make_directories();
  failure = failure ? failure : choose_upper();
  failure = failure ? failure : enter();
  if (!failure) {
    (void)remove_dead_runs(task_.home);  // the next run tries again
  }
  failure = failure ? failure : check_machine();
  failure = failure ? failure : start_program_side();
  failure = failure ? failure : serve_union();
  if (failure) {
    front_.say(Word::kFailed, kExitRun, failure->what);
  }
  tidy_up();
}

}  // namespace

void serve_run(const ServerTask& task, const Link& front) {
  sandbox::ignore_signals();
  sandbox::leave_group();
  Server{task, front}.run();
}

}  // namespace plyfs::run
