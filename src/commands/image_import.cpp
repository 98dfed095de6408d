#include "commands/image_import.h"

#include <cstdio>
#include <thread>

#include "base/text.h"
#include "commands/output.h"
#include "commands/progress.h"
#include "config/failure_text.h"
#include "oci/import.h"

namespace plyfs::commands {
namespace {

using oci::Json;

int wrong_word(const char* what, const std::string& subject, const char* remedy) {
  return complain(kMainProgram, config::usage_failure({what, subject, Errno{EINVAL}, remedy}));
}

void warn_import(const std::string& text) {
  (void)std::fprintf(stderr, "plyfs: %s\n", escaped(text).c_str());
}

/// What this user could not keep, said once for each layer.
void warn_of(const oci::LayerRecord& layer) {
  const std::string name = "layer " + oci::hex_of(layer.diff_id).substr(0, 12);
  if (layer.squashed > 0) {
    warn_import(
        name + ": " + std::to_string(layer.squashed) +
        " objects belong to you instead of their owners: the right ones take subordinate ids "
        "(newuidmap, /etc/subuid)");
  }
  if (layer.left_out_count > 0) {
    const auto& [path, what] = layer.left_out.front();
    warn_import(name + ": left out, as you may not make or keep it: " +
                std::to_string(layer.left_out_count) + " in all, as " + what + " of /" + path);
  }
}

Json as_json(const oci::ImportedImage& image) {
  Json names = Json::array();
  for (const oci::Reference& reference : image.references) {
    names.push_back(reference.text());
  }
  std::uint64_t entries = 0;
  std::uint64_t bytes = 0;
  std::uint64_t left_out = 0;
  std::uint64_t squashed = 0;
  for (const oci::LayerRecord& layer : image.new_layers) {
    entries += layer.entries;
    bytes += layer.bytes;
    left_out += layer.left_out_count;
    squashed += layer.squashed;
  }
  return Json{{"id", image.record.id},
              {"manifest", image.record.manifest},
              {"names", std::move(names)},
              {"layers", image.record.layers.size()},
              {"new_layers", image.new_layers.size()},
              {"entries", entries},
              {"content_bytes", bytes},
              {"left_out", left_out},
              {"squashed", squashed}};
}

int report_import(const ImageImportWords& words, const std::vector<oci::ImportedImage>& imported) {
  Json list = Json::array();
  std::string text;
  for (const oci::ImportedImage& image : imported) {
    for (const oci::LayerRecord& layer : image.new_layers) {
      warn_of(layer);
    }
    for (const std::string& name : image.bad_names) {
      warn_import("no name for an image, left out: " + name + "; --ref gives it one");
    }
    if (image.other_platform) {
      warn_import("this image is for " + image.record.platform.text() + ", not for this machine");
    }
    list.push_back(as_json(image));
    if (words.quiet || image.references.empty()) {
      text += image.record.id + "\n";
    }
    for (const oci::Reference& reference : image.references) {
      text += words.quiet ? "" : reference.text() + "\n";
    }
  }
  if (words.json) {
    text =
        Json{{"plyfs", "image import"}, {"schema", 1}, {"images", std::move(list)}}.dump(2) + "\n";
  }
  (void)write_out(text);
  return finish_out(kMainProgram, 0);
}

void set_limit(std::uint64_t given, auto& limit) {
  if (given != 0) {
    limit = static_cast<std::remove_reference_t<decltype(limit)>>(given);
  }
}

}  // namespace

void add_image_import(CLI::App& app, ImageImportWords& words) {
  app.add_option("FILE", words.path,
                 "an OCI layout or a docker-archive, as a directory or a tar; - reads a tar from "
                 "standard input")
      ->required();
  app.add_option("--ref", words.reference, "the name to give it, instead of those in the archive")
      ->type_name("NAME[:TAG]");
  app.add_option("--select", words.select, "which image of an archive that holds several")
      ->type_name("NAME");
  app.add_option("--platform", words.platform, "default: this machine's")
      ->type_name("OS/ARCH[/VARIANT]");
  app.add_flag("--no-blobs", words.no_blobs,
               "do not keep the compressed layers: saves space; an export then has other digests");
  app.add_option("--max-size", words.most_bytes, "most bytes of all layers, unpacked (128G)")
      ->transform(CLI::AsSizeValue(false))
      ->type_name("SIZE");
  app.add_option("--max-entries", words.most_entries, "most objects in all layers (10000000)")
      ->type_name("N");
  app.add_option("--max-layers", words.most_layers, "most layers of an image (500)")
      ->type_name("N");
  app.add_option("--max-depth", words.most_depth, "most directories in each other (256)")
      ->type_name("N");
  app.add_option("--progress", words.progress, "auto, plain or none")
      ->check(CLI::IsMember({"auto", "plain", "none"}))
      ->type_name("KIND");
  app.add_flag("-q,--quiet", words.quiet, "print ids only");
  app.add_flag("--json", words.json, "print the result as JSON");
  app.footer(
      "Examples:\n  plyfs image import image.tar\n"
      "  skopeo copy docker://debian oci-archive:/dev/stdout | plyfs image import - --ref debian\n"
      "  plyfs image import --platform linux/arm64 layout/ --ref web:2");
}

int run_image_import(const oci::ImageStore& store, const ImageImportWords& words) {
  oci::ImportOptions options;
  options.path = words.path;
  options.select = words.select;
  options.keep_blobs = !words.no_blobs;
  options.threads = std::max(1U, std::thread::hardware_concurrency());
  set_limit(words.most_bytes, options.limits.bytes);
  set_limit(words.most_entries, options.limits.entries);
  set_limit(words.most_layers, options.limits.layers);
  set_limit(words.most_depth, options.limits.depth);
  if (!words.reference.empty()) {
    options.reference = oci::parse_reference(words.reference);
    if (!options.reference) {
      return wrong_word("bad image name", words.reference, "write NAME[:TAG], as in web:2");
    }
  }
  if (!words.platform.empty()) {
    options.platform = oci::parse_platform(words.platform);
    if (!options.platform) {
      return wrong_word("bad platform", words.platform, "write OS/ARCH, as in linux/arm64");
    }
  }
  std::vector<oci::ImportedImage> imported;
  oci::MaybeFailure failure;
  {
    ProgressLine line{progress_mode(words.progress), "import"};
    options.progress = [&](std::uint64_t done, std::uint64_t total) {
      line.show_part(done, std::max<std::uint64_t>(total, 1));
    };
    failure = oci::import_images(store, options, imported);
  }
  return failure ? complain(kMainProgram, *failure) : report_import(words, imported);
}

}  // namespace plyfs::commands
