// The composition root: the only file that sees every room.
#include "plyfs/mount.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/log.h"
#include "config/options_parser.h"
#include "control/layer_locks.h"
#include "control/server.h"
#include "copyup/engine.h"
#include "fill/fill.h"
#include "fuse/backed_files.h"
#include "fuse/session.h"
#include "layer/layer_stack.h"
#include "layer/upper_abilities.h"
#include "layer/whiteouts.h"
#include "layer/workdir.h"
#include "mount_report.h"
#include "mount_volumes.h"
#include "ops/filesystem.h"
#include "sys/creds.h"
#include "sys/dir_ops.h"
#include "sys/dir_stream.h"
#include "sys/file_handle.h"
#include "sys/fuse_device.h"
#include "sys/layer_root.h"
#include "sys/limits.h"
#include "sys/mount_table.h"
#include "sys/object_stat.h"
#include "sys/object_xattr.h"
#include "sys/open.h"

namespace plyfs {
namespace {

constexpr std::size_t kFdsKept = 512;
constexpr std::size_t kMaxCachedFds = 8192;
constexpr std::size_t kFdsReserved = 8192;  // 64 KiB of the kernel's; what is above grows as needed

Failure failure_of(const std::string& what, const std::string& path, Errno error,
                   const std::string& remedy) {
  return {what + ": " + log::printable(path) + ": " + error.message() + "; " + remedy,
          kMountFailed};
}

/// libfuse splits its options at commas; CVE-2018-10906 is what an unescaped one can do.
std::string escape_commas(const std::string& value) {
  std::string escaped;
  for (const char byte : value) {
    if (byte == ',' || byte == '\\') {
      escaped.push_back('\\');
    }
    escaped.push_back(byte);
  }
  return escaped;
}

/// Whether the mount is to honour what the word is about: "suid", "dev".
bool honours(const MountOptions& options, std::string_view word) {
  return std::ranges::find(options.fuse_options, word) != options.fuse_options.end();
}

/// "suid" becomes "nosuid".
void refuse(MountOptions& options, const std::string& word) {
  std::erase(options.fuse_options, word);
  if (!honours(options, "no" + word)) {
    options.fuse_options.push_back("no" + word);
  }
}

bool changes_ids(const IdPolicy& ids) {
  return !ids.uids.empty() || !ids.gids.empty() || ids.squash_uid || ids.squash_gid;
}

/// Where ids change, whose programs would run as whom (D-073)?
MountOptions without_suid(MountOptions options) {
  if (changes_ids(options.ids)) {
    refuse(options, "suid");
  }
  return options;
}

/// Builds the parts of a mount in order; keeps the first failure.
class Builder {
 public:
  Builder(const MountOptions& options, Failure& failure)
      : options_(options),
        failure_(failure),
        privileges_(sys::current_privileges()),
        rules_(layer::mark_rules(options.xattr_namespace)) {}

  std::unique_ptr<ops::FileSystem> build();
  [[nodiscard]] const std::string& mountpoint() const { return mountpoint_; }
  std::unique_ptr<MountVolumes> build_volumes(ops::FileSystem& filesystem) {
    return MountVolumes::make(
        options_,
        {filesystem, privileges_, mountpoint_, mountpoint_fd_.borrow(), honours(options_, "suid")},
        failure_);
  }
  [[nodiscard]] bool acl() const { return acl_; }
  [[nodiscard]] bool no_devices() const { return no_devices_; }
  [[nodiscard]] bool may_pass_through() const {
    return privileges_.sys_admin && sys::in_initial_user_namespace();
  }
  /// What was found out on the way, for those who ask the mount.
  [[nodiscard]] MountReport& report() { return report_; }
  /// To be kept for as long as the mount is served.
  control::LayerLocks take_locks() { return std::move(locks_); }

 private:
  bool open_layers(std::vector<layer::Layer>& layers);
  bool open_layer(const std::string& path, layer::Layer& layer);
  bool find_covered(layer::Layer& layer);
  bool open_upper(std::vector<layer::Layer>& layers);
  bool open_workdir(ops::Foundation& foundation);
  bool probe_abilities(ops::Foundation& foundation);
  void remove_made_work();
  [[nodiscard]] Status check_default_work(sys::BorrowedFd work, sys::BorrowedFd upper) const;
  [[nodiscard]] Result<sys::UniqueFd> open_work(const std::string& work,
                                                sys::BorrowedFd upper) const;
  bool fail(Failure failure) {
    failure_ = std::move(failure);
    return false;
  }

  const MountOptions& options_;
  Failure& failure_;
  const sys::Privileges privileges_;
  const layer::MarkRules rules_;
  bool made_work_ = false;  ///< to be removed again when building fails
  std::string mountpoint_;
  sys::UniqueFd mountpoint_fd_;
  bool acl_ = false;
  control::LayerLocks locks_;
  bool no_devices_ = false;  ///< a lower's own mount is nodev
  MountReport report_;
};

bool Builder::open_layer(const std::string& path, layer::Layer& layer) {
  layer.path = path;
  if (const Status known = layer::examine(layer, rules_); !known) {
    return fail(failure_of("cannot read layer", path, known.error(), "check its permissions"));
  }
  return find_covered(layer);
}

bool Builder::find_covered(layer::Layer& layer) {
  if (!mountpoint_fd_.valid()) {
    return true;
  }
  const auto components = sys::components_below(layer.root.borrow(), mountpoint_);
  if (!components || !*components || (*components)->size() > 250) {
    return true;
  }
  auto directory = sys::duplicate(mountpoint_fd_.borrow());
  if (!directory) {
    return fail(failure_of("cannot open mountpoint", mountpoint_, directory.error(),
                           "raise the "
                           "limit of open files"));
  }
  layer.covered = layer::CoveredDirectory{std::move(**components), std::move(*directory)};
  return true;
}

bool Builder::open_upper(std::vector<layer::Layer>& layers) {
  layer::Layer upper;
  if (options_.upper && !options_.read_only) {
    auto root = sys::open_directory_path(options_.upper->c_str());
    if (!root) {
      return fail(failure_of("cannot open upper directory", *options_.upper, root.error(),
                             "create it or check its permissions"));
    }
    upper.root = std::move(*root);
    if (!open_layer(*options_.upper, upper)) {
      return false;
    }
  }
  layers.push_back(std::move(upper));
  // Asked for read-only: the upper is then simply the topmost layer.
  if (options_.upper && options_.read_only) {
    layer::Layer top;
    auto root = sys::open_layer_root(*options_.upper);
    if (!root) {
      return fail(failure_of("cannot open upper directory", *options_.upper, root.error(),
                             "create it or check its permissions"));
    }
    top.root = std::move(*root);
    if (!open_layer(*options_.upper, top)) {
      return false;
    }
    layers.push_back(std::move(top));
  }
  return true;
}

bool Builder::open_layers(std::vector<layer::Layer>& layers) {
  if (!options_.mountpoint.starts_with("/dev/fd/")) {
    auto absolute = sys::absolute_path(options_.mountpoint);
    if (!absolute) {
      return fail(failure_of("cannot open mountpoint", options_.mountpoint, absolute.error(),
                             "create the directory first"));
    }
    mountpoint_ = std::move(*absolute);
    auto opened = sys::open_directory_path(mountpoint_.c_str());
    if (!opened) {
      return fail(failure_of("cannot open mountpoint", mountpoint_, opened.error(),
                             "choose an existing directory"));
    }
    mountpoint_fd_ = std::move(*opened);
  } else {
    mountpoint_ = options_.mountpoint;
  }
  if (!open_upper(layers)) {
    return false;
  }
  for (const LayerPath& lower : options_.lowers) {
    layer::Layer layer;
    auto root = sys::open_layer_root(lower.path);
    if (!root) {
      return fail(failure_of("cannot open layer", lower.path, root.error(),
                             "check that the directory exists and may be read"));
    }
    layer.root = std::move(*root);
    layer.data_only = lower.data_only;
    const sys::MountRefusals refused = sys::mount_refusals(layer.root.borrow());
    layer.no_privileges = refused.suid && honours(options_, "suid");
    no_devices_ = no_devices_ || refused.devices;
    if (!open_layer(lower.path, layer)) {
      return false;
    }
    layers.push_back(std::move(layer));
  }
  return true;
}

/// What a default work directory may hold: it is emptied, and nobody has named it.
Status Builder::check_default_work(sys::BorrowedFd work, sys::BorrowedFd upper) const {
  const FileStat stat = TRY(sys::stat_object({work, ""}));
  const FileStat beside = TRY(sys::stat_object({upper, ""}));
  if (stat.uid != beside.uid && stat.uid != privileges_.euid) {
    return Errno{EPERM};
  }
  bool known = true;
  TRY(sys::read_directory(work, [&](const sys::RawEntry& entry) {
    const std::string_view name{entry.name, entry.name_size};
    known = known && layer::is_work_name(name);
    return sys::Visit::kContinue;
  }));
  return known ? Status{} : Status{Errno{ENOTEMPTY}};
}

/// Whoever may write beside the upper could have put a link, or a directory of somebody else, at
/// the default place.
Result<sys::UniqueFd> Builder::open_work(const std::string& work, sys::BorrowedFd upper) const {
  const bool is_default = !options_.work || work == config::default_work_path(*options_.upper);
  const sys::UniqueFd handle =
      TRY(is_default ? sys::open_directory_at(sys::kCurrentDirectory, work.c_str())
                     : sys::open_directory_path(work.c_str()));
  sys::UniqueFd opened = TRY(sys::open_listing({handle.borrow(), ""}));
  if (is_default && !made_work_) {
    TRY(check_default_work(opened.borrow(), upper));
    opened = TRY(sys::open_listing({handle.borrow(), ""}));  // from its beginning again
  }
  return opened;
}

const char* work_remedy(Errno error) {
  switch (error.value()) {
    case ENOTDIR:
      return "a link or a file lies there: remove it, or name another place with --work";
    case EPERM:
      return "it belongs to somebody else: name another place with --work";
    case ENOTEMPTY:
      return "it holds other things, and would be emptied: name another place with --work";
    default:
      return "create it on the same filesystem as the upper directory";
  }
}

bool Builder::open_workdir(ops::Foundation& foundation) {
  const std::string work = options_.work.value_or(*options_.upper + ".work");
  made_work_ = sys::make_directory(sys::kCurrentDirectory, work.c_str(), 0700).has_value();
  auto upper = sys::open_listing({foundation.stack[layer::kUpper].root.borrow(), ""});
  auto root = upper ? open_work(work, upper->borrow()) : Result<sys::UniqueFd>{upper.error()};
  if (!root) {
    return fail(
        failure_of("cannot open work directory", work, root.error(), work_remedy(root.error())));
  }
  for (const auto* directory : {&*upper, &*root}) {
    if (const auto refused = locks_.take(directory->borrow())) {
      return fail(failure_of("upper or work directory is in use by another mount", work,
                             refused->error, refused->remedy));
    }
  }
  auto workdir = layer::Workdir::open(std::move(*root), std::move(*upper), *foundation.writer);
  if (!workdir && workdir.error() == EUCLEAN) {
    return fail(failure_of("a volatile mount of this upper ended in a crash", work, workdir.error(),
                           "its content may be damaged: start with a fresh upper, or remove "
                           "work/incompat/volatile in the work directory to go on"));
  }
  if (!workdir) {
    return fail(failure_of("cannot prepare work directory", work, workdir.error(),
                           "it must be writable and on the same filesystem as the upper"));
  }
  foundation.workdir = std::make_unique<layer::Workdir>(std::move(*workdir));
  return probe_abilities(foundation);
}

bool Builder::probe_abilities(ops::Foundation& foundation) {
  auto abilities =
      layer::probe_upper(*foundation.workdir, options_.whiteout, options_.xattr_namespace, rules_);
  const bool wished = options_.whiteout != WhiteoutFamily::kProbe ||
                      options_.xattr_namespace != XattrNamespace::kProbe;
  if (!abilities && abilities.error() == EOPNOTSUPP && !wished) {
    return fail(failure_of("upper directory's filesystem takes no whiteouts of any kind",
                           *options_.upper, abilities.error(),
                           "use a directory on ext4, xfs, btrfs or tmpfs, not in another union"));
  }
  if (!abilities) {
    return fail(failure_of("upper directory cannot hold the marks that were asked for",
                           *options_.upper, abilities.error(),
                           "leave out whiteout= and xattr=, or use another filesystem"));
  }
  const layer::UpperAbilities& found = *abilities;
  const bool marks = found.marks.has_value();
  foundation.stamp_new_files = found.fine_times && options_.writeback == Toggle::kOn;
  // A privileged mount would not believe its own once somebody else owns what they are on.
  const bool leading = marks && !(rules_.privileged && found.marks == XattrNamespace::kUser);
  foundation.redirect = options_.redirect_dir == Toggle::kOn && leading;
  foundation.metacopy = options_.metacopy == Toggle::kOn && leading;
  foundation.index = options_.index == Toggle::kOn && marks && foundation.workdir->open_index();
  report_.upper = found;
  report_.redirect = foundation.redirect;
  report_.metacopy = foundation.metacopy;
  report_.index = foundation.index;
  copyup::Policy policy;
  policy.sync = options_.sync;
  policy.marks = found.marks;
  policy.keep_uid = !options_.ids.squash_uid;
  policy.keep_gid = !options_.ids.squash_gid;
  policy.no_privileges = foundation.no_privileges;
  policy.privileges = privileges_;
  foundation.whiteouts = std::make_unique<layer::Whiteouts>(*foundation.workdir,
                                                            foundation.stack[layer::kUpper], found);
  foundation.engine = std::make_unique<copyup::Engine>(*foundation.workdir, policy);
  return true;
}

/// Nothing is left behind by a mount that failed.
void Builder::remove_made_work() {
  if (!made_work_) {
    return;
  }
  const std::string work = options_.work.value_or(*options_.upper + ".work");
  layer::UpperWriter writer{layer::UpperWriter::Rights::kPrivileged};
  if (auto opened = sys::open_directory_path(work.c_str())) {
    (void)layer::empty_directory(writer, opened->borrow());
  }
  (void)sys::remove_directory(sys::kCurrentDirectory, work.c_str());
}

std::unique_ptr<ops::FileSystem> Builder::build() {
  const std::size_t fds = sys::raise_limits();
  sys::reserve_fds(kFdsReserved);
  std::vector<layer::Layer> layers;
  if (!open_layers(layers)) {
    return nullptr;
  }
  for (const layer::Layer& layer : layers) {
    if (layer.root.valid()) {
      const auto acl =
          sys::get_xattr_raw({layer.root.borrow(), ""}, "system.posix_acl_access", nullptr, 0);
      acl_ = acl_ || acl || acl.error() == ENODATA;
    }
  }
  acl_ = acl_ && options_.acl == Toggle::kOn;
  const auto rights = privileges_.dac_override ? layer::UpperWriter::Rights::kPrivileged
                                               : layer::UpperWriter::Rights::kOwnerOnly;
  ops::Foundation foundation;
  foundation.stack = layer::LayerStack{std::move(layers), options_.xino, rules_};
  report_.user_marks = rules_.user;
  foundation.writer = std::make_unique<layer::UpperWriter>(rights);
  foundation.xattrs = options_.xattrs == Toggle::kOn;
  foundation.uids = IdMap{options_.ids.uids, options_.ids.squash_uid};
  foundation.gids = IdMap{options_.ids.gids, options_.ids.squash_gid};
  foundation.no_privileges = changes_ids(options_.ids);
  const std::size_t kept = kFdsKept + foundation.stack.size();
  foundation.max_fds = std::min(kMaxCachedFds, fds > 2 * kept ? (fds - kept) / 2 : fds / 4);
  if (!options_.volumes.empty()) {
    foundation.max_fds /= 2;  // volumes take the other half
  }
  if (foundation.stack.has_upper() && !open_workdir(foundation)) {
    remove_made_work();
    return nullptr;
  }
  auto filesystem = ops::FileSystem::make(std::move(foundation));
  if (!filesystem) {
    (void)fail(failure_of("cannot read the layers' root directories", options_.mountpoint,
                          filesystem.error(), "check the layers"));
    return nullptr;
  }
  return std::move(*filesystem);
}

}  // namespace

namespace {

/// Before the volumes are opened: filling replaces the directory.
bool fill_volumes(const MountOptions& options, ops::FileSystem& filesystem, Failure& failure) {
  const fill::FillIds ids{IdMap{options.ids.uids, options.ids.squash_uid},
                          IdMap{options.ids.gids, options.ids.squash_gid}};
  for (const VolumeMount& volume : options.volumes) {
    const Status filled = volume.fill ? fill::fill_volume(filesystem, volume, ids) : Status{};
    if (!filled) {
      failure =
          failure_of("cannot fill volume " + volume.name + " from the image", volume.destination,
                     filled.error(), "the volume is empty as before; 'nocopy' leaves it so");
      return false;
    }
  }
  return true;
}

}  // namespace

struct Mount::Parts {
  MountOptions options;
  control::LayerLocks locks;
  std::unique_ptr<ops::FileSystem> filesystem;
  std::unique_ptr<MountVolumes> volumes;  // null: none. Holds nodes of the filesystem
  fuse::BackedFiles backed_files;
  fuse::Dispatcher dispatcher;
  std::unique_ptr<fuse::Session> session;  // destroyed before them: it calls into the others
  MountReport report;
  std::unique_ptr<control::Server> control;  // last: its answers ask all the others
};

Mount::Mount(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
Mount::~Mount() = default;

std::unique_ptr<Mount> Mount::make(const MountOptions& asked, Failure& failure) {
  if (asked.debug) {
    log::set_level(log::Level::kTrace);
  }
  auto parts = std::make_unique<Parts>();
  MountOptions& options = parts->options = without_suid(asked);
  Builder builder{options, failure};
  parts->filesystem = builder.build();
  parts->locks = builder.take_locks();
  if (!parts->filesystem || !fill_volumes(options, *parts->filesystem, failure)) {
    return nullptr;
  }
  if (!options.volumes.empty()) {
    parts->volumes = builder.build_volumes(*parts->filesystem);
    if (!parts->volumes) {
      return nullptr;
    }
    parts->dispatcher.volumes = &parts->volumes->tree();
    parts->dispatcher.mount_points = &parts->volumes->points();
    parts->dispatcher.live_volumes = parts->volumes->live();
  }
  parts->dispatcher.filesystem = parts->filesystem.get();
  parts->dispatcher.timeout_s = options.timeout_s;
  // With writeback the kernel would not look at the sizes and times that others make (D-030).
  parts->dispatcher.writeback = options.writeback == Toggle::kOn &&
                                !parts->filesystem->read_only() && !parts->dispatcher.live_volumes;
  parts->dispatcher.acl = builder.acl() || (parts->dispatcher.live_volumes &&
                                            options.acl == Toggle::kOn && parts->volumes->acl());
  if (builder.no_devices() || (parts->volumes && parts->volumes->no_devices())) {
    refuse(options, "dev");
  }
  fuse::SessionOptions session;
  session.mountpoint = builder.mountpoint();
  session.words = options.fuse_options;
  session.words.push_back("fsname=" + escape_commas(options.fsname));
  session.words.push_back("subtype=" + escape_commas(options.subtype));
  const bool writable_volumes =
      parts->volumes && parts->volumes->live() && parts->volumes->any_writable();
  parts->dispatcher.answer_flushes =
      parts->volumes && parts->volumes->live() && parts->volumes->tree().any_close_to_open();
  parts->dispatcher.answer_opens = writable_volumes || parts->dispatcher.answer_flushes;
  if (options.passthrough == Toggle::kOn && !parts->filesystem->read_only()) {
    if (!builder.may_pass_through()) {
      failure = {
          "passthrough=on is root's, outside of user namespaces (CAP_SYS_ADMIN); leave it out",
          kMountFailed};
      return nullptr;
    }
    parts->dispatcher.backed_files = &parts->backed_files;
  }
  if (parts->filesystem->read_only() && !writable_volumes) {
    session.words.emplace_back("ro");
  }
  // Served volumes send many small messages that nothing caches: one worker that stays on a warm
  // processor answers them several times faster than two that are woken in turn (D-034).
  const unsigned usual =
      parts->dispatcher.live_volumes ? 1 : std::clamp(std::thread::hardware_concurrency(), 2U, 8U);
  session.threads = options.threads != 0 ? options.threads : usual;
  session.follow_callers = options.follow == Toggle::kOn;
  session.use_rings = options.uring == Toggle::kOn;
  MountReport& report = parts->report = std::move(builder.report());
  report.options = options;
  make_paths_absolute(report.options);
  report.mountpoint = session.mountpoint;
  report.acl = parts->dispatcher.acl;
  report.writeback = parts->dispatcher.writeback;
  report.threads = session.threads;
  report.bound_places =
      parts->volumes ? parts->volumes->bound_places() : std::vector<std::string>{};
  report.volumes = parts->volumes ? parts->volumes->report() : VolumeReport{};
  (void)std::timespec_get(&report.started, TIME_UTC);
  auto made = fuse::Session::make(std::move(session), parts->dispatcher);
  if (!made) {
    failure = {"libfuse refused the mount options; remove the last of them", 1};
    return nullptr;
  }
  parts->session = std::move(*made);
  return std::unique_ptr<Mount>{new Mount{std::move(parts)}};
}

bool Mount::run(const std::function<void()>& ready, Failure& failure) {
  const Status mounted = parts_->session->mount();
  if (!mounted) {
    failure = failure_of("cannot mount", parts_->options.mountpoint, mounted.error(),
                         "see the line above; `plyfs check` tells what is missing");
    return false;
  }
  parts_->report.device = sys::device_name_at(parts_->report.mountpoint);
  const Status started = parts_->filesystem->start();
  if (!started) {
    failure =
        failure_of("cannot mark the work directory as volatile", parts_->options.work.value_or(""),
                   started.error(), "check its permissions");
    return false;
  }
  open_control_channel();
  bool attached = true;
  const Status served = parts_->session->serve([&] {
    learn_opens();
    attached = !parts_->volumes || parts_->volumes->attach(failure);
    if (attached) {
      ready();
    } else {
      parts_->session->stop();
    }
  });
  parts_->control.reset();
  parts_->filesystem->shut_down();
  if (!attached) {
    return false;
  }
  if (!served) {
    failure = failure_of("cannot serve", parts_->options.mountpoint, served.error(),
                         "was it unmounted at once?");
    return false;
  }
  return true;
}

VolumeReport Mount::volume_report() const {
  return parts_->volumes ? parts_->volumes->report() : VolumeReport{};
}

/// A mount that nobody can ask is better than none: without a place for the socket it goes on.
void Mount::open_control_channel() {
  Parts& parts = *parts_;
  auto started = control::Server::start(
      parts.report.mountpoint,
      {{"describe",
        [&parts] {
          const bool passthrough = parts.session->passes_through();
          return describe(parts.report, {parts.session->uses_rings(), passthrough,
                                         parts.report.writeback && !passthrough});
        }},
       {"stats",
        [&parts] {
          return statistics_json(parts.filesystem->statistics(), parts.session->counters());
        }}},
      [&parts] { return parts.session->connected(); });
  if (started) {
    parts.control = *std::move(started);
  } else {
    // Somebody has taken all the places, which is no accident.
    const bool squatted = started.error() == EPERM;
    log::write(squatted ? log::Level::kWarning : log::Level::kInfo,
               "no control channel: " + started.error().message() + "; plyfs inspect, ls and " +
                   "plyfs-dump cannot ask this mount: set XDG_RUNTIME_DIR to a directory of yours");
  }
}

/// The kernel sends RELEASE for each file that it created, until it has seen that OPEN is not
/// answered (D-003). A program that only creates files, such as tar, would never show it. A
/// nameless file does, where one can be had. In the foreground nobody waits for us: whoever
/// unmounts at once would find the mount busy.
void Mount::learn_opens() {
  if (parts_->options.foreground || parts_->filesystem->read_only() ||
      parts_->session->answers_opens()) {
    return;
  }
  const auto root = sys::open_directory_path(parts_->report.mountpoint.c_str());
  const auto file =
      root ? sys::create_unnamed(root->borrow(), 0600) : Result<sys::UniqueFd>{root.error()};
  if (file) {
    (void)sys::open_file({file->borrow(), ""}, sys::Access::kRead);
  }
}

void Mount::stop() { parts_->session->stop(); }

}  // namespace plyfs
