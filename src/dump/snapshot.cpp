#include "base/text.h"
#include "dump/content.h"
#include "dump/reports.h"

namespace plyfs::dump {
namespace {

/// PATH, layer, state and what the version is, separated by tabs (names are escaped).
std::string snapshot_line(const OpenStack& stack, const Answer& answer, const Version& version,
                          bool digests) {
  const FileStat& stat = version.stat;
  std::string line = '/' + escaped(answer.path) + '\t' + OpenStack::layer_word(version.layer) +
                     '\t' + state_word(version.state);
  if (version.state != State::kWhiteout) {
    line += std::string{"\t"} + type_word(stat.mode) + '\t' + octal_mode(stat.mode) + '\t' +
            std::to_string(stat.uid) + ':' + std::to_string(stat.gid);
    if (!stat.is_directory()) {  // what a directory takes, and when it changed, says little
      line += '\t' + std::to_string(stat.size_bytes) + '\t' + iso_time(stat.mtime);
    }
    if (stat.is_symlink()) {
      const auto target = link_target(stack, version);
      line += "\t-> " + (target ? escaped(*target) : "unreadable");
    }
    if (digests && stat.is_regular() && !version.metacopy) {
      const auto digest = file_digest(stack, version);
      line += '\t' + (digest ? *digest : "unreadable");
    }
  }
  const std::string marks = marks_text(version);
  const std::string reason = reason_text(version.reason);
  line += (marks.empty() ? "" : '\t' + marks) + (reason.empty() ? "" : '\t' + reason);
  if (version.path != answer.path && version.index_entry.empty()) {
    line += "\tat /" + escaped(version.path);
  }
  return line + '\n';
}

}  // namespace

Result<WalkResult> print_snapshot(const OpenStack& stack, Format format, bool digests,
                                  const Sink& sink) {
  Target start = TRY(find_path(stack, ""));
  PrintStyle style;
  style.digests = digests;
  if (format == Format::kJson) {
    JsonStream stream{sink, header(stack, "snapshot"), "entries"};
    const WalkResult result =
        walk(stack, std::move(start), {}, [&](const Answer& answer, std::size_t) {
          return stream.add(answer_json(stack, answer, style)) ? Descend::kYes : Descend::kStop;
        });
    Json tail;
    tail["unreadable_directories"] = result.unreadable.directories;
    stream.finish(tail);
    return result;
  }
  sink("plyfs-dump snapshot " + std::to_string(kSchemaVersion) + '\n');
  for (layer::LayerIndex index = stack.first(); index < stack.layers().size(); ++index) {
    sink("layer\t" + OpenStack::layer_word(index) + '\t' + escaped(stack.layers()[index].path) +
         '\n');
  }
  return walk(stack, std::move(start), {}, [&](const Answer& answer, std::size_t) {
    for (const Version& version : answer.versions) {
      if (!sink(snapshot_line(stack, answer, version, digests))) {
        return Descend::kStop;
      }
    }
    if (answer.error) {
      sink('/' + escaped(answer.path) + "\t-\terror\t" + answer.error->message() + '\n');
    }
    return Descend::kYes;
  });
}

}  // namespace plyfs::dump
