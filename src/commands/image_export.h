// plyfs image export and verify; plyfs commit --image.
#pragma once

#include <string>
#include <vector>

#include "commands/stack_argument.h"
#include "oci/image_store.h"

namespace plyfs::commands {

struct ImageExportWords {
  std::string name;
  std::string target;
  std::string format = "oci";
  std::string progress = "auto";
};

int export_image(const oci::ImageStore& store, const ImageExportWords& words);
/// Exit code 1 when something is wrong.
int verify_images(const oci::ImageStore& store, const std::vector<std::string>& names);

struct ImageCommitWords {
  std::string reference;
  std::string message;
  std::string author;
  std::vector<std::string> changes;
  std::string progress = "auto";
  bool json = false;
};

int commit_to_image(const StackWords& stack, const ImageCommitWords& words);

}  // namespace plyfs::commands
