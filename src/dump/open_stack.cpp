#include "dump/open_stack.h"

#include <utility>
#include <vector>

#include "base/text.h"
#include "sys/layer_root.h"
#include "sys/open.h"

namespace plyfs::dump {
namespace {

constexpr int kSystemError = 2;

bool open_one(const std::string& path, const char* what, layer::Layer& layer, Failure& failure) {
  layer.path = path;
  auto root = sys::open_layer_root(path);
  const Status known = [&]() -> Status {
    layer.root = TRY(std::move(root));
    return layer::examine(layer);
  }();
  if (!known) {
    failure = {std::string{what} + ": " + escaped(path) + ": " + known.error().message() +
                   "; check that the directory exists and may be read",
               kSystemError};
  }
  return known.has_value();
}

}  // namespace

OpenStack::OpenStack(MountOptions options, layer::LayerStack layers)
    : options_(std::move(options)), layers_(std::move(layers)), lookup_(layers_) {}

std::unique_ptr<OpenStack> OpenStack::open(const MountOptions& options, Failure& failure) {
  (void)sys::raise_fd_limit();
  if (options.lowers.empty() && !options.upper) {
    failure = {
        "no layers given: stack: Invalid argument; name a mount point, or --lower and --upper", 1};
    return nullptr;
  }
  std::vector<layer::Layer> layers;
  layers.emplace_back();
  if (options.upper &&
      !open_one(*options.upper, "cannot open upper directory", layers.front(), failure)) {
    return nullptr;
  }
  for (const LayerPath& lower : options.lowers) {
    layer::Layer& layer = layers.emplace_back();
    layer.data_only = lower.data_only;
    if (!open_one(lower.path, "cannot open layer", layer, failure)) {
      return nullptr;
    }
  }
  return std::unique_ptr<OpenStack>{
      new OpenStack{options, layer::LayerStack{std::move(layers), options.xino}}};
}

std::string OpenStack::layer_word(layer::LayerIndex index) {
  return index == layer::kUpper ? "upper" : std::to_string(index);
}

}  // namespace plyfs::dump
