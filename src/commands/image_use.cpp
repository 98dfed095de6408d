#include "commands/image_use.h"

#include <utility>

#include "config/failure_text.h"
#include "oci/image_stack.h"
#include "sys/creds.h"
#include "sys/sandbox/user_namespace.h"

namespace plyfs::commands {
namespace {

std::optional<Failure> open_named(const std::string& name, oci::ImageStack& stack) {
  oci::ImageStore store;
  if (auto failure = oci::ImageStore::find(store)) {
    return failure;
  }
  return oci::open_image(store, name, stack);
}

std::optional<Failure> open_into(MountOptions& options, sys::UniqueFd& held, RunDefaults& defaults,
                                 oci::WithVolumes volumes) {
  oci::ImageStack stack;
  if (options.image.empty()) {
    return std::nullopt;
  }
  if (auto failure = open_named(options.image, stack)) {
    return failure;
  }
  oci::add_image(stack, volumes, options);
  held = std::move(stack.held);
  defaults = std::move(stack.defaults);
  return std::nullopt;
}

}  // namespace

std::optional<Failure> use_image(MountOptions& options, sys::UniqueFd& held) {
  RunDefaults defaults;
  return open_into(options, held, defaults,
                   options.upper ? oci::WithVolumes::kYes : oci::WithVolumes::kNo);
}

std::optional<Failure> use_image(MountOptions& options, sys::UniqueFd& held,
                                 RunDefaults& defaults) {
  return open_into(options, held, defaults, oci::WithVolumes::kYes);
}

std::optional<Failure> enter_image_namespace() {
  if (sys::current_privileges().euid == 0) {
    return std::nullopt;
  }
  const auto maps = sys::sandbox::possible_id_maps();
  if (maps.kind != sys::sandbox::IdMaps::Kind::kRange) {
    return std::nullopt;
  }
  if (const auto trouble = sys::sandbox::enter_user_namespace(maps)) {
    return config::system_failure({trouble->what, trouble->subject, trouble->error,
                                   "'plyfs check' tells what user namespaces need here"});
  }
  return std::nullopt;
}

}  // namespace plyfs::commands
