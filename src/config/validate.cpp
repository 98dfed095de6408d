#include "config/validate.h"

#include <algorithm>
#include <cerrno>
#include <string_view>
#include <utility>

#include "config/failure_text.h"
#include "config/fuse_words.h"
#include "config/options_parser.h"

namespace plyfs::config {
namespace {

using MaybeFailure = std::optional<Failure>;
using sys::Answer;
using sys::DirectoryFacts;
using sys::DirectoryUse;

/// A directory of the stack, by the name that the user gave it.
struct Named {
  std::string path;
  DirectoryFacts facts;
  bool to_be_made = false;  ///< not there yet: the facts are those of the directory it goes into
};

struct StackFacts {
  std::vector<Named> layers;
  std::optional<Named> upper;
  std::optional<Named> work;
};

bool lies_inside(const DirectoryFacts& inner, const DirectoryFacts& outer) {
  return std::ranges::find(inner.chain, outer.identity()) != inner.chain.end();
}

std::string_view directory_remedy(Errno error) {
  switch (error.value()) {
    case ENOENT:
      return "create it, or correct the path";
    case ENOTDIR:
      return "name a directory";
    case EACCES:
      return "make it readable and searchable for you, or mount as its owner";
    case ENOTCONN:
      return "a dead mount lies there: unmount it with 'fusermount3 -u'";
    case ELOOP:
      return "a symbolic link points to itself: correct the path";
    case ENAMETOOLONG:
      return "use a shorter path, for example relative to the current directory";
    default:
      return "see what this error says about the filesystem below";
  }
}

std::string_view write_remedy(Errno error) {
  switch (error.value()) {
    case EROFS:
      return "put it on a writable filesystem, or mount without an upper";
    case EACCES:
      return "make it writable for you, or choose a directory of your own";
    default:
      return directory_remedy(error);
  }
}

MaybeFailure check_counts(const MountOptions& options) {
  if (options.lowers.empty()) {
    return usage_failure({"no layers given", "lowerdir", Errno{EINVAL},
                          "name at least one with --lower or -o lowerdir="});
  }
  if (options.lowers.size() > kMostLayers) {
    return usage_failure({"too many layers", options.lowers[kMostLayers].path, Errno{EINVAL},
                          "500 at most: merge some of them into one"});
  }
  if (options.work && !options.upper) {
    return usage_failure({"work directory without an upper", *options.work, Errno{EINVAL},
                          "name the upper too, or leave out the work directory"});
  }
  return std::nullopt;
}

DirectoryUse upper_use(const MountOptions& options) {
  return options.read_only ? DirectoryUse::kRead : DirectoryUse::kWrite;
}

MaybeFailure look_at_layers(const MountOptions& options, StackFacts& stack) {
  stack.layers.reserve(options.lowers.size());
  for (const LayerPath& layer : options.lowers) {
    Named named{.path = layer.path, .facts = {}, .to_be_made = false};
    if (MaybeFailure failure = check_layer(layer, named.facts)) {
      return failure;
    }
    stack.layers.push_back(std::move(named));
  }
  return std::nullopt;
}

MaybeFailure look_at_upper(const MountOptions& options, StackFacts& stack) {
  auto facts = sys::inspect_directory(*options.upper, upper_use(options));
  if (!facts) {
    return mount_failure(
        {"cannot use upper", *options.upper, facts.error(), write_remedy(facts.error())});
  }
  stack.upper = Named{.path = *options.upper, .facts = *std::move(facts), .to_be_made = false};
  return std::nullopt;
}

// "DIR/NAME" -> "DIR", as the kernel would split it.
std::string parent_of(const std::string& path) {
  const std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) {
    return ".";
  }
  return path.substr(0, std::max<std::size_t>(slash, 1));
}

MaybeFailure look_at_work(const MountOptions& options, StackFacts& stack) {
  if (!options.work) {
    return usage_failure({"no work directory", *options.upper, Errno{EINVAL},
                          "name one with --work or -o workdir=, on the upper's filesystem"});
  }
  const std::string& work = *options.work;
  auto facts = sys::inspect_directory(work, upper_use(options));
  const bool is_default = work == default_work_path(*options.upper);
  const bool to_be_made = !facts && facts.error() == ENOENT;
  if (to_be_made) {
    facts = sys::inspect_directory(parent_of(work), upper_use(options));
  }
  if (!facts) {
    const std::string remedy = is_default ? "name a work directory with --work or -o workdir="
                                          : std::string{write_remedy(facts.error())};
    return mount_failure({"cannot use work directory", work, facts.error(), remedy});
  }
  stack.work = Named{.path = work, .facts = *std::move(facts), .to_be_made = to_be_made};
  return std::nullopt;
}

MaybeFailure inside_failure(std::string_view what, const Named& inner, const Named& outer,
                            std::string_view outer_name) {
  const bool same = !inner.to_be_made && inner.facts.identity() == outer.facts.identity();
  const std::string remedy = same ? "it is the " + std::string{outer_name} + " " +
                                        shown(outer.path) + " itself: use another directory"
                                  : "it lies inside the " + std::string{outer_name} + " " +
                                        shown(outer.path) + ": use a directory outside";
  return mount_failure({what, inner.path, Errno{EINVAL}, remedy});
}

// Renames from work to upper must work: one filesystem is not enough, it must be one mount.
MaybeFailure check_same_mount(const StackFacts& stack) {
  const DirectoryFacts& upper = stack.upper->facts;
  const DirectoryFacts& work = stack.work->facts;
  const bool one_device = upper.identity().device == work.identity().device;
  const bool one_mount = upper.mount_id == work.mount_id;
  if (one_device && one_mount) {
    return std::nullopt;
  }
  return mount_failure(
      {"cannot use work directory", stack.work->path, Errno{EXDEV},
       "choose one on the same filesystem and mount as the upper " + shown(stack.upper->path)});
}

MaybeFailure check_upper_and_work(const StackFacts& stack) {
  if (MaybeFailure failure = check_same_mount(stack)) {
    return failure;
  }
  if (!stack.work->to_be_made && lies_inside(stack.upper->facts, stack.work->facts)) {
    return inside_failure("cannot use upper", *stack.upper, *stack.work, "work directory");
  }
  if (lies_inside(stack.work->facts, stack.upper->facts)) {
    return inside_failure("cannot use work directory", *stack.work, *stack.upper, "upper");
  }
  return std::nullopt;
}

bool is_root_directory(const DirectoryFacts& facts) {
  const auto root = sys::inspect_directory("/", DirectoryUse::kMountOn);
  return root && root->identity() == facts.identity();
}

/// Refuses `inner` (the upper or the work directory) in `layer`.
MaybeFailure check_outside_layer(std::string_view name, const Named& inner, const Named& layer,
                                 std::vector<std::string>& warnings) {
  if (!lies_inside(inner.facts, layer.facts)) {
    return std::nullopt;
  }
  const bool below = inner.to_be_made || inner.facts.identity() != layer.facts.identity();
  if (!below || !is_root_directory(layer.facts)) {
    return inside_failure("cannot use " + std::string{name}, inner, layer, "layer");
  }
  if (warnings.empty()) {  // one of upper and work is enough
    warnings.push_back(std::string{name} + " " + shown(inner.path) + " lies inside the layer " +
                       shown(layer.path) + ": leave it alone through the mount");
  }
  return std::nullopt;
}

MaybeFailure check_overlaps(const StackFacts& stack, std::vector<std::string>& warnings) {
  for (const Named& layer : stack.layers) {
    if (MaybeFailure failure = check_outside_layer("upper", *stack.upper, layer, warnings)) {
      return failure;
    }
    if (lies_inside(layer.facts, stack.upper->facts)) {
      return inside_failure("cannot use layer", layer, *stack.upper, "upper");
    }
    if (!stack.work) {
      continue;
    }
    // A work directory that is still to be made holds nothing, and has only its parent to lie in.
    if (MaybeFailure failure =
            check_outside_layer("work directory", *stack.work, layer, warnings)) {
      return failure;
    }
    if (!stack.work->to_be_made && lies_inside(layer.facts, stack.work->facts)) {
      return inside_failure("cannot use layer", layer, *stack.work, "work directory");
    }
  }
  return std::nullopt;
}

MaybeFailure check_stack_into(const MountOptions& options, std::vector<std::string>& warnings) {
  StackFacts stack;
  if (MaybeFailure failure = check_counts(options)) {
    return failure;
  }
  if (MaybeFailure failure = look_at_layers(options, stack)) {
    return failure;
  }
  if (!options.upper) {
    return std::nullopt;
  }
  if (MaybeFailure failure = look_at_upper(options, stack)) {
    return failure;
  }
  // A read-only mount never stages anything.
  if (!options.read_only) {
    if (MaybeFailure failure = look_at_work(options, stack)) {
      return failure;
    }
    if (MaybeFailure failure = check_upper_and_work(stack)) {
      return failure;
    }
  }
  return check_overlaps(stack, warnings);
}

}  // namespace

bool is_mounted_by_caller(const std::string& mountpoint) {
  constexpr std::string_view kPrefix = "/dev/fd/";
  if (!mountpoint.starts_with(kPrefix) || mountpoint.size() == kPrefix.size()) {
    return false;
  }
  return mountpoint.find_first_not_of("0123456789", kPrefix.size()) == std::string::npos;
}

std::optional<Failure> check_layer(const LayerPath& layer, sys::DirectoryFacts& facts) {
  auto found = sys::inspect_directory(layer.path, DirectoryUse::kRead);
  if (!found) {
    return mount_failure(
        {"cannot use layer", layer.path, found.error(), directory_remedy(found.error())});
  }
  facts = *std::move(found);
  return std::nullopt;
}

std::optional<Failure> check_mountpoint(const MountOptions& options, const sys::HostFacts& host) {
  if (options.mountpoint.empty()) {
    return usage_failure({"no mountpoint given", "MOUNTPOINT", Errno{EINVAL},
                          "name a directory as the last argument"});
  }
  if (is_mounted_by_caller(options.mountpoint)) {
    return std::nullopt;
  }
  const auto found = sys::inspect_directory(options.mountpoint, DirectoryUse::kMountOn);
  if (!found) {
    return mount_failure(
        {"cannot mount on", options.mountpoint, found.error(), directory_remedy(found.error())});
  }
  if (host.may_mount == Answer::kYes) {
    return std::nullopt;
  }
  if (const Status writable = sys::check_writable(options.mountpoint); !writable) {
    return mount_failure({"cannot mount on", options.mountpoint, writable.error(),
                          "fusermount3 wants a directory that you may write to"});
  }
  return std::nullopt;
}

std::optional<Failure> check_fuse_device(const sys::HostFacts& host) {
  if (host.dev_fuse) {
    return std::nullopt;
  }
  const Errno error = host.dev_fuse.error();
  std::string_view remedy = "see what the system log says about it";
  if (error == ENOENT || error == ENODEV || error == ENXIO) {
    remedy = "load the module with 'modprobe fuse'; in a container pass '--device /dev/fuse'";
  } else if (error == EACCES) {
    remedy = "as root: chmod 666 /dev/fuse";
  } else if (error == EPERM) {
    remedy = "the container forbids the device: pass '--device /dev/fuse'";
  }
  return mount_failure({"cannot open the FUSE device", "/dev/fuse", error, remedy});
}

std::optional<Failure> check_fusermount(const MountOptions& options, const sys::HostFacts& host) {
  if (host.may_mount == Answer::kYes) {
    return std::nullopt;
  }
  if (host.fusermount.empty()) {
    return mount_failure({"cannot find the mount program", "fusermount3", Errno{ENOENT},
                          "install it ('apt install fuse3'), or mount as root"});
  }
  if (host.fusermount_works == Answer::kNo) {
    return mount_failure({"mount program cannot mount", host.fusermount, Errno{EPERM},
                          "as root: chmod u+s " + host.fusermount});
  }
  if (host.no_new_privileges == Answer::kYes) {
    return mount_failure({"mount program cannot mount", host.fusermount, Errno{EPERM},
                          "this process runs with no_new_privs: start it without, or mount inside "
                          "a user namespace ('unshare -Urm')"});
  }
  const bool others = contains_word(options.fuse_options, "allow_other") ||
                      contains_word(options.fuse_options, "allow_root");
  if (others && host.user_allow_other == Answer::kNo) {
    return mount_failure({"cannot use option", "allow_other", Errno{EPERM},
                          "as root: add the line 'user_allow_other' to /etc/fuse.conf"});
  }
  return std::nullopt;
}

Validation check_stack(const MountOptions& options) {
  Validation validation;
  validation.failure = check_stack_into(options, validation.warnings);
  return validation;
}

Validation validate(const MountOptions& options, const sys::HostFacts& host) {
  Validation validation = check_stack(options);
  if (!validation.failure) {
    validation.failure = check_mountpoint(options, host);
  }
  if (is_mounted_by_caller(options.mountpoint)) {
    return validation;
  }
  if (!validation.failure) {
    validation.failure = check_fuse_device(host);
  }
  if (!validation.failure) {
    validation.failure = check_fusermount(options, host);
  }
  return validation;
}

}  // namespace plyfs::config
