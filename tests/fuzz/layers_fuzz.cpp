// A stack of layers made from the input, seen by every question of plyfs-dump and by diff, flatten
// and convert. Wrong marks, odd names and loops must give a report: never a crash, a hang, or text
// that is not escaped.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <set>
#include <string>

#include "check.h"
#include "drawn_layers.h"
#include "dump/layers.h"
#include "dump/open_stack.h"
#include "dump/reports.h"
#include "dump/verify.h"
#include "image/changes.h"
#include "image/convert.h"

namespace plyfs::fuzz {
namespace {

/// Takes what is printed, and looks at it.
class Reader {
 public:
  dump::Sink sink() {
    return [this](std::string_view text) {
      for (const char byte : text) {
        const auto value = static_cast<unsigned char>(byte);
        FUZZ_CHECK(byte == '\n' || byte == '\t' || (value >= 0x20 && value != 0x7f));
      }
      text_ += text;
      return true;
    };
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
};

void print_all(const dump::OpenStack& stack) {
  for (const dump::Format format : {dump::Format::kText, dump::Format::kJson}) {
    Reader tree;
    dump::TreeOptions options;
    options.format = format;
    (void)dump::print_tree(stack, options, tree.sink());
    Reader snapshot;
    (void)dump::print_snapshot(stack, format, true, snapshot.sink());
    if (format == dump::Format::kJson) {
      FUZZ_CHECK(dump::Json::parse(tree.text(), nullptr, false).is_object());
      FUZZ_CHECK(dump::Json::parse(snapshot.text(), nullptr, false).is_object());
    }
  }
}

void ask_for(const dump::OpenStack& stack, const std::string& path) {
  Reader reader;
  if (auto target = dump::find_path(stack, path)) {
    (void)reader.sink()(dump::answer_text(stack, target->answer, {}));
    (void)dump::answer_json(stack, target->answer, {}).dump();
  }
}

void verify(const dump::OpenStack& stack) {
  if (const auto findings = dump::verify(stack)) {
    for (const dump::Finding& finding : *findings) {
      FUZZ_CHECK(finding.text.find('\n') == std::string::npos);
    }
  }
}

void summarise(const dump::OpenStack& stack) {
  const auto report =
      dump::summarise_layers(stack, dump::Sharing::kFind, [](std::uint64_t, std::uint64_t) {});
  if (report) {
    for (const dump::LayerSummary& layer : report->layers) {
      FUZZ_CHECK(layer.hidden_files <= layer.files && layer.hidden_bytes <= layer.bytes);
    }
  }
}

void compare(const dump::OpenStack& stack) {
  Failure failure;
  if (const auto changes = image::Changes::open(stack, failure)) {
    std::string at;
    for (const auto replaced : {image::Replaced::kByName, image::Replaced::kWhole}) {
      (void)(*changes)->compare(
          replaced, [](const image::Difference&) { return Status{}; }, at);
    }
  }
}

/// Takes a tree that is written elsewhere: in order, parents first, each name once.
class Collector final : public image::TreeWriter {
 public:
  Status add(const image::View& view, const std::string& path,
             const image::Object& object) override {
    take(path);
    if (object.stat.is_regular()) {
      (void)view.open_data(object);
    }
    (void)image::public_xattrs(object);
    return {};
  }
  Status add_link(const std::string& path, const std::string& target,
                  const image::Object& /*object*/) override {
    FUZZ_CHECK(paths_.contains(target));
    take(path);
    return {};
  }
  Status add_whiteout(const std::string& path) override {
    take(path);
    return {};
  }
  Status add_opaque(const std::string& directory) override {
    FUZZ_CHECK(paths_.contains(directory));
    return {};
  }
  Status finish() override { return {}; }

 private:
  void take(const std::string& path) {
    FUZZ_CHECK(paths_.insert(path).second);
    const std::size_t slash = path.rfind('/');
    if (!path.empty()) {
      FUZZ_CHECK(paths_.contains(slash == std::string::npos ? "" : path.substr(0, slash)));
    }
    ++written_.entries;
  }
  std::set<std::string> paths_;
};

void write_elsewhere(const dump::OpenStack& stack) {
  const image::Progress nobody = [](const image::Written&) {};
  std::string at;
  if (const auto view = image::View::open(stack)) {
    Collector flat;
    (void)image::flatten(**view, flat, nobody, at);
  }
  for (const LayerPath& layer : stack.options().lowers) {
    MountOptions alone;
    alone.lowers.push_back({layer.path, false});
    Failure failure;
    const auto opened = dump::OpenStack::open(alone, failure);
    FUZZ_CHECK(opened != nullptr);
    const auto view = image::View::open(*opened);
    for (const auto format : {image::LayerFormat::kAufs, image::LayerFormat::kOverlay,
                              image::LayerFormat::kUserXattr}) {
      Collector converted;
      (void)image::convert(**view, XattrNamespace::kProbe, format, converted, nobody, at);
    }
  }
}

}  // namespace
}  // namespace plyfs::fuzz

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  FuzzedDataProvider input{data, size};
  const plyfs::fuzz::DrawnLayers drawn{input};
  plyfs::Failure failure;
  const auto stack = plyfs::dump::OpenStack::open(drawn.options(), failure);
  FUZZ_CHECK(stack != nullptr);
  plyfs::fuzz::print_all(*stack);
  plyfs::fuzz::ask_for(*stack, input.ConsumeRandomLengthString(64));
  plyfs::fuzz::verify(*stack);
  plyfs::fuzz::summarise(*stack);
  plyfs::fuzz::compare(*stack);
  plyfs::fuzz::write_elsewhere(*stack);
  return 0;
}
