#include "commands/stack_argument.h"

#include "config/failure_text.h"
#include "config/options_parser.h"
#include "config/volume_spec.h"
#include "control/client.h"
#include "control/description.h"
#include "store/home.h"
#include "store/mounts.h"
#include "sys/file_io.h"
#include "sys/open.h"

namespace plyfs::commands {
namespace {

using Json = nlohmann::ordered_json;

/// The stack that a mount of this name had or has, from its record.
std::optional<MountOptions> recorded_stack(const std::string& name) {
  store::Home home;
  if (config::check_name(name, "bad mount name") || store::Home::find(home)) {
    return std::nullopt;
  }
  const auto record = store::read_mount(home, name);
  if (!record) {
    return std::nullopt;
  }
  MountOptions options;
  options.mountpoint = record->mountpoint;
  for (const std::string& lower : record->lowers) {
    const bool data_only = options.lowers.size() + record->data_only >= record->lowers.size();
    options.lowers.push_back({lower, data_only});
  }
  if (!record->upper.empty()) {
    options.upper = record->upper;
  }
  if (!record->work.empty()) {
    options.work = record->work;
  }
  options.volumes = record->volumes;
  if (record->userxattr) {
    options.xattr_namespace = XattrNamespace::kUser;
  }
  return options;
}

}  // namespace

std::optional<Json> ask_mount(const std::string& target, const std::string& request,
                              Failure& failure) {
  auto answer = control::ask(target, request);
  if (!answer && answer.error() == ENOENT) {
    // Not a mount point; is it the name of one?
    for (Json& described : control::ask_all("describe")) {
      if (!target.empty() && control::text_member(described, "name") == target) {
        answer = control::ask(control::text_member(described, "mountpoint"), request);
      }
    }
  }
  if (!answer) {
    failure = config::system_failure(
        {"no live mount of yours answers", target, answer.error(),
         "check with 'plyfs ls'; give --lower and --upper for a stack that is not mounted"});
    return std::nullopt;
  }
  return *std::move(answer);
}

void add_stack_options(CLI::App& app, StackWords& words) {
  app.add_option("-o,--options", words.option_strings, "layers as in mount -o: lowerdir=A:B,...")
      ->type_name("OPTS")
      ->allow_extra_args(false);
  app.add_option("--lower", words.lowers, "a read-only layer; the first is the topmost")
      ->type_name("DIR")
      ->allow_extra_args(false);
  app.add_option("--upper", words.upper, "the writable layer")->type_name("DIR");
  app.add_option("--work", words.work, "its work directory")->type_name("DIR");
}

std::optional<MountOptions> resolve_stack(const StackWords& words, Failure& failure) {
  MountOptions options;
  config::Warnings warnings;
  const auto give_up = [&](Failure told) -> std::optional<MountOptions> {
    failure = std::move(told);
    return std::nullopt;
  };
  if (!words.has_layers() && !words.target.empty()) {
    const auto described = ask_mount(words.target, "describe", failure);
    if (!described) {
      auto recorded = recorded_stack(words.target);
      if (!recorded && words.target.find('/') == std::string::npos) {
        failure = config::system_failure(
            {"no live mount of yours answers, and none has that name", words.target, Errno{ENOENT},
             "'plyfs ls' shows the names; give --lower and --upper for other stacks"});
      }
      return recorded;
    }
    MountOptions mounted = control::described_options(*described);
    // What the kernel holds back is written first: the layers are to show what the mount shows.
    if (const auto root =
            sys::open_listing({sys::BorrowedFd{-100 /* AT_FDCWD */}, mounted.mountpoint.c_str()})) {
      (void)sys::sync_filesystem(root->borrow());
    }
    return mounted;
  }
  if (!words.has_layers()) {
    return give_up(
        config::usage_failure({"no stack given", "STACK", Errno{EINVAL},
                               "name a mount point, or its layers with --lower and --upper"}));
  }
  if (!words.target.empty()) {
    return give_up(config::usage_failure(
        {"layers and a mount given", words.target, Errno{EINVAL}, "leave out one of them"}));
  }
  for (const std::string& text : words.option_strings) {
    if (auto wrong =
            config::parse_options(text, config::UnknownWords::kRefuse, options, warnings)) {
      return give_up(*std::move(wrong));
    }
  }
  for (const std::string& lower : words.lowers) {
    if (auto wrong = config::add_layer(LayerPath{.path = lower}, options)) {
      return give_up(*std::move(wrong));
    }
  }
  if (!words.upper.empty()) {
    options.upper = words.upper;
  }
  if (!words.work.empty()) {
    options.work = words.work;
  }
  if (options.upper && !options.work) {
    options.work = config::default_work_path(*options.upper);
  }
  return options;
}

std::unique_ptr<dump::OpenStack> open_stack(const StackWords& words, Failure& failure) {
  const auto options = resolve_stack(words, failure);
  return options ? dump::OpenStack::open(*options, failure) : nullptr;
}

}  // namespace plyfs::commands
