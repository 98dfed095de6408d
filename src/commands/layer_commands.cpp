#include "commands/layer_commands.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/text.h"
#include "commands/image_export.h"
#include "commands/output.h"
#include "commands/progress.h"
#include "commands/stack_argument.h"
#include "config/cli_stack.h"
#include "config/failure_text.h"
#include "image/changes.h"
#include "image/convert.h"
#include "image/directory_writer.h"
#include "image/replace_directory.h"
#include "image/tar_writer.h"
#include "image/target_check.h"
#include "sys/creds.h"
#include "sys/interrupts.h"
#include "tar/tar_output.h"

namespace plyfs::commands {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::string_view kProgram = "plyfs";

struct Arguments {
  std::string command;
  StackWords stack;
  std::vector<std::string> positionals;
  std::string layer;  ///< convert's
  std::string target;
  std::string format;
  std::string progress = "auto";
  bool json = false;
  bool all = false;
  bool userxattr = false;  ///< convert: marks in user.* are believed
  ImageCommitWords image;
};

int fail(const Failure& failure) { return complain(kProgram, failure); }

int fail(const char* what, const std::string& subject, Errno error, const char* remedy) {
  return fail(config::system_failure({what, subject, error, remedy}));
}

const char* remedy_of(Errno error) {
  switch (error.value()) {
    case EPERM:
    case EACCES:
      return "run as root, or as the owner of all layers; a .tar keeps owners that you may not set";
    case EEXIST:
      return "choose another target, or remove what is there";
    case ENOSPC:
    case EDQUOT:
      return "free some space";
    case ENODATA:
      return "name a stack with an upper and at least one lower layer";
    case EINTR:
      return "it was interrupted: nothing was written";
    case EOPNOTSUPP:
      return "redirects and metadata-only files have no form there: commit the upper to a "
             "directory "
             "(--format aufs), which writes them whole";
    case ENAMETOOLONG:
      return "the path is longer than any program could name";
    default:
      return "see 'plyfs-dump STACK verify' for what is wrong with the layers";
  }
}

const char* remedy_of_target(Errno error) {
  switch (error.value()) {
    case ENOENT:
    case ENOTDIR:
      return "create the directory that is to hold it, or correct the path";
    case EINVAL:
      return "name a new directory, or a .tar, .tar.gz or .tar.zst";
    case EISDIR:
      return "it is a directory: name a file, or a directory without .tar in its name";
    case EPERM:
    case EACCES:
      return "choose a place that you may write";
    default:
      return remedy_of(error);
  }
}

image::LayerFormat format_of(const std::string& word) {
  if (word == "aufs") {
    return image::LayerFormat::kAufs;
  }
  const bool trusted = word.empty() ? sys::current_privileges().sys_admin : word == "overlay";
  return trusted ? image::LayerFormat::kOverlay : image::LayerFormat::kUserXattr;
}

/// Nothing when the target may be written; else the exit code, after a complaint.
std::optional<int> refuse_target(const std::string& target, const dump::OpenStack& stack) {
  const auto inside = image::lies_in_stack(target, stack);
  if (!inside) {
    return fail("cannot write target", target, inside.error(), remedy_of_target(inside.error()));
  }
  if (*inside) {
    return fail("cannot write target", target, Errno{EINVAL},
                "it lies in a layer, or in the mount: choose a place outside");
  }
  return std::nullopt;
}

/// Names of archives that a directory would only look like.
bool is_foreign_archive(const std::string& target) {
  constexpr std::string_view kEnds[] = {".zip",  ".tar.xz",  ".txz",   ".tar.bz2",
                                        ".tbz2", ".tar.lz4", ".7z",    ".tar.lzo",
                                        ".rar",  ".cpio",    ".tar.lz"};
  return std::ranges::any_of(kEnds, [&](std::string_view end) { return target.ends_with(end); });
}

Result<std::unique_ptr<image::TreeWriter>> make_writer(const Arguments& arguments) {
  if (const auto compression = tar::compression_of(arguments.target)) {
    return image::make_tar_writer(arguments.target, *compression);
  }
  return image::make_directory_writer(arguments.target, format_of(arguments.format));
}

int report(const Arguments& arguments, const image::Written& written) {
  for (const std::string& path : written.left_out) {
    (void)std::fprintf(stderr, "plyfs: left out: /%s: a socket; no tar can hold it\n",
                       escaped(path).c_str());
  }
  const bool tar = !written.digest.empty();
  std::string text;
  if (arguments.json) {
    Json json{{"plyfs", arguments.command},
              {"schema", 1},
              {"target", escaped(arguments.target)},
              {"entries", written.entries},
              {"content_bytes", written.bytes}};
    if (tar) {
      json["digest"] = written.digest;
      json["diff_id"] = written.diff_id;
      json["size"] = written.size_bytes;
    }
    text = json.dump(2) + '\n';
  } else {
    text = tar ? "digest   " + written.digest + "\ndiff-id  " + written.diff_id + "\nsize     " +
                     std::to_string(written.size_bytes) + '\n'
               : std::string{};
    text += "entries  " + std::to_string(written.entries) + '\n';
  }
  (void)write_out(text);
  return finish_out(kProgram, 0);
}

std::pair<const char*, dump::Colour> letter_of(image::Change change) {
  switch (change) {
    case image::Change::kAdded:
      return {"A", dump::Colour::kGreen};
    case image::Change::kDeleted:
      return {"D", dump::Colour::kRed};
    case image::Change::kSame:
      return {"S", dump::Colour::kDim};
    case image::Change::kChanged:
    case image::Change::kOpaque:
      return {"C", dump::Colour::kYellow};
  }
  return {"C", dump::Colour::kYellow};
}

int diff(const Arguments& arguments, const dump::OpenStack& stack) {
  Failure failure;
  const auto changes = image::Changes::open(stack, failure);
  if (!changes) {
    return failure.what.empty()
               ? fail("cannot compare", "stack", changes.error(), remedy_of(changes.error()))
               : fail(failure);
  }
  Json list = Json::array();
  dump::PrintStyle style;
  style.colour = !arguments.json && may_colour();
  const image::Visit visit = [&](const image::Difference& difference) -> Status {
    const bool hidden = difference.change == image::Change::kSame && !arguments.all;
    if (difference.path.empty() || hidden) {
      return {};
    }
    const auto [letter, colour] = letter_of(difference.change);
    const std::string path = '/' + escaped(difference.path);
    if (arguments.json) {
      list.push_back({{"change", letter}, {"path", path}});
    } else if (!write_out(dump::coloured(style, colour, letter + (' ' + path)) + '\n')) {
      return Errno{EPIPE};
    }
    return {};
  };
  std::string at;
  const Status compared = (*changes)->compare(image::Replaced::kByName, visit, at);
  if (!compared && !(compared.error() == EPIPE)) {
    (void)finish_out(kProgram, 0);
    return fail("cannot compare", '/' + at, compared.error(), remedy_of(compared.error()));
  }
  if (arguments.json) {
    (void)write_out(Json{{"plyfs", "diff"}, {"schema", 1}, {"changes", list}}.dump(2) + '\n');
  }
  return finish_out(kProgram, 0);
}

int write_tree(const Arguments& arguments, const dump::OpenStack& stack) {
  if (is_foreign_archive(arguments.target)) {
    return fail(config::usage_failure({"cannot write target", arguments.target, Errno{EINVAL},
                                       "archives end in .tar, .tar.gz or .tar.zst; a directory of "
                                       "that name is meant with a slash at its end"}));
  }
  const bool commit = arguments.command == "commit";
  const char* const what = commit ? "cannot commit" : "cannot flatten";
  Failure failure;
  std::unique_ptr<image::Changes> changes;
  std::unique_ptr<image::View> view;
  if (commit) {
    auto opened = image::Changes::open(stack, failure);
    if (!opened) {
      return failure.what.empty() ? fail(what, "stack", opened.error(), remedy_of(opened.error()))
                                  : fail(failure);
    }
    changes = *std::move(opened);
  } else {
    auto opened = image::View::open(stack);
    if (!opened) {
      return fail(what, "stack", opened.error(), remedy_of(opened.error()));
    }
    view = *std::move(opened);
  }
  if (const auto refused = refuse_target(arguments.target, stack)) {
    return *refused;
  }
  const sys::NotedInterrupts interrupts;
  auto writer = make_writer(arguments);
  if (!writer) {
    return fail("cannot write target", arguments.target, writer.error(),
                remedy_of_target(writer.error()));
  }
  std::string at;
  Status written;
  {
    ProgressLine line{progress_mode(arguments.progress), arguments.command};
    const image::Progress progress = [&](const image::Written& so_far) {
      line.show(so_far.entries, so_far.bytes);
    };
    written = commit ? image::commit(*changes, **writer, progress, at)
                     : image::flatten(*view, **writer, progress, at);
  }
  if (!written) {
    return fail(what, at.empty() ? arguments.target : '/' + at, written.error(),
                remedy_of(written.error()));
  }
  return report(arguments, (*writer)->written());
}

int convert(Arguments arguments) {
  MountOptions options;
  options.lowers.push_back({arguments.layer, false});
  options.xattr_namespace = arguments.userxattr ? XattrNamespace::kUser : XattrNamespace::kProbe;
  const bool in_place = arguments.target.empty();
  if (in_place) {
    while (arguments.layer.size() > 1 && arguments.layer.ends_with('/')) {
      arguments.layer.pop_back();  // what is written goes beside it, not into it
    }
    arguments.target = arguments.layer + ".plyfs-converted";
  }
  Failure failure;
  const auto stack = dump::OpenStack::open(options, failure);
  if (!stack) {
    return fail(failure);
  }
  if (const auto refused = refuse_target(arguments.target, *stack)) {
    return *refused;
  }
  const sys::NotedInterrupts interrupts;
  const auto view = image::View::open(*stack);
  auto writer = image::make_directory_writer(arguments.target, format_of(arguments.format));
  if (!view || !writer) {
    const Errno error = view ? writer.error() : view.error();
    return fail("cannot write target", arguments.target, error, remedy_of_target(error));
  }
  std::string at;
  Status written;
  {
    ProgressLine line{progress_mode(arguments.progress), arguments.command};
    const image::Progress progress = [&](const image::Written& so_far) {
      line.show(so_far.entries, so_far.bytes);
    };
    written = image::convert(**view, options.xattr_namespace, format_of(arguments.format), **writer,
                             progress, at);
  }
  if (written && in_place) {
    at = "";
    written = image::replace_directory(arguments.layer, arguments.target);
    arguments.target = arguments.layer;
  }
  if (!written) {
    return fail("cannot convert", at.empty() ? arguments.target : '/' + at, written.error(),
                written.error() == EPERM
                    ? "others may have written its mark: --userxattr, if you trust them"
                    : remedy_of(written.error()));
  }
  return report(arguments, (*writer)->written());
}

constexpr const char* kStackHelp =
    "\nSTACK is a mount point, the name of a mount, or layer options. Volumes are left out.";

void add_writer_options(CLI::App& app, Arguments& arguments) {
  app.add_option("--progress", arguments.progress, "auto, plain or none")
      ->check(CLI::IsMember({"auto", "plain", "none"}))
      ->type_name("KIND");
  app.add_flag("--json", arguments.json, "print the result as JSON");
}

void set_up(CLI::App& app, Arguments& arguments) {
  const auto& command = arguments.command;
  if (command == "convert") {
    app.add_option("LAYER", arguments.layer, "a layer's directory")->required()->type_name("DIR");
    app.add_option("TARGET", arguments.target, "where to write it (default: in its place)")
        ->type_name("DIR");
    app.add_option("--to", arguments.format,
                   "overlay (trusted.*), userxattr (user.*) or aufs (.wh.)")
        ->check(CLI::IsMember({"overlay", "userxattr", "aufs"}))
        ->required();
    app.add_flag("--userxattr", arguments.userxattr,
                 "believe marks in user.*, whoever may have written them, as the mount option");
    add_writer_options(app, arguments);
    app.footer(
        "Without TARGET the layer itself is replaced, in one step, when all is written.\n"
        "Examples:\n  plyfs convert upper --to aufs layer\n  plyfs convert layer --to overlay");
    return;
  }
  add_stack_options(app, arguments.stack);
  app.add_option(
      "STACK", arguments.positionals,
      command == "diff" ? "a mount point or name" : "a mount point or name; then TARGET");
  if (command == "diff") {
    app.add_flag("--all", arguments.all, "list copies without a change too, as S");
    app.add_flag("--json", arguments.json, "print JSON");
    app.footer(std::string{"Prints A (added), C (changed), D (deleted), as docker diff.\n"
                           "Examples:\n  plyfs diff merged\n"
                           "  plyfs diff --upper up --lower base"} +
               kStackHelp);
    return;
  }
  add_writer_options(app, arguments);
  if (command == "commit") {
    app.add_option("--format", arguments.format,
                   "of a directory: overlay, userxattr or aufs (default: what you may write)")
        ->check(CLI::IsMember({"overlay", "userxattr", "aufs"}));
    app.add_option("--image", arguments.image.reference,
                   "instead of TARGET: a new image in the store, on the layers of the present one")
        ->type_name("NAME[:TAG]");
    app.add_option("--message", arguments.image.message, "for its history")->type_name("TEXT");
    app.add_option("--author", arguments.image.author, "who made it")->type_name("TEXT");
    config::add_repeated(app, "-c,--change", arguments.image.changes,
                         "of its config, as in a Dockerfile: ENV=K=V, CMD=[\"word\"], WORKDIR=DIR")
        ->type_name("WORD=VALUE");
  }
  app.footer(
      "TARGET is a new directory, or a .tar, .tar.gz or .tar.zst (an OCI layer).\n"
      "Examples:\n  plyfs " +
      command + " merged layer.tar.zst\n  plyfs " + command + " --upper up --lower base out" +
      kStackHelp);
}

int run(Arguments& arguments) {
  if (arguments.command == "convert") {
    return convert(arguments);
  }
  auto& words = arguments.positionals;
  const bool to_image = !arguments.image.reference.empty();
  const bool has_target = arguments.command != "diff" && !to_image;
  if (has_target) {
    if (words.empty()) {
      return fail(config::usage_failure({"no target given", arguments.command, Errno{EINVAL},
                                         "name a directory or a .tar to write"}));
    }
    arguments.target = words.back();
    words.pop_back();
  }
  if (words.size() > 1) {
    return fail(config::usage_failure(
        {"too many arguments", words[1], Errno{E2BIG}, "see 'plyfs COMMAND --help'"}));
  }
  arguments.stack.target = words.empty() ? "" : words.front();
  if (to_image) {
    arguments.image.progress = arguments.progress;
    arguments.image.json = arguments.json;
    return commit_to_image(arguments.stack, arguments.image);
  }
  Failure failure;
  const auto stack = open_stack(arguments.stack, failure);
  if (!stack) {
    return fail(failure);
  }
  return has_target ? write_tree(arguments, *stack) : diff(arguments, *stack);
}

}  // namespace

std::optional<int> run_layer_command(std::span<const char* const> words) {
  constexpr std::string_view kCommands[] = {"diff", "commit", "flatten", "convert"};
  if (std::ranges::find(kCommands, config::command_of(words)) == std::end(kCommands)) {
    return std::nullopt;
  }
  Arguments arguments;
  arguments.command = words[1];
  CLI::App app{"", "plyfs " + arguments.command};
  set_up(app, arguments);
  std::vector<std::string> reversed(words.rbegin(), words.rend() - 2);
  try {
    app.parse(std::move(reversed));
  } catch (const CLI::CallForHelp&) {
    (void)write_out(app.help());
    return finish_out(kProgram, 0);
  } catch (const CLI::ParseError& error) {
    const std::string hint = "see 'plyfs " + arguments.command + " --help'";
    return fail(config::usage_failure({"wrong usage", error.what(), Errno{EINVAL}, hint}));
  }
  return run(arguments);
}

}  // namespace plyfs::commands
