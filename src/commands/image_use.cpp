#include "commands/image_use.h"

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

}  // namespace

std::optional<Failure> use_image(MountOptions& options, sys::UniqueFd& held) {
  RunDefaults defaults;
  return use_image(options, held, defaults);
}

std::optional<Failure> use_image(MountOptions& options, sys::UniqueFd& held,
                                 RunDefaults& defaults) {
  oci::ImageStack stack;
  if (options.image.empty()) {
    return std::nullopt;
  }
  if (auto failure = open_named(options.image, stack)) {
    return failure;
  }
  oci::add_image(stack, oci::WithVolumes::kYes, options);
  held = std::move(stack.held);
  oci::RunDefaults& said = stack.defaults;
  defaults = {said.environment, said.entrypoint, said.command,
              said.directory,   said.user,       oci::signal_number(said.stop_signal)};
  return std::nullopt;
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
