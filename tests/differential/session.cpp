#include "session.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "dump_check.h"
#include "image_check.h"
#include "rules.h"
#include "run_program.h"

namespace plyfs::difftest {
namespace {

Difference broken(const std::string& what, const std::string& detail) {
  return {"broken/" + what, what + ": " + detail + "\n"};
}

using Found = std::optional<Difference>;

#define RETURN_IF_FOUND(expression)                         \
  do {                                                      \
    if (Found found_here = (expression)) return found_here; \
  } while (false)

class Session {
 public:
  Session(const Case& input, const Limits& limits, Drivers drivers, std::string base,
          Progress& progress, Trace trace)
      : input_(input),
        limits_(limits),
        drivers_(std::move(drivers)),
        base_(std::move(base)),
        progress_(progress),
        trace_(trace) {}

  Found run() {
    struct statfs filesystem {};
    const bool tmpfs =
        ::statfs(base_.c_str(), &filesystem) == 0 && filesystem.f_type == TMPFS_MAGIC;
    zero_range_ = tmpfs ? ZeroRange::kUnsupported : ZeroRange::kSupported;
    RETURN_IF_FOUND(prepare());
    RETURN_IF_FOUND(run_prelude());
    const TreeDump lower = dump_directory(base_ + "/lower");
    const TreeDump written = dump_directory(base_ + "/pre/upper");
    RETURN_IF_FOUND(mount_both());
    RETURN_IF_FOUND(run_operations());
    if (oracle_lost_) return std::nullopt;
    RETURN_IF_FOUND(compare_now("at the end"));
    RETURN_IF_FOUND(remount("after the last remount"));
    RETURN_IF_FOUND(cross());
    host_.enter();
    const char* when = "of the lower layers";
    RETURN_IF_FOUND(compare_trees(lower, dump_directory(base_ + "/lower"), when, exact()));
    return compare_trees(written, dump_directory(base_ + "/pre/upper"), when, exact());
  }

 private:
  ZeroRange zero_range_ = ZeroRange::kSupported;
  bool oracle_lost_ = false;

  /// After fallocate(2), and truncate(2) to the present size, some file systems move mtime and the
  /// kernel's FUSE client does what it does itself: both sides get one time.
  void settle_times(const Operation& op, const OpResult& reference, const OpResult& subject) {
    if (reference.error != 0 || subject.error != 0) return;
    Operation settle = op;
    settle.actor = Actor::kRoot;
    settle.times = {timespec{1'234'567'890, 1}, timespec{1'234'567'890, 2}};
    settle.flags = 0;
    if (op.kind == OpKind::kFallocate) {
      settle.kind = OpKind::kFutimens;
    } else if (op.kind == OpKind::kTruncate) {
      settle.kind = OpKind::kUtimens;
    } else if (op.kind == OpKind::kOpen && limits_.prelude && (op.flags & O_PATH) == 0 &&
               (op.flags & O_ACCMODE) != O_RDONLY) {
      // Opening a metadata-only copy for writing brings its data up: overlayfs moves mtime then.
      settle.kind = OpKind::kFutimens;
    } else {
      return;
    }
    (void)execute(settle, reference_);
    (void)execute(settle, subject_);
  }

  static TreeRules exact() { return {nullptr, InodeNumbers::kSame}; }
  [[nodiscard]] TreeRules exact_as_promised() const {
    const bool all = drivers_.promise != InodeNumbers::kIgnored;
    return {nullptr, drivers_.promise, all ? HardLinks::kSame : drivers_.reference_links};
  }
  [[nodiscard]] Found check_subject(const TreeDump& dump, const char* when) const {
    return drivers_.promise != InodeNumbers::kIgnored ? check_tree(dump, when) : std::nullopt;
  }

  Stack stack_of(const std::string& name) const {
    Stack stack;
    for (int i = layer_count(input_.layers) - 1; i >= 0; --i) {
      stack.lowers.push_back(base_ + "/lower/" + std::to_string(i));
    }
    if (!input_.prelude.empty() && name != "pre") {
      stack.lowers.insert(stack.lowers.begin(), base_ + "/pre/upper");
    }
    stack.upper = base_ + "/" + name + "/upper";
    stack.work = base_ + "/" + name + "/work";
    stack.mountpoint = base_ + "/" + name + "/mnt";
    return stack;
  }

  Found prepare() {
    ::umask(022);
    std::string error;
    std::vector<std::string> directories = {"/lower"};
    for (const char* name : {"/pre", "/ref", "/sub"}) {
      directories.emplace_back(name);
      for (const char* part : {"/upper", "/work", "/mnt"}) {
        directories.push_back(std::string{name} + part);
      }
    }
    for (const std::string& directory : directories) {
      if (::mkdir((base_ + directory).c_str(), 0755) != 0) {
        return broken("mkdir", base_ + directory + ": " + std::strerror(errno));
      }
    }
    error = build_layers(input_.layers, base_ + "/lower", limits_.layers);
    if (!error.empty()) return broken("build layers", error);
    // Both roots show the upper's attributes; they must start alike.
    const std::array<timespec, 2> times = {timespec{1100000000, 5}, timespec{1100000000, 5}};
    for (const char* upper : {"/ref/upper", "/sub/upper"}) {
      ::utimensat(AT_FDCWD, (base_ + upper).c_str(), times.data(), 0);
    }
    return std::nullopt;
  }

  /// The kernel's own upper, with redirects, metacopies and whiteouts, as a lower layer.
  Found run_prelude() {
    if (input_.prelude.empty()) return std::nullopt;
    const Stack stack = stack_of("pre");
    if (std::string error = drivers_.writer->mount(stack); !error.empty()) {
      return broken("prelude mount", error);
    }
    {
      Side side{"prelude", stack.mountpoint, drivers_.writer->stale_reads(), host_};
      side.open();
      for (const Operation& op : input_.prelude) execute(op, side);
      ::umask(022);
    }
    host_.enter();
    const std::string error = drivers_.writer->unmount(stack.mountpoint);
    return error.empty() ? std::nullopt : Found{broken("prelude unmount", error)};
  }

  TreeDump dump_directory(const std::string& path) const {
    Side side{"lower", path, StaleReads::kNever, host_};
    side.open();
    TreeDump dump = dump_tree(side);
    dump.anomalies.clear();
    host_.enter();
    return dump;
  }

  Found mount_both() {
    host_.enter();
    if (std::string error = drivers_.reference->mount(stack_of("ref")); !error.empty()) {
      return broken("reference mount", error);
    }
    if (std::string error = drivers_.subject->mount(stack_of("sub")); !error.empty()) {
      return broken("subject mount", error);
    }
    progress_.connection = connection_of(stack_of("sub").mountpoint);
    if (const int error = reference_.open(); error != 0) {
      return broken("reference mount", std::strerror(error));
    }
    if (const int error = subject_.open(); error != 0) {
      return broken("subject mount", std::strerror(error));
    }
    return std::nullopt;
  }

  Found unmount_both() {
    reference_.close();
    subject_.close();
    host_.enter();
    if (std::string error = drivers_.reference->unmount(reference_.mountpoint()); !error.empty()) {
      return broken("reference unmount", error);
    }
    if (std::string error = drivers_.subject->unmount(subject_.mountpoint()); !error.empty()) {
      return broken("subject unmount", error);
    }
    progress_.connection = 0;
    return std::nullopt;
  }

  Found run_operations() {
    for (std::size_t i = 0; i < input_.operations.size(); ++i) {
      progress_.operation = static_cast<std::int64_t>(i);
      Found found = run_operation(input_.operations[i]);
      if (oracle_lost_) return std::nullopt;
      if (!found) continue;
      found->text = "at operation " + std::to_string(i) + ": " + found->text;
      return found;
    }
    return std::nullopt;
  }

  Found run_operation(const Operation& op) {
    if (op.kind == OpKind::kCompare) return compare_now("in the middle");
    if (op.kind == OpKind::kRemount) return remount("after a remount");
    if (op.kind == OpKind::kDropCaches) return drop_caches();
    if (breaks_reference(op, reference_)) return std::nullopt;
    if (never_reaches_server(op, reference_, zero_range_)) return std::nullopt;
    const ino_t before = inode_of(op);
    const timespec begin = Timeline::now();
    OpResult reference = execute(op, reference_);
    if (refuses_empty_directory(op, reference, reference_)) return std::nullopt;
    const OpResult subject = execute(op, subject_);
    if (op.kind == OpKind::kOpen && limits_.prelude) reference.mtime = subject.mtime;
    timeline_.add(begin, Timeline::now());
    // The kernel could not follow its own file handles: from here on it is no oracle.
    oracle_lost_ = reference.error == ESTALE && subject.error != ESTALE;
    if (oracle_lost_) return std::nullopt;
    settle_times(op, reference, subject);
    if (trace_ == Trace::kOn) {
      std::printf("%4lld %s => %s\n", static_cast<long long>(progress_.operation.load()),
                  describe(op).c_str(), outcome_words(reference).c_str());
      std::fflush(stdout);
    }
    RETURN_IF_FOUND(compare_results(op, reference, subject, timeline_));
    return subject.error == 0 ? check_inode(op, before) : std::nullopt;
  }

  /// The subject's inode number of the object that an operation changes in place or renames.
  /// Only for some operations: asking fills caches, which hides what not asking would show.
  ino_t inode_of(const Operation& op) const {
    const bool keeps = (op.kind >= OpKind::kChmod && op.kind <= OpKind::kSetxattr) ||
                       op.kind == OpKind::kWriteFile || op.kind == OpKind::kTruncate ||
                       (op.kind == OpKind::kRename && op.flags == 0);
    const bool asks = (op.path.size() + op.data_seed + op.mode) % 2 == 0;
    return keeps && asks ? inode_at(subject_, op, op.path) : 0;
  }

  static ino_t inode_at(const Side& side, const Operation& op, const std::string& path) {
    struct stat attributes {};
    if (side.enter(op.at) != 0) return 0;
    return ::lstat(path.c_str(), &attributes) == 0 ? attributes.st_ino : 0;
  }

  Found check_inode(const Operation& op, ino_t before) const {
    if (before == 0 || drivers_.promise == InodeNumbers::kIgnored) return std::nullopt;
    const bool renamed = op.kind == OpKind::kRename;
    const ino_t after = inode_at(subject_, op, renamed ? op.other : op.path);
    if (after == before) return std::nullopt;
    // The new name's path may lead through the old name, as in `rename a a/../b`.
    if (after == 0 && inode_at(reference_, op, renamed ? op.other : op.path) == 0) {
      return std::nullopt;
    }
    return Difference{"inode number/" + std::string{name_of(op.kind)},
                      "st_ino changed from " + std::to_string(before) + " to " +
                          std::to_string(after) + ": " + describe(op) + "\n"};
  }

  Found drop_caches() {
    host_.enter();
    std::ofstream{"/proc/sys/vm/drop_caches"} << "3\n";
    return compare_now("after drop_caches");
  }

  Found compare_now(const char* when) {
    const TreeDump reference = dump_tree(reference_);
    const TreeDump subject = dump_tree(subject_);
    RETURN_IF_FOUND(check_subject(subject, when));
    return compare_trees(reference, subject, when,
                         {&timeline_, InodeNumbers::kIgnored, drivers_.reference_links});
  }

  Found remount(const char* when) {
    const TreeDump reference = dump_tree(reference_);
    const TreeDump subject = dump_tree(subject_);
    RETURN_IF_FOUND(unmount_both());
    RETURN_IF_FOUND(mount_both());
    last_reference_ = dump_tree(reference_);
    last_subject_ = dump_tree(subject_);
    RETURN_IF_FOUND(check_subject(last_subject_, when));
    RETURN_IF_FOUND(compare_trees(subject, last_subject_, when, exact_as_promised()));
    return compare_trees(last_reference_, last_subject_, when,
                         {&timeline_, InodeNumbers::kIgnored});
  }

  /// What plyfs-dump says of the live mount.
  Found dump_live(std::string& live) {
    if (drivers_.subject->program().empty()) return std::nullopt;
    host_.enter();
    const ProgramEnd end = run_program({drivers_.subject->program() + "-dump",
                                        subject_.mountpoint(), "--json", "snapshot", "--digest"},
                                       base_ + "/live.json");
    live = end.out;
    return end.code == 0 ? std::nullopt
                         : Found{broken("dump of the live mount", std::to_string(end.code))};
  }

  /// The subject's stack as plyfs-dump, flatten, commit and convert see it. The latter take longer:
  /// some cases must do.
  Found check_at_rest(const std::string& live) {
    constexpr std::size_t kImagesEvery = 4;
    const Stack stack = stack_of("sub");
    RETURN_IF_FOUND(
        check_dump(drivers_.subject->command("dump", stack), last_subject_, base_, live));
    if (input_.layers.size() % kImagesEvery != 0) return std::nullopt;
    const std::string directory = base_ + "/images";
    ::mkdir(directory.c_str(), 0755);
    return check_images({*drivers_.subject, *drivers_.reader, stack, directory,
                         limits_.layers.trusted_xattrs ? "overlay" : "userxattr",
                         [this](const std::string& path) { return dump_directory(path); }},
                        last_subject_);
  }

  /// Each one's upper, mounted by the other, must show what its own mount showed.
  Found cross() {
    std::string live;
    RETURN_IF_FOUND(dump_live(live));
    RETURN_IF_FOUND(unmount_both());
    if (!drivers_.subject->program().empty()) RETURN_IF_FOUND(check_at_rest(live));
    RETURN_IF_FOUND(cross_one(*drivers_.reader, "sub", last_subject_,
                              "when the kernel mounts the subject's upper"));
    return cross_one(*drivers_.subject, "ref", last_reference_,
                     "when the subject mounts the kernel's upper");
  }

  Found cross_one(Driver& driver, const std::string& name, const TreeDump& expected,
                  const char* when) {
    host_.enter();
    const Stack stack = stack_of(name);
    if (std::string error = driver.mount(stack); !error.empty()) return broken(when, error);
    progress_.connection = connection_of(stack.mountpoint);
    Side side{name, stack.mountpoint, driver.stale_reads(), host_};
    if (const int error = side.open(); error != 0) return broken(when, std::strerror(error));
    const TreeDump dump = dump_tree(side);
    side.close();
    if (std::string error = driver.unmount(stack.mountpoint); !error.empty()) {
      return broken(when, error);
    }
    progress_.connection = 0;
    return compare_trees(expected, dump, when, {});
  }

  const Case& input_;
  const Limits& limits_;
  Drivers drivers_;
  std::string base_;
  Progress& progress_;
  Trace trace_;
  Host host_;
  Timeline timeline_;
  Side reference_{"reference", stack_of("ref").mountpoint, drivers_.reference->stale_reads(),
                  host_};
  Side subject_{"subject", stack_of("sub").mountpoint, drivers_.subject->stale_reads(), host_};
  TreeDump last_reference_;
  TreeDump last_subject_;
};

}  // namespace

std::optional<Difference> run_session(const Case& input, const Limits& limits, Drivers drivers,
                                      const std::string& base, Progress& progress, Trace trace) {
  return Session{input, limits, std::move(drivers), base, progress, trace}.run();
}

}  // namespace plyfs::difftest
