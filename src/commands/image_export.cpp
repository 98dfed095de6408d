#include "commands/image_export.h"

#include <cstdio>
#include <optional>

#include "base/scope_exit.h"
#include "base/text.h"
#include "commands/image_use.h"
#include "commands/output.h"
#include "commands/progress.h"
#include "config/failure_text.h"
#include "image/target_file.h"
#include "oci/commit.h"
#include "oci/export.h"
#include "oci/verify.h"
#include "sys/durable_file.h"
#include "sys/terminal.h"

namespace plyfs::commands {
namespace {

using oci::Json;

int fail_export(const Failure& failure) { return complain(kMainProgram, failure); }

/// As it was asked for, else all that it has.
std::vector<oci::Reference> names_to_export(const oci::ImageStore& store, const std::string& asked,
                                            const std::string& id) {
  std::vector<oci::Reference> names;
  for (const oci::NamedImage& named : store.list_refs()) {
    const auto wanted = oci::parse_reference(asked);
    if (named.id == id && wanted && oci::is_meant(named.reference, *wanted)) {
      return {named.reference};
    }
    if (named.id == id) {
      names.push_back(named.reference);
    }
  }
  return names;
}

int write_export(const oci::OutgoingImage& image, const std::vector<oci::Reference>& names,
                 const ImageExportWords& words, const std::string& stage) {
  std::uint64_t total = 1;
  for (const oci::ImageLayer& layer : image.record.layers) {
    total += static_cast<std::uint64_t>(layer.size_bytes);
  }
  const bool to_stdout = words.target == "-";
  std::optional<image::TargetFile> file;
  if (!to_stdout) {
    auto created = image::TargetFile::create(words.target);
    if (!created) {
      return fail_export(
          config::system_failure({"cannot write", words.target, created.error(),
                                  "create the directory that is to hold it, or correct the path"}));
    }
    file.emplace(*std::move(created));
  }
  ProgressLine line{progress_mode(words.progress), "export"};
  const oci::ExportSink sink{
      [&](std::string_view bytes) -> Status {
        return !to_stdout ? file->write(bytes) : write_out(bytes) ? Status{} : Errno{EPIPE};
      },
      [&](std::uint64_t bytes) { line.show_part(bytes, total); }};
  const auto format =
      words.format == "docker" ? oci::ArchiveFormat::kDocker : oci::ArchiveFormat::kOci;
  if (const auto failure = oci::export_image(image, names, format, stage, sink)) {
    return fail_export(*failure);
  }
  if (to_stdout) {
    return finish_out(kMainProgram, 0);
  }
  if (const Status published = file->publish(); !published) {
    return fail_export(config::system_failure(
        {"cannot write", words.target, published.error(), "free some space"}));
  }
  return 0;
}

}  // namespace

int export_image(const oci::ImageStore& store, const ImageExportWords& words) {
  if (words.target == "-" && sys::is_terminal(sys::BorrowedFd{1})) {
    return fail_export(config::usage_failure({"an archive is no text for a terminal", "-",
                                              Errno{EINVAL}, "name a file, or pipe it on"}));
  }
  oci::ImageRecord image;
  if (const auto failure = store.resolve(words.name, "cannot export an image", image)) {
    return fail_export(*failure);
  }
  sys::UniqueFd held;
  if (const Status kept = store.hold(image.id, held); !kept) {
    return fail_export(config::system_failure({"cannot export an image", words.name, kept.error(),
                                               "it is being removed: import it again"}));
  }
  std::string stage;
  sys::UniqueFd alive;
  if (const auto failure = store.make_stage(stage, alive)) {
    return fail_export(*failure);
  }
  const ScopeExit cleanup{[&] { (void)sys::remove_tree(stage); }};
  oci::OutgoingImage made;
  if (const auto failure = oci::outgoing(store, image, stage, made)) {
    return fail_export(*failure);
  }
  if (made.repacked) {
    (void)std::fprintf(stderr,
                       "plyfs: blobs of this image were not kept, so its layers were packed anew: "
                       "its id is %s now, instead of %s\n",
                       made.record.id.c_str(), image.id.c_str());
  }
  return write_export(made, names_to_export(store, words.name, image.id), words, stage);
}

int verify_images(const oci::ImageStore& store, const std::vector<std::string>& names) {
  std::vector<oci::ImageRecord> images;
  for (const std::string& name : names) {
    if (const auto failure = store.resolve(name, "cannot verify an image", images.emplace_back())) {
      return fail_export(*failure);
    }
  }
  if (names.empty()) {
    images = store.list_images();
  }
  bool good = true;
  for (const oci::ImageRecord& image : images) {
    std::string text;
    oci::VerifyEvents events;
    bool this_good = true;
    events.wrong = [&](const std::string& what) {
      this_good = false;
      text += "  " + what + "\n";
    };
    events.unknown = [&](const std::string& what) { text += "  not checked: " + what + "\n"; };
    oci::verify_image(store, image, events);
    good = good && this_good;
    (void)write_out(image.id + (this_good ? ": good\n" : ": damaged\n") + text);
  }
  return finish_out(kMainProgram, good ? 0 : 1);
}

int commit_to_image(const StackWords& stack_words, const ImageCommitWords& words) {
  const auto reference = oci::parse_reference(words.reference);
  if (!reference) {
    return fail_export(config::usage_failure(
        {"bad image name", words.reference, Errno{EINVAL}, "write NAME[:TAG], as in web:2"}));
  }
  Failure failure;
  oci::ImageStore store;
  const auto options = resolve_stack(stack_words, failure);
  if (!options) {
    return fail_export(failure);
  }
  if (const auto missing = oci::ImageStore::find(store)) {
    return fail_export(*missing);
  }
  if (const auto refused = enter_image_namespace()) {
    return fail_export(*refused);
  }
  const auto stack = dump::OpenStack::open(*options, failure);
  if (!stack) {
    return fail_export(failure);
  }
  ProgressLine line{progress_mode(words.progress), "commit"};
  oci::CommitOptions wanted{
      *reference, words.message, words.author, words.changes,
      [&](const image::Written& so_far) { line.show(so_far.entries, so_far.bytes); }};
  oci::CommittedImage committed;
  if (const auto refused = oci::commit_image(store, *stack, wanted, committed)) {
    return fail_export(*refused);
  }
  for (const std::string& path : committed.layer.left_out) {
    (void)std::fprintf(stderr, "plyfs: left out: /%s: a socket; no tar can hold it\n",
                       escaped(path).c_str());
  }
  if (committed.flattened) {
    (void)std::fputs(
        "plyfs: the layers below are of no image: all that the stack shows became one layer\n",
        stderr);
  }
  const Json result{{"plyfs", "commit"},
                    {"schema", 1},
                    {"image", reference->text()},
                    {"id", committed.record.id},
                    {"digest", committed.layer.digest},
                    {"diff_id", committed.layer.diff_id},
                    {"entries", committed.layer.entries}};
  (void)write_out(words.json ? result.dump(2) + "\n" : committed.record.id + "\n");
  return finish_out(kMainProgram, 0);
}

}  // namespace plyfs::commands
