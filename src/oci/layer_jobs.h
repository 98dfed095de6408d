// Layers unpacked side by side, each into a directory of its own in the stage.
#pragma once

#include <atomic>
#include <future>
#include <string>
#include <thread>
#include <vector>

#include "oci/archive_images.h"
#include "oci/blob_stream.h"
#include "oci/layer_unpacker.h"

namespace plyfs::oci {

struct LayerJob {
  LayerSource source;
  std::string diff_id;
  bool unpack = true;     ///< else only read, for its digests
  std::string directory;  ///< where to unpack, to be made
  std::string blob;       ///< where to copy the blob; empty: nowhere
};

struct LayerDone {
  Status status;
  UnpackTrouble trouble;
  LayerFacts facts;
};

/// Guarded by caller. The end of its life ends what still runs.
class LayerJobs {
 public:
  LayerJobs(std::vector<LayerJob> jobs, Marks marks, std::size_t most_depth, unsigned threads,
            Budget& budget);
  ~LayerJobs();
  LayerJobs(const LayerJobs&) = delete;
  LayerJobs& operator=(const LayerJobs&) = delete;

  /// Waits a moment; whether that job is done.
  bool wait(std::size_t job);
  /// What came of it; once, after wait() said yes. Digests are those that were claimed.
  LayerDone take(std::size_t job);

 private:
  void work();
  LayerDone run(const LayerJob& job);

  const std::vector<LayerJob> jobs_;
  const Marks marks_;
  const std::size_t most_depth_;
  Budget& budget_;
  std::atomic<std::size_t> next_{0};
  std::vector<std::promise<LayerDone>> promises_;
  std::vector<std::future<LayerDone>> futures_;
  std::vector<std::thread> threads_;
};

}  // namespace plyfs::oci
