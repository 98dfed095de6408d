#include "commands/stack_reports.h"

#include "base/text.h"
#include "commands/output.h"
#include "config/failure_text.h"
#include "dump/layers.h"
#include "dump/verify.h"
#include "image/changes.h"
#include "image/repair.h"

namespace plyfs::commands {
namespace {

using dump::Json;

constexpr int kRepaired = 1;  // fsck(8)
constexpr int kErrorsLeft = 4;

int report_failed(const char* what, const std::string& subject, Errno error, const char* remedy) {
  return complain(kDumpProgram, config::system_failure({what, subject, error, remedy}));
}

Json layer_json(layer::LayerIndex index, const dump::LayerSummary& layer, bool content) {
  Json json{{"layer", index},
            {"files", layer.files},
            {"bytes", layer.bytes},
            {"directories", layer.directories},
            {"others", layer.others},
            {"whiteouts", layer.whiteouts},
            {"opaque_directories", layer.opaque},
            {"hidden_files", layer.hidden_files},
            {"hidden_bytes", layer.hidden_bytes}};
  if (content) {
    json["shared_files"] = layer.shared_files;
    json["shared_bytes"] = layer.shared_bytes;
  }
  return json;
}

/// What happened to one object of the upper that the lower layers have, too.
struct CopyUp {
  const char* kind = "";  ///< content, metadata, identical
  std::uint64_t bytes = 0;
};

Result<CopyUp> classify(const image::Changes& changes, const image::Difference& difference) {
  const image::Object& object = *difference.object;
  const bool metadata_only = object.metacopy;
  const auto bytes = static_cast<std::uint64_t>(metadata_only ? 0 : object.stat.size_bytes);
  if (difference.change == image::Change::kSame) {
    return CopyUp{"identical", bytes};
  }
  const bool both_files = object.stat.is_regular() && difference.below->stat.is_regular();
  if (metadata_only ||
      (both_files && object.stat.size_bytes == difference.below->stat.size_bytes &&
       TRY(image::same_content(changes.view(), object, changes.lower_view(), *difference.below)))) {
    return CopyUp{"metadata", bytes};
  }
  return CopyUp{"content", bytes};
}

dump::Colour colour_of(dump::Weight weight) {
  switch (weight) {
    case dump::Weight::kRemark:
      return dump::Colour::kDim;
    case dump::Weight::kRepairable:
      return dump::Colour::kYellow;
    case dump::Weight::kError:
      return dump::Colour::kRed;
  }
  return dump::Colour::kRed;
}

}  // namespace

int report_layers(const ReportArguments& arguments, const dump::OpenStack& stack) {
  Result<dump::LayersReport> report{Errno{EIO}};
  {
    ProgressLine line{arguments.progress, "hashing"};
    report = dump::summarise_layers(
        stack, arguments.no_content ? dump::Sharing::kSkip : dump::Sharing::kFind,
        [&](std::uint64_t done, std::uint64_t total) { line.show_part(done, total); });
  }
  if (!report) {
    return report_failed("cannot read the layers", "/", report.error(), "check their permissions");
  }
  const bool content = !arguments.no_content;
  const std::uint64_t unreadable = report->unreadable_files + report->walked.unreadable.directories;
  const int code = unreadable > 0 ? config::kExitSystem : 0;
  if (arguments.json) {
    Json json = dump::header(stack, "layers");
    Json& list = json["summaries"] = Json::array();
    for (layer::LayerIndex index = stack.first(); index < stack.layers().size(); ++index) {
      list.push_back(layer_json(index, report->layers[index], content));
    }
    json["index_entries"] = report->index_entries;
    json["index_bytes"] = report->index_bytes;
    json["duplicate_bytes"] = report->duplicate_bytes;
    json["unreadable_files"] = report->unreadable_files;
    json["unreadable_directories"] = report->walked.unreadable.directories;
    (void)write_out(json.dump(2) + '\n');
    return finish_out(kDumpProgram, code);
  }
  dump::Table table{{"LAYER", "FILES", "SIZE", "DIRS", "OTHER", "HIDDEN", "SIZE", "WHITEOUTS",
                     "OPAQUE", "SHARED", "SIZE", "DIRECTORY"}};
  for (layer::LayerIndex index = stack.first(); index < stack.layers().size(); ++index) {
    const dump::LayerSummary& layer = report->layers[index];
    const auto& style = arguments.style;
    table.add({dump::OpenStack::layer_word(index), std::to_string(layer.files),
               dump::size_text(style, layer.bytes), std::to_string(layer.directories),
               std::to_string(layer.others), std::to_string(layer.hidden_files),
               dump::size_text(style, layer.hidden_bytes), std::to_string(layer.whiteouts),
               std::to_string(layer.opaque), content ? std::to_string(layer.shared_files) : "-",
               content ? dump::size_text(style, layer.shared_bytes) : "-",
               escaped(stack.layers()[index].path)});
  }
  std::string text = table.text(arguments.style);
  if (report->index_entries > 0) {
    text += "\nHard links share " + std::to_string(report->index_entries) +
            " files of the upper through the index, of which " +
            dump::size_text(arguments.style, report->index_bytes) + " have no name there.\n";
  }
  if (content) {
    text += "\nThe same contents several times: " +
            dump::size_text(arguments.style, report->duplicate_bytes) + " could be saved.\n";
  }
  (void)write_out(text);
  if (unreadable == 0) {
    return finish_out(kDumpProgram, 0);
  }
  (void)finish_out(kDumpProgram, code);
  std::string which;
  if (report->walked.unreadable.directories > 0) {
    which = ", directories: " + dump::unreadable_text(report->walked.unreadable);
  }
  return complain(kDumpProgram,
                  {dump::quantity(report->unreadable_files, "file") + " could not be read" + which +
                       "; run as root, or as the owner of the layers",
                   code});
}

int report_copyups(const ReportArguments& arguments, const dump::OpenStack& stack) {
  Failure failure;
  const auto changes = image::Changes::open(stack, failure);
  if (!changes) {
    return report_failed("cannot compare", "stack", changes.error(),
                         "name a stack with an upper and at least one lower layer");
  }
  Json list = Json::array();
  dump::Table table{{"KIND", "SIZE", "PATH"}};
  std::map<std::string, std::pair<std::uint64_t, std::uint64_t>> sums;
  const image::Visit visit = [&](const image::Difference& difference) -> Status {
    if (difference.object == nullptr || difference.below == nullptr ||
        difference.object->stat.is_directory()) {
      return {};
    }
    const CopyUp found = TRY(classify(**changes, difference));
    auto& [files, bytes] = sums[found.kind];
    ++files;
    bytes += found.bytes;
    const std::string path = '/' + escaped(difference.path);
    if (arguments.json) {
      list.push_back({{"path", path}, {"kind", found.kind}, {"bytes", found.bytes}});
    } else {
      table.add({found.kind, dump::size_text(arguments.style, found.bytes), path});
    }
    return {};
  };
  std::string at;
  const Status compared = (*changes)->compare(image::Replaced::kByName, visit, at);
  if (!compared) {
    return report_failed("cannot compare", '/' + at, compared.error(),
                         "see 'plyfs-dump STACK verify' for what is wrong with the layers");
  }
  if (arguments.json) {
    Json json = dump::header(stack, "copyups");
    json["copies"] = std::move(list);
    for (const char* const kind : {"content", "metadata", "identical"}) {
      json["sums"][kind] = {{"files", sums[kind].first}, {"bytes", sums[kind].second}};
    }
    (void)write_out(json.dump(2) + '\n');
    return finish_out(kDumpProgram, 0);
  }
  std::string text = sums.empty() ? "nothing was copied up\n" : table.text(arguments.style) + '\n';
  for (const auto& [kind, sum] : sums) {
    text += kind + ": " + dump::quantity(sum.first, "file") + ", " +
            dump::size_text(arguments.style, sum.second) +
            (kind == "identical" ? " (wasted)\n" : "\n");
  }
  (void)write_out(text);
  return finish_out(kDumpProgram, 0);
}

int report_verify(const ReportArguments& arguments, const dump::OpenStack& stack) {
  const auto findings = dump::verify(stack);
  if (!findings) {
    return report_failed("cannot verify", "/", findings.error(), "check the layers' permissions");
  }
  std::size_t repaired = 0;
  std::size_t repairable = 0;
  std::size_t errors = 0;
  for (const dump::Finding& finding : *findings) {
    repairable += finding.weight == dump::Weight::kRepairable ? 1 : 0;
    errors += finding.weight == dump::Weight::kError ? 1 : 0;
  }
  if (arguments.repair && repairable > 0) {
    const auto done = image::repair(stack, *findings);
    if (!done) {
      return report_failed("cannot repair", *stack.options().upper, done.error(),
                           "unmount it first; run as the owner of the upper layer");
    }
    repaired = *done;
  }
  const std::size_t left = errors + repairable - repaired;
  Json list = Json::array();
  std::string text;
  for (const dump::Finding& finding : *findings) {
    const bool gone = repaired > 0 && finding.weight == dump::Weight::kRepairable;
    const char* const weight = gone ? "repaired" : dump::weight_word(finding.weight);
    list.push_back({{"problem", dump::problem_word(finding.problem)},
                    {"weight", weight},
                    {"layer", finding.layer},
                    {"path", '/' + escaped(finding.path)},
                    {"text", finding.text}});
    const dump::Colour colour = gone ? dump::Colour::kGreen : colour_of(finding.weight);
    text += dump::coloured(arguments.style, colour, weight) + ": layer " +
            dump::OpenStack::layer_word(finding.layer) + " /" + escaped(finding.path) + ": " +
            finding.text + '\n';
  }
  if (arguments.json) {
    Json json = dump::header(stack, "verify");
    json["findings"] = std::move(list);
    json["left"] = left;
    json["repaired"] = repaired;
    text = json.dump(2) + '\n';
  } else {
    text += findings->empty()
                ? "nothing is wrong\n"
                : std::to_string(left) + " left, " + std::to_string(repaired) + " repaired, " +
                      std::to_string(findings->size() - left - repaired) + " remarks\n";
  }
  (void)write_out(text);
  return finish_out(kDumpProgram, left > 0 ? kErrorsLeft : repaired > 0 ? kRepaired : 0);
}

}  // namespace plyfs::commands
