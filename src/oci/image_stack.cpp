#include "oci/image_stack.h"

#include <algorithm>
#include <charconv>
#include <csignal>
#include <iterator>
#include <optional>
#include <string_view>
#include <utility>

#include "config/failure_text.h"
#include "config/volume_spec.h"

namespace plyfs::oci {
namespace {

using config::system_failure;

/// EPROTO for what is no list of strings; a missing one, or null, is empty.
Result<std::vector<std::string>> strings_of(const Json& json, const char* name) {
  std::vector<std::string> found;
  const auto list = json.find(name);
  if (list == json.end() || list->is_null()) {
    return found;
  }
  if (!list->is_array()) {
    return Errno{EPROTO};
  }
  for (const Json& one : *list) {
    if (!one.is_string()) {
      return Errno{EPROTO};
    }
    found.push_back(one.get<std::string>());
  }
  return found;
}

/// "SIGTERM", "TERM", "15", "SIGRTMIN+3".
std::optional<int> signal_number(const std::string& word) {
  static constexpr std::pair<std::string_view, int> kSignals[] = {
      {"HUP", SIGHUP},   {"INT", SIGINT},       {"QUIT", SIGQUIT}, {"ABRT", SIGABRT},
      {"KILL", SIGKILL}, {"USR1", SIGUSR1},     {"USR2", SIGUSR2}, {"PIPE", SIGPIPE},
      {"ALRM", SIGALRM}, {"TERM", SIGTERM},     {"CHLD", SIGCHLD}, {"CONT", SIGCONT},
      {"STOP", SIGSTOP}, {"WINCH", SIGWINCH},   {"PWR", SIGPWR},   {"TSTP", SIGTSTP},
      {"SEGV", SIGSEGV}, {"VTALRM", SIGVTALRM}, {"PROF", SIGPROF}, {"IO", SIGIO}};
  std::string_view rest = word;
  if (rest.starts_with("SIG")) {
    rest.remove_prefix(3);
  }
  int base = 0;
  if (rest.starts_with("RTMIN")) {
    base = SIGRTMIN;
    rest.remove_prefix(5);
    if (rest.empty()) {
      return base;
    }
    rest.remove_prefix(rest.front() == '+' ? 1 : 0);
  }
  for (const auto& [name, number] : kSignals) {
    if (base == 0 && rest == name) {
      return number;
    }
  }
  int number = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), number);
  const bool good = error == std::errc{} && end == rest.data() + rest.size() && number >= 0 &&
                    base + number > 0 && base + number <= SIGRTMAX;
  return good ? std::optional{base + number} : std::nullopt;
}

Result<RunDefaults> defaults_of(const Json& document) {
  RunDefaults found;
  const auto config = document.find("config");
  if (config == document.end() || config->is_null()) {
    return found;
  }
  if (!config->is_object()) {
    return Errno{EPROTO};
  }
  found.environment = TRY(strings_of(*config, "Env"));
  found.entrypoint = TRY(strings_of(*config, "Entrypoint"));
  found.command = TRY(strings_of(*config, "Cmd"));
  found.directory = text_member(*config, "WorkingDir");
  found.user = text_member(*config, "User");
  found.stop_signal = signal_number(text_member(*config, "StopSignal"));
  if (const auto volumes = config->find("Volumes");
      volumes != config->end() && volumes->is_object()) {
    for (const auto& [path, unused] : volumes->items()) {
      const auto destination = config::normalised(path);
      if (!destination || *destination == "/") {
        return Errno{EPROTO};
      }
      found.volumes.push_back(*destination);
    }
  }
  return found;
}

bool is_taken(const MountOptions& options, const std::string& destination) {
  return std::ranges::any_of(options.volume_specs, [&](const VolumeSpec& spec) {
    return spec.destination == destination;
  });
}

}  // namespace

MaybeFailure open_image(const ImageStore& store, const std::string& name, ImageStack& stack) {
  if (auto failure = store.resolve(name, "no such image", stack.image)) {
    return failure;
  }
  const Status held = store.hold(stack.image.id, stack.held);
  if (!held) {
    return system_failure(
        {"cannot use the image", name, held.error(), "it is being removed: import it again"});
  }
  for (auto layer = stack.image.layers.rbegin(); layer != stack.image.layers.rend(); ++layer) {
    if (!store.has_layer(layer->diff_id)) {
      return system_failure({"a layer of the image is missing", layer->diff_id, Errno{ENOENT},
                             "import the image again"});
    }
    // The same layer again, deeper, can show nothing that it does not show already.
    const std::string path = store.layer(layer->diff_id);
    if (std::ranges::none_of(stack.layers,
                             [&](const LayerPath& other) { return other.path == path; })) {
      stack.layers.push_back({path, false});
    }
  }
  const auto document = store.read_document_blob(stack.image.id);
  auto defaults = document ? defaults_of(*document) : Result<RunDefaults>{document.error()};
  if (!defaults) {
    return system_failure({"cannot use the config of the image", name, defaults.error(),
                           "see it in 'plyfs image inspect', or import the image again"});
  }
  stack.defaults = *std::move(defaults);
  return std::nullopt;
}

void add_image(const ImageStack& stack, WithVolumes volumes, MountOptions& options) {
  // Layers that hold data only stay last.
  const auto data_only = std::ranges::find_if(options.lowers, &LayerPath::data_only);
  std::vector<LayerPath> layers;
  std::ranges::copy_if(stack.layers, std::back_inserter(layers), [&](const LayerPath& layer) {
    return std::ranges::none_of(options.lowers, [&](const LayerPath& there) {
      return there.path == layer.path;  // a named stack that comes back has them
    });
  });
  options.lowers.insert(data_only, layers.begin(), layers.end());
  options.image = stack.image.id;
  if (volumes == WithVolumes::kNo) {
    return;
  }
  for (const std::string& destination : stack.defaults.volumes) {
    if (!is_taken(options, destination)) {
      VolumeSpec spec;
      spec.kind = VolumeSpec::Kind::kAnonymous;
      spec.destination = destination;
      options.volume_specs.push_back(std::move(spec));
    }
  }
}

}  // namespace plyfs::oci
