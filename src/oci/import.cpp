#include "oci/import.h"

#include <algorithm>
#include <map>
#include <utility>

#include "base/scope_exit.h"
#include "config/failure_text.h"
#include "oci/manifest.h"
#include "oci/publish.h"
#include "sys/durable_file.h"

namespace plyfs::oci {
namespace {

using config::system_failure;

constexpr std::size_t kMostMembers = 200'000;

const char* remedy_of(Errno error, bool limits) {
  switch (error.value()) {
    case ENOENT:
      return "correct the path, or get the archive anew";
    case EACCES:
    case EPERM:
      return "make it readable for you";
    case EFBIG:
      return limits ? "it is larger than is allowed: --max-size and --max-entries allow more"
                    : "free some space";
    case ENOSPC:
    case EDQUOT:
      return "free some space, or set PLYFS_HOME to a larger filesystem";
    case EPROTO:
      return "get the archive anew";
    default:
      return "see 'plyfs image import --help'";
  }
}

class Import {
 public:
  Import(const ImageStore& store, const ImportOptions& options) : store_(store), options_(options) {
    budget_.bytes = options.limits.bytes;
    budget_.entries = options.limits.entries;
  }

  MaybeFailure find_and_run(std::vector<ImportedImage>& imported) {
    sys::UniqueFd alive;
    if (auto failure = store_.make_stage(stage_, alive)) {
      return failure;
    }
    const ScopeExit cleanup{[this] { (void)sys::remove_tree(stage_); }};
    if (auto failure = find()) {
      return failure;
    }
    if (auto failure = choose_images()) {
      return failure;
    }
    return run(imported);
  }

  MaybeFailure run(const std::string& stage, std::vector<FoundImage> found,
                   std::vector<ImportedImage>& imported) {
    stage_ = stage;
    found_ = std::move(found);
    return run(imported);
  }

 private:
  MaybeFailure run(std::vector<ImportedImage>& imported) {
    const auto marks = make_jobs();
    if (!marks) {
      return system_failure({"cannot use the image store", stage_, marks.error(),
                             "set PLYFS_HOME to a directory of yours"});
    }
    if (auto failure = unpack(*marks, imported)) {
      return failure;
    }
    for (std::size_t i = 0; i < found_.size(); ++i) {
      if (auto failure = finish(found_[i], imported[i])) {
        return failure;
      }
    }
    return std::nullopt;
  }

  MaybeFailure find() {
    FindTrouble trouble;
    auto source = Source::open(options_.path, stage_,
                               {static_cast<std::uint64_t>(options_.limits.bytes), kMostMembers},
                               trouble.why);
    if (!source) {
      return told(source.error(), trouble);
    }
    FindRules rules{options_.platform, options_.limits.layers};
    auto found = find_images(*source, rules, trouble);
    if (!found) {
      return told(found.error(), trouble);
    }
    found_ = *std::move(found);
    return std::nullopt;
  }

  MaybeFailure told(Errno error, const FindTrouble& trouble) const {
    const std::string subject = options_.path + (trouble.where.empty() ? "" : ": " + trouble.where);
    return system_failure({"cannot import", subject, error,
                           trouble.why.empty() ? remedy_of(error, false) : trouble.why.c_str()});
  }

  MaybeFailure choose_images() {
    if (!options_.select.empty()) {
      std::erase_if(found_, [&](const FoundImage& image) {
        return std::ranges::find(image.names, options_.select) == image.names.end() &&
               !hex_of(image.config_digest).starts_with(options_.select);
      });
      if (found_.empty()) {
        return system_failure({"cannot import", options_.path, Errno{ENOENT},
                               "it holds no image called " + options_.select});
      }
    }
    if (options_.reference && found_.size() > 1) {
      std::string names;
      for (const FoundImage& image : found_) {
        names +=
            (names.empty() ? "" : ", ") +
            (image.names.empty() ? hex_of(image.config_digest).substr(0, 12) : image.names.front());
      }
      return config::usage_failure({"one name for several images", options_.reference->text(),
                                    Errno{EINVAL},
                                    "--select chooses one of " + config::shown(names)});
    }
    return std::nullopt;
  }

  /// One job for each layer that is not there already, in the order of the images.
  Result<Marks> make_jobs() {
    std::string probe = stage_ + "/probe";
    const Marks marks = TRY(probe_marks(TRY(make_private_directory(probe)).borrow()));
    for (const FoundImage& image : found_) {
      for (std::size_t i = 0; i < image.layers.size(); ++i) {
        const std::string& diff_id = image.facts.diff_ids[i];
        const LayerSource& source = image.layers[i];
        if (jobs_of_.contains(diff_id) || !source.blob.file) {
          continue;
        }
        LayerJob job{source, diff_id, !store_.has_layer(diff_id), stage_ + "/" + hex_of(diff_id),
                     ""};
        const bool has_blob = !source.digest.empty() && store_.has_blob(source.digest);
        if (options_.keep_blobs && !has_blob) {
          job.blob = job.directory + ".blob";
        }
        // A docker-archive does not say what its blobs' digests are.
        if (job.unpack || !job.blob.empty() || source.digest.empty()) {
          jobs_of_[diff_id] = jobs_.size();
          total_bytes_ += static_cast<std::uint64_t>(source.blob.size_bytes);
          jobs_.push_back(std::move(job));
        }
      }
    }
    return marks;
  }

  MaybeFailure unpack(Marks marks, std::vector<ImportedImage>& imported) {
    done_.resize(jobs_.size());
    LayerJobs running{jobs_, marks, options_.limits.depth, options_.threads, budget_};
    for (const FoundImage& image : found_) {
      ImportedImage& result = imported.emplace_back();
      std::vector<std::string> below;  // the topmost first
      for (const std::string& diff_id : image.facts.diff_ids) {
        const auto job = jobs_of_.find(diff_id);
        const bool fresh = job != jobs_of_.end() && !done_[job->second];
        if (fresh) {
          if (auto failure = finish_layer(running, job->second, marks, below)) {
            return failure;
          }
        }
        if (fresh && jobs_[job->second].unpack) {
          result.new_layers.push_back(record_of(*done_[job->second], marks));
        } else {
          ++result.layers_there;
        }
        below.insert(below.begin(), store_.layer(diff_id));
      }
    }
    return std::nullopt;
  }

  MaybeFailure finish_layer(LayerJobs& running, std::size_t number, Marks marks,
                            const std::vector<std::string>& below) {
    const LayerJob& job = jobs_[number];
    while (!running.wait(number)) {
      options_.progress(budget_.read_bytes, total_bytes_);
    }
    LayerDone done = running.take(number);
    if (done.status && job.unpack) {
      done.status = inherit_attributes(job.directory, done.facts.implied, below);
    }
    if (!done.status) {
      std::string subject = options_.path + ": layer " + job.diff_id;
      subject += done.trouble.path.empty() ? "" : ": " + done.trouble.path;
      return system_failure({"cannot import", subject, done.status.error(),
                             done.trouble.why.empty() ? remedy_of(done.status.error(), true)
                                                      : done.trouble.why.c_str()});
    }
    done_[number] = std::move(done.facts);
    return publish_layer(store_, *done_[number], marks, job.unpack ? job.directory : "", job.blob);
  }

  /// The record, once all of its layers are there.
  MaybeFailure finish(const FoundImage& image, ImportedImage& result) {
    ImageRecord& record = result.record;
    record.id = image.config_digest;
    record.config_media_type = image.config_media_type;
    record.platform = image.facts.platform;
    record.imported = store::timestamp();
    for (std::size_t i = 0; i < image.layers.size(); ++i) {
      const std::string& diff_id = image.facts.diff_ids[i];
      ImageLayer layer{diff_id, image.layers[i].digest, image.layers[i].blob.size_bytes,
                       image.layers[i].media_type};
      if (layer.digest.empty()) {
        const LayerFacts& facts = *done_[jobs_of_.at(diff_id)];
        layer.digest = facts.digest;
        layer.size_bytes = facts.blob_bytes;
        layer.media_type = media_type_of(facts.packing);
      }
      record.layers.push_back(std::move(layer));
    }
    std::string manifest = image.manifest;
    record.manifest_media_type = image.manifest_media_type;
    if (manifest.empty()) {
      manifest = manifest_of(record, image.config.size());
      record.manifest_media_type = media::kManifest;
    }
    record.manifest = sha256_of(manifest);
    result.other_platform =
        !options_.platform && !record.platform.empty() && !fits(record.platform, host_platform());
    return write(image, manifest, result);
  }

  MaybeFailure write(const FoundImage& image, const std::string& manifest, ImportedImage& result) {
    sys::UniqueFd lock;
    if (auto failure = store_.lock(lock)) {
      return failure;
    }
    // Somebody may have removed a layer since it was found there.
    for (const ImageLayer& layer : result.record.layers) {
      result.record.blobs = result.record.blobs && store_.has_blob(layer.digest);
      if (!store_.has_layer(layer.diff_id)) {
        return system_failure({"a layer was removed while it was imported", layer.diff_id,
                               Errno{EAGAIN}, "import it again"});
      }
    }
    Status done = store_.write_blob(image.config_digest, image.config);
    if (done) {
      done = store_.write_blob(result.record.manifest, manifest);
    }
    if (done) {
      done = store_.write_image(result.record);
    }
    if (options_.reference) {
      result.references.push_back(*options_.reference);
    } else {
      for (const std::string& name : image.names) {
        const auto reference = parse_reference(name);
        reference ? result.references.push_back(*reference) : result.bad_names.push_back(name);
      }
    }
    for (const Reference& reference : result.references) {
      if (done) {
        done = store_.write_ref(reference, result.record.id);
      }
    }
    if (done) {
      return std::nullopt;
    }
    return system_failure({"cannot write into the image store", store_.home().path(), done.error(),
                           "free some space, and make it writable for you"});
  }

  const ImageStore& store_;
  const ImportOptions& options_;
  Budget budget_;
  std::string stage_;
  std::vector<FoundImage> found_;
  std::vector<LayerJob> jobs_;
  std::map<std::string, std::size_t> jobs_of_;   ///< by diff_id
  std::vector<std::optional<LayerFacts>> done_;  ///< by the number of the job
  std::uint64_t total_bytes_ = 0;
};

}  // namespace

MaybeFailure import_images(const ImageStore& store, const ImportOptions& options,
                           std::vector<ImportedImage>& imported) {
  return Import{store, options}.find_and_run(imported);
}

MaybeFailure import_found(const ImageStore& store, const std::string& stage,
                          std::vector<FoundImage> found, const ImportOptions& options,
                          std::vector<ImportedImage>& imported) {
  return Import{store, options}.run(stage, std::move(found), imported);
}

}  // namespace plyfs::oci
