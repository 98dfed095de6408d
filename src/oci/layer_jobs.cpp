#include "oci/layer_jobs.h"

#include <algorithm>
#include <chrono>
#include <new>
#include <utility>

#include "oci/image_store.h"
#include "sys/open.h"

namespace plyfs::oci {
namespace {

constexpr sys::BorrowedFd kHere{-100};  // AT_FDCWD
constexpr auto kMoment = std::chrono::milliseconds{100};

}  // namespace

LayerJobs::LayerJobs(std::vector<LayerJob> jobs, Marks marks, std::size_t most_depth,
                     unsigned threads, Budget& budget)
    : jobs_(std::move(jobs)),
      marks_(marks),
      most_depth_(most_depth),
      budget_(budget),
      promises_(jobs_.size()) {
  for (auto& promise : promises_) {
    futures_.push_back(promise.get_future());
  }
  const std::size_t count = std::min<std::size_t>(jobs_.size(), std::max(threads, 1U));
  for (std::size_t i = 0; i < count; ++i) {
    threads_.emplace_back([this] { work(); });
  }
}

LayerJobs::~LayerJobs() {
  budget_.stop = true;
  for (std::thread& thread : threads_) {
    thread.join();
  }
}

bool LayerJobs::wait(std::size_t job) {
  return futures_[job].wait_for(kMoment) == std::future_status::ready;
}

LayerDone LayerJobs::take(std::size_t job) { return futures_[job].get(); }

void LayerJobs::work() {
  for (std::size_t job = next_++; job < jobs_.size(); job = next_++) {
    LayerDone done;
    if (budget_.stop) {
      done.status = Errno{ECANCELED};
    } else {
      try {
        done = run(jobs_[job]);
      } catch (const std::bad_alloc&) {
        done.status = Errno{ENOMEM};
      }
    }
    promises_[job].set_value(std::move(done));
  }
}

LayerDone LayerJobs::run(const LayerJob& job) {
  LayerDone done;
  const auto unpack = [&]() -> Status {
    sys::UniqueFd copy;
    if (!job.blob.empty()) {
      copy = TRY(sys::create_file(kHere, job.blob.c_str(), 0600));
    }
    BlobStream stream{job.source.blob, std::move(copy), budget_};
    if (job.unpack) {
      const sys::UniqueFd root = TRY(make_private_directory(job.directory));
      done.facts =
          TRY(unpack_layer(stream, root.borrow(), marks_, most_depth_, budget_, done.trouble));
    } else {
      TRY(stream.drain());
      done.facts.packing = stream.packing();
      done.facts.digest = stream.digest();
      done.facts.diff_id = stream.diff_id();
    }
    done.facts.blob_bytes = job.source.blob.size_bytes;
    const bool lies = done.facts.diff_id != job.diff_id ||
                      (!job.source.digest.empty() && done.facts.digest != job.source.digest);
    if (lies) {
      done.trouble = {"",
                      "its digest is another than the image says: get the archive anew, and do "
                      "not trust this one"};
      return Errno{EBADMSG};
    }
    return {};
  };
  done.status = unpack();
  return done;
}

}  // namespace plyfs::oci
