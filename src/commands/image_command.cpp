#include "commands/image_command.h"

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "commands/image_export.h"
#include "commands/image_import.h"
#include "commands/image_removal.h"
#include "commands/image_reports.h"
#include "commands/image_use.h"
#include "commands/output.h"
#include "config/cli_stack.h"
#include "config/failure_text.h"
#include "store/commands.h"

namespace plyfs::commands {
namespace {

struct ImageWords {
  ImageImportWords import;
  ImageListWords list;
  ImageExportWords outgoing;
  std::vector<std::string> names;
  bool json = false;
  bool force = false;
  bool all = false;
};

/// One command: its arguments, and what it does.
using ImageVerb = int (*)(const oci::ImageStore&, const ImageWords&);

int import_verb(const oci::ImageStore& store, const ImageWords& words) {
  return run_image_import(store, words.import);
}
int list_verb(const oci::ImageStore& store, const ImageWords& words) {
  return list_images(store, words.list);
}
int inspect_verb(const oci::ImageStore& store, const ImageWords& words) {
  return inspect_images(store, words.names);
}
int history_verb(const oci::ImageStore& store, const ImageWords& words) {
  return print_image_history(store, words.names.front(), words.json);
}
int remove_verb(const oci::ImageStore& store, const ImageWords& words) {
  return remove_images(store, words.names, words.force);
}
int prune_verb(const oci::ImageStore& store, const ImageWords& words) {
  return prune_images(store, words.all);
}

int export_verb(const oci::ImageStore& store, const ImageWords& words) {
  return export_image(store, words.outgoing);
}
int verify_verb(const oci::ImageStore& store, const ImageWords& words) {
  return verify_images(store, words.names);
}

constexpr const char* kNameHelp = "NAME[:TAG], or the beginning of an id";

CLI::App& add_verb(CLI::App& app, const char* name, const char* what, ImageVerb verb,
                   ImageVerb& chosen) {
  CLI::App& added = *app.add_subcommand(name, what);
  added.callback([&chosen, verb] { chosen = verb; });
  return added;
}

void set_up_image(CLI::App& app, ImageWords& words, ImageVerb& chosen) {
  app.require_subcommand(1);
  add_image_import(add_verb(app, "import", "get images from an archive", import_verb, chosen),
                   words.import);
  CLI::App& list = add_verb(app, "ls", "list the images", list_verb, chosen);
  list.add_flag("-q,--quiet", words.list.quiet, "print ids only");
  list.add_flag("--json", words.list.json, "print JSON");
  CLI::App& inspect = add_verb(app, "inspect", "all that is known, as JSON", inspect_verb, chosen);
  inspect.add_option("NAME", words.names, kNameHelp)->required();
  CLI::App& history =
      add_verb(app, "history", "what made each layer, the newest first", history_verb, chosen);
  history.add_option("NAME", words.names, kNameHelp)->required()->expected(1);
  history.add_flag("--json", words.json, "print JSON");
  CLI::App& rm = add_verb(app, "rm", "remove names, and images without one", remove_verb, chosen);
  rm.add_option("NAME", words.names, kNameHelp)->required();
  rm.add_flag("-f,--force", words.force, "an id also with all of its names");
  CLI::App& prune =
      add_verb(app, "prune", "remove images without a name, layers and blobs of no image",
               prune_verb, chosen);
  prune.add_flag("-a,--all", words.all, "all images that nothing uses");
  CLI::App& verify = add_verb(app, "verify", "read all of it, and compare", verify_verb, chosen);
  verify.add_option("NAME", words.names, "images (default: all)");
  CLI::App& outgoing = add_verb(app, "export", "write an archive", export_verb, chosen);
  outgoing.add_option("NAME", words.outgoing.name, kNameHelp)->required();
  outgoing.add_option("FILE", words.outgoing.target, "- writes to standard output")->required();
  outgoing.add_option("--format", words.outgoing.format, "oci or docker")
      ->check(CLI::IsMember({"oci", "docker"}))
      ->type_name("FORMAT");
  outgoing.add_option("--progress", words.outgoing.progress, "auto, plain or none")
      ->check(CLI::IsMember({"auto", "plain", "none"}))
      ->type_name("KIND");
  app.footer(
      "Examples:\n  plyfs image import debian.tar --ref debian\n  plyfs image ls\n"
      "  plyfs mount --image debian --upper up merged\n  plyfs run --image debian -- bash\n"
      "  plyfs image rm debian");
}

}  // namespace

std::optional<int> run_image_command(std::span<const char* const> words) {
  if (config::command_of(words) != "image") {
    return std::nullopt;
  }
  CLI::App app{"Images: from archives into the store, and back.", "plyfs image"};
  ImageWords parsed;
  ImageVerb verb = nullptr;
  set_up_image(app, parsed, verb);
  if (const auto settled = config::run_parser(app, words.subspan(2), "plyfs image")) {
    return store::settle(*settled);
  }
  oci::ImageStore store;
  if (const auto failure = oci::ImageStore::find(store)) {
    return complain(kMainProgram, *failure);
  }
  if (const auto failure = enter_image_namespace()) {
    return complain(kMainProgram, *failure);
  }
  return verb(store, parsed);
}

}  // namespace plyfs::commands
