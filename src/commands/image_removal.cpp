#include "commands/image_removal.h"

#include <algorithm>

#include "commands/output.h"
#include "oci/removal.h"

namespace plyfs::commands {
namespace {

void tell_removed(const oci::Removed& removed) {
  std::string text;
  for (const std::string& name : removed.names) {
    text += "name " + name + "\n";
  }
  for (const std::string& image : removed.images) {
    text += "image " + image + "\n";
  }
  if (removed.layers + removed.blobs > 0) {
    text +=
        std::to_string(removed.layers) + " layers, " + std::to_string(removed.blobs) + " blobs\n";
  }
  (void)write_out(text);
  if (removed.left_layers) {
    (void)std::fputs(
        "plyfs: layers were left, since an import is going on: 'plyfs image prune' removes them "
        "when it is done\n",
        stderr);
  }
}

}  // namespace

int remove_images(const oci::ImageStore& store, const std::vector<std::string>& names, bool force) {
  int exit_code = 0;
  for (const std::string& name : names) {
    oci::Removed removed;
    if (const auto failure = oci::remove_image(store, name, force, removed)) {
      exit_code = std::max(exit_code, complain(kMainProgram, *failure));
    }
    tell_removed(removed);
  }
  return finish_out(kMainProgram, exit_code);
}

int prune_images(const oci::ImageStore& store, bool all) {
  oci::Removed removed;
  const auto failure = oci::prune(store, all, removed);
  tell_removed(removed);
  return finish_out(kMainProgram, failure ? complain(kMainProgram, *failure) : 0);
}

}  // namespace plyfs::commands
