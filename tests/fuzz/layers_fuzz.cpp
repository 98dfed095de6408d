// A stack of layers made from the input, seen by every question of plyfs-dump and by diff. Wrong
// marks, odd names and loops must give a report: never a crash, a hang, or text that is not
// escaped.
#include <fuzzer/FuzzedDataProvider.h>

#include <cstdint>
#include <filesystem>
#include <string>

#include "check.h"
#include "drawn_layers.h"
#include "dump/layers.h"
#include "dump/open_stack.h"
#include "dump/reports.h"
#include "dump/verify.h"
#include "image/changes.h"

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
    (void)(*changes)->compare([](const image::Difference&) { return Status{}; }, at);
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
  return 0;
}
