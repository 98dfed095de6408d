#include "commands/volume_transfer.h"

#include <CLI/CLI.hpp>
#include <cerrno>
#include <clocale>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>
#include <system_error>

#include "commands/output.h"
#include "commands/progress.h"
#include "config/cli_stack.h"
#include "config/failure_text.h"
#include "image/target_file.h"
#include "store/transfer.h"
#include "sys/file_io.h"
#include "sys/object_stat.h"
#include "sys/open.h"
#include "sys/terminal.h"
#include "tar/export_tree.h"
#include "tar/import_tree.h"

namespace plyfs::commands {
namespace {

constexpr std::string_view kTransferProgram = "plyfs";

using config::system_failure;
using config::usage_failure;

struct TransferWords {
  std::string name;
  std::string file;
  std::string progress = "auto";
  bool replace = false;
  std::uint64_t most_bytes = 0;  ///< 0: what is free
  std::size_t most_depth = tar::ImportLimits{}.most_depth;
};

int fail_transfer(const Failure& failure) { return complain(kTransferProgram, failure); }

void tell(const std::string& what, const std::string& path, const std::string& why) {
  (void)std::fprintf(stderr, "plyfs: %s: %s: %s\n", what.c_str(), config::shown(path).c_str(),
                     why.c_str());
}

const char* transfer_remedy(Errno error) {
  switch (error.value()) {
    case EACCES:
    case EPERM:
      return "run as root, or as the owner of what is in the volume";
    case ENOSPC:
    case EDQUOT:
      return "free some space";
    case EIO:
    case EAGAIN:
      return "it changed while it was read: stop the writer, or try again";
    case EFBIG:
      return "it yields more than there is room for, or than --max-size says: do not trust it, or "
             "say --max-size BYTES";
    case EISDIR:
      return "a directory and something else have one name";
    default:
      return "see what this error says about the path";
  }
}

/// The tar goes aside and gets its name when it is whole; "-" and nothing: standard output.
int export_volume(const TransferWords& words) {
  const bool to_stdout = words.file.empty() || words.file == "-";
  const auto compression = to_stdout ? tar::Compression::kNone : tar::compression_of(words.file);
  if (!compression) {
    return fail_transfer(usage_failure({"cannot export to", words.file, Errno{EINVAL},
                                        "let the name end in .tar, .tar.gz or .tar.zst"}));
  }
  if (to_stdout && sys::is_terminal(sys::BorrowedFd{1})) {
    return fail_transfer(usage_failure({"cannot export to", "a terminal", Errno{EINVAL},
                                        "use -o FILE.tar, or redirect the output"}));
  }
  store::HeldVolume volume;
  if (const auto failure = volume.hold(words.name)) {
    return fail_transfer(*failure);
  }
  const auto root =
      sys::open_listing({sys::BorrowedFd{-100 /* AT_FDCWD */}, volume.data().c_str()});
  if (!root) {
    return fail_transfer(system_failure(
        {"cannot read volume", volume.data(), root.error(), transfer_remedy(root.error())}));
  }
  std::optional<image::TargetFile> target;
  if (!to_stdout) {
    auto created = image::TargetFile::create(words.file);
    if (!created) {
      return fail_transfer(system_failure(
          {"cannot write", words.file, created.error(), "choose another place for the tar"}));
    }
    target.emplace(*std::move(created));
  }
  Status target_status;
  const auto sink = [&](std::string_view bytes) {
    errno = 0;
    target_status = target             ? target->write(bytes)
                    : write_out(bytes) ? Status{}
                                       : Status{Errno{errno}};
    return target_status;
  };
  std::string at;
  Status done;
  {
    ProgressLine line{progress_mode(words.progress), "export"};
    const std::uint64_t total = line.wanted() ? tar::content_bytes(root->borrow()) : 0;
    const tar::ExportEvents events{
        [&](std::uint64_t entries, std::uint64_t bytes) {
          total > 0 ? line.show_part(std::min(bytes, total), total) : line.show(entries, bytes);
        },
        [](const std::string& path) { tell("left out", path, "a socket; no tar can hold it"); }};
    auto output = tar::TarOutput::open(*compression, {}, sink);
    done = output ? tar::export_tree(root->borrow(), **output, events, at) : Status{output.error()};
    if (done) {
      at.clear();
      done = (*output)->finish();
    }
  }
  if (done && target) {
    done = target_status = target->publish();
  }
  if (!target_status) {
    return to_stdout && target_status.error() == EPIPE
               ? fail_transfer(
                     system_failure({"cannot write", "standard output", target_status.error(),
                                     "who reads it ended before the end"}))
               : fail_transfer(system_failure(
                     {"cannot write", to_stdout ? "standard output" : words.file,
                      target_status.error(), transfer_remedy(target_status.error())}));
  }
  if (!done) {
    return fail_transfer(
        system_failure({"cannot export", at.empty() ? volume.data() : volume.data() + "/" + at,
                        done.error(), transfer_remedy(done.error())}));
  }
  return finish_out(kTransferProgram, 0);
}

/// How much of the archive was read, where its size is known.
class ImportProgress {
 public:
  ImportProgress(const TransferWords& words, const std::string& file)
      : line_(progress_mode(words.progress), "import") {
    std::error_code error;
    if (!file.empty() && std::filesystem::is_regular_file(file, error)) {
      const auto size = std::filesystem::file_size(file, error);
      total_ = error ? 0 : size;
    }
  }
  void show(std::uint64_t entries, std::uint64_t read_bytes) {
    total_ > 0 ? line_.show_part(std::min<std::uint64_t>(read_bytes, total_), total_)
               : line_.show(entries, read_bytes);
  }

 private:
  ProgressLine line_;
  std::uint64_t total_ = 0;
};

int import_volume(const TransferWords& words) {
  const std::string file = words.file == "-" ? "" : words.file;
  const std::string shown = file.empty() ? "standard input" : file;
  store::Replacement replacement;
  if (const auto failure = replacement.begin(words.name, words.replace)) {
    return fail_transfer(*failure);
  }
  tar::TarInput input;
  if (const Status opened = input.open(file); !opened) {
    const std::string why = input.problem() + ": give a tar, compressed or not";
    return fail_transfer(
        system_failure({"cannot read the archive", shown, opened.error(),
                        opened.error() == EPROTO ? why : "name a file that you may read"}));
  }
  const sys::BorrowedFd here{-100 /* AT_FDCWD */};
  const auto root = sys::open_listing({here, replacement.stage().c_str()});
  const auto before = sys::stat_object({here, replacement.data().c_str()});
  if (!root || !before) {
    const Errno error = root ? before.error() : root.error();
    return fail_transfer(
        system_failure({"cannot use volume", words.name, error, transfer_remedy(error)}));
  }
  std::error_code unknown;
  const auto space = std::filesystem::space(replacement.stage(), unknown);
  tar::ImportLimits limits;
  limits.most_depth = words.most_depth;
  limits.most_bytes = words.most_bytes != 0 ? words.most_bytes
                      : unknown             ? limits.most_bytes
                                            : space.available;
  tar::ImportTrouble trouble;
  Status done;
  {
    ImportProgress progress{words, file};
    const tar::ImportEvents events{
        [&](std::uint64_t entries) { progress.show(entries, input.read_bytes()); },
        [](const std::string& path, const std::string& what, Errno error) {
          tell("left out", path, what + ": " + error.message());
        }};
    done = tar::import_tree(input, root->borrow(), *before, limits, events, trouble);
  }
  if (!done) {
    const std::string subject = trouble.path.empty() ? shown : trouble.path;
    const std::string remedy =
        trouble.remedy.empty() ? transfer_remedy(done.error()) : trouble.remedy;
    return fail_transfer(
        system_failure({trouble.path.empty() ? "cannot read the archive" : "cannot import", subject,
                        done.error(), remedy + "; nothing was changed"}));
  }
  if (const Status synced = sys::sync_filesystem(root->borrow()); !synced) {
    return fail_transfer(system_failure(
        {"cannot import into volume", words.name, synced.error(), "nothing was changed"}));
  }
  if (const auto failure = replacement.publish()) {
    return fail_transfer(*failure);
  }
  return 0;
}

void set_up_transfer(CLI::App& app, TransferWords& words, bool exports) {
  app.add_option("NAME", words.name, "name of a volume")->required();
  app.add_option(exports ? "-o,--output" : "-i,--input", words.file,
                 exports ? "FILE.tar, FILE.tar.gz or FILE.tar.zst (default: standard output)"
                         : "a tar, compressed or not (default: standard input)")
      ->type_name("FILE");
  app.add_option("--progress", words.progress, "auto, plain or none")
      ->check(CLI::IsMember({"auto", "plain", "none"}))
      ->type_name("KIND");
  if (exports) {
    app.footer(
        "Examples:\n  plyfs volume export web -o web.tar.zst\n"
        "  plyfs volume export web | ssh host plyfs volume import web");
    return;
  }
  app.add_flag("-f,--force", words.replace,
               "replace what is in the volume, all of it, in one step");
  app.add_option("--max-size", words.most_bytes,
                 "refuse a tar that has more than this without compression (default: what is free)")
      ->type_name("BYTES");
  app.add_option("--max-depth", words.most_depth, "refuse paths of more components (default: 1000)")
      ->type_name("N");
  app.footer(
      "All or nothing: on an error the volume is as before. Refused while a mount uses it.\n"
      "Examples:\n  plyfs volume create web && plyfs volume import web -i web.tar.zst\n"
      "  plyfs volume import --force web -i older.tar");
}

}  // namespace

std::optional<int> run_volume_transfer(std::span<const char* const> words) {
  if (config::command_of(words) != "volume" || words.size() < 3) {
    return std::nullopt;
  }
  const std::string_view command = words[2];
  if (command != "export" && command != "import") {
    return std::nullopt;
  }
  // Names are UTF-8 or bytes; in the C locale libarchive would take all of them for bytes.
  (void)std::setlocale(LC_CTYPE, "C.UTF-8");
  const bool exports = command == "export";
  TransferWords given;
  CLI::App app{exports ? "Write what is in a volume as a tar: owners, modes, times, links, xattrs, "
                         "ACLs, holes."
                       : "Fill a volume from a tar.",
               "plyfs volume " + std::string{command}};
  set_up_transfer(app, given, exports);
  if (const auto settled =
          config::run_parser(app, words.subspan(3), "plyfs volume " + std::string{command})) {
    if (settled->action == config::Action::kFail) {
      return fail_transfer(settled->failure);
    }
    (void)write_out(settled->output);
    return finish_out(kTransferProgram, 0);
  }
  return exports ? export_volume(given) : import_volume(given);
}

}  // namespace plyfs::commands
