#include "dump/open_stack.h"

#include <utility>
#include <vector>

#include "base/text.h"
#include "sys/layer_root.h"
#include "sys/limits.h"
#include "sys/open.h"

namespace plyfs::dump {
namespace {

constexpr int kSystemError = 2;

bool open_one(const std::string& path, const char* what, const layer::MarkRules& rules,
              layer::Layer& layer, Failure& failure) {
  layer.path = path;
  auto root = sys::open_layer_root(path);
  const Status known = [&]() -> Status {
    layer.root = TRY(std::move(root));
    return layer::examine(layer, rules);
  }();
  if (!known) {
    failure = {std::string{what} + ": " + escaped(path) + ": " + known.error().message() +
                   "; check that the directory exists and may be read",
               kSystemError};
  }
  return known.has_value();
}

/// False with `failure` filled when an index is there and cannot be opened: it may keep hard links
/// together, and without it the stack would be told wrongly.
bool open_index(const MountOptions& options, sys::UniqueFd& index, Failure& failure) {
  if (!options.upper || !options.work || options.index == Toggle::kOff) {
    return true;
  }
  const std::string path = *options.work + "/index";
  auto opened = sys::open_directory_path(path.c_str());
  if (opened) {
    index = *std::move(opened);
  } else if (opened.error() != ENOENT && opened.error() != ENOTDIR) {
    failure = {"cannot open the index of hard links: " + escaped(path) + ": " +
                   opened.error().message() + "; run as root, or as the owner of the upper layer",
               kSystemError};
    return false;
  }
  return true;
}

}  // namespace

OpenStack::OpenStack(MountOptions options, layer::LayerStack layers, sys::UniqueFd index)
    : options_(std::move(options)),
      layers_(std::move(layers)),
      lookup_(layers_),
      index_(std::move(index)) {}

std::unique_ptr<OpenStack> OpenStack::open(const MountOptions& options, Failure& failure) {
  (void)sys::raise_limits();
  if (options.lowers.empty() && !options.upper) {
    failure = {
        "no layers given: stack: Invalid argument; name a mount point, or --lower and --upper", 1};
    return nullptr;
  }
  const layer::MarkRules rules = layer::mark_rules(options.xattr_namespace);
  std::vector<layer::Layer> layers;
  layers.emplace_back();
  if (options.upper &&
      !open_one(*options.upper, "cannot open upper directory", rules, layers.front(), failure)) {
    return nullptr;
  }
  for (const LayerPath& lower : options.lowers) {
    layer::Layer& layer = layers.emplace_back();
    layer.data_only = lower.data_only;
    if (!open_one(lower.path, "cannot open layer", rules, layer, failure)) {
      return nullptr;
    }
  }
  sys::UniqueFd index;
  if (!open_index(options, index, failure)) {
    return nullptr;
  }
  layer::LayerStack stack{std::move(layers), options.xino, rules};
  return std::unique_ptr<OpenStack>{new OpenStack{options, std::move(stack), std::move(index)}};
}

std::string OpenStack::layer_word(layer::LayerIndex index) {
  return index == layer::kUpper ? "upper" : std::to_string(index);
}

}  // namespace plyfs::dump
