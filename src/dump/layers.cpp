#include "dump/layers.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <set>
#include <span>
#include <string>
#include <thread>
#include <tuple>
#include <unordered_map>

#include "dump/content.h"
#include "dump/index_check.h"

namespace plyfs::dump {
namespace {

constexpr std::int64_t kSmallest = 1;  // empty files share nothing
constexpr std::size_t kDigestDigits = 32;

struct Candidate {
  std::int64_t size_bytes = 0;
  layer::LayerIndex layer = 0;
  std::string path;
  std::array<char, kDigestDigits> digest{};  ///< all zero: not read
};

/// Which layers have files of a size.
struct SizeUse {
  layer::LayerIndex first_layer = 0;
  bool several = false;
};

class Summary {
 public:
  explicit Summary(const OpenStack& stack) : stack_(stack) {
    report_.layers.resize(stack.layers().size());
  }

  Status read(Sharing sharing) {
    Target start = TRY(find_path(stack_, ""));
    report_.walked = walk(stack_, std::move(start), {}, [&](const Answer& answer, std::size_t) {
      for (const Version& version : answer.versions) {
        count(answer, version, sharing);
      }
      return Descend::kYes;
    });
    for (const IndexEntry& entry : TRY(index_entries(stack_))) {
      ++report_.index_entries;
      const bool counted = entry.stat.nlink > 1 || !entry.stat.is_regular();
      report_.index_bytes += counted ? 0 : static_cast<std::uint64_t>(entry.stat.blocks_512) * 512;
    }
    for (LayerSummary& layer : report_.layers) {
      layer.hidden_files = layer.files - std::min(layer.files, layer.hidden_files);
      layer.hidden_bytes = layer.bytes - std::min(layer.bytes, layer.hidden_bytes);
    }
    return {};
  }

  void find_shared(const HashProgress& progress) {
    std::erase_if(candidates_, [&](const Candidate& candidate) {
      return !sizes_[candidate.size_bytes].several;
    });
    hash_all(progress);
    report_.unreadable_files = static_cast<std::uint64_t>(std::erase_if(
        candidates_, [](const Candidate& candidate) { return candidate.digest.front() == 0; }));
    const auto content_of = [](const Candidate& candidate) {
      return std::tie(candidate.size_bytes, candidate.digest);
    };
    std::ranges::sort(candidates_, {}, content_of);
    for (auto first = candidates_.begin(); first != candidates_.end();) {
      const auto other = std::find_if(first, candidates_.end(), [&](const Candidate& candidate) {
        return content_of(candidate) != content_of(*first);
      });
      count_group({first, other});
      first = other;
    }
  }

  LayersReport take() { return std::move(report_); }

 private:
  void count(const Answer& answer, const Version& version, Sharing sharing) {
    if (!version.index_entry.empty()) {
      return;  // counted once, not by each of its names
    }
    LayerSummary& layer = report_.layers[version.layer];
    if (version.state == State::kWhiteout) {
      layer.whiteouts += version.path == answer.path ? 1 : 0;
      return;
    }
    const bool seen = version.state != State::kHidden;
    const bool here = version.path == answer.path;  // else it is met at its own place, too
    if (version.stat.is_directory()) {
      layer.directories += here ? 1 : 0;
      layer.opaque += here && version.opaque ? 1 : 0;
      return;
    }
    if (!version.stat.is_regular()) {
      layer.others += here ? 1 : 0;
      return;
    }
    const auto bytes = static_cast<std::uint64_t>(version.metacopy ? 0 : version.stat.size_bytes);
    // A hard link's bytes count with its first name; seen ones are collected here first, and
    // subtracted when all are known (see read()).
    if (seen) {
      ++layer.hidden_files;
      layer.hidden_bytes += is_first(version, seen_links_) ? bytes : 0;
    }
    if (!here) {
      return;
    }
    ++layer.files;
    if (!is_first(version, links_)) {
      return;
    }
    layer.bytes += bytes;
    if (sharing == Sharing::kFind && !version.metacopy && version.stat.size_bytes >= kSmallest) {
      const auto [size, fresh] =
          sizes_.emplace(version.stat.size_bytes, SizeUse{version.layer, false});
      size->second.several |= !fresh && size->second.first_layer != version.layer;
      candidates_.push_back({version.stat.size_bytes, version.layer, version.path, {}});
    }
  }

  using Links = std::set<std::pair<dev_t, ino_t>>;
  static bool is_first(const Version& version, Links& links) {
    return version.stat.nlink < 2 || links.emplace(version.stat.dev, version.stat.ino).second;
  }

  void hash_all(const HashProgress& progress) {
    std::uint64_t total = 0;
    for (const Candidate& candidate : candidates_) {
      total += static_cast<std::uint64_t>(candidate.size_bytes);
    }
    std::atomic<std::size_t> next{0};
    std::atomic<std::uint64_t> done{0};
    const auto work = [&](bool reports) {
      for (std::size_t i = next.fetch_add(1); i < candidates_.size(); i = next.fetch_add(1)) {
        Candidate& candidate = candidates_[i];
        if (const auto digest = file_digest(stack_.layers()[candidate.layer], candidate.path)) {
          std::copy_n(digest->begin(), kDigestDigits, candidate.digest.begin());
        }
        done.fetch_add(static_cast<std::uint64_t>(candidate.size_bytes));
        if (reports) {
          progress(done.load(), total);
        }
      }
    };
    std::vector<std::thread> helpers;
    const unsigned wanted = std::clamp(std::thread::hardware_concurrency(), 1U, 16U);
    for (unsigned i = 1; i < wanted && i < candidates_.size(); ++i) {
      helpers.emplace_back(work, false);
    }
    work(true);
    for (std::thread& helper : helpers) {
      helper.join();
    }
  }

  /// Files of the same content.
  void count_group(std::span<const Candidate> files) {
    const bool several = std::ranges::any_of(
        files, [&](const Candidate& file) { return file.layer != files.front().layer; });
    if (!several) {
      return;
    }
    const auto bytes = static_cast<std::uint64_t>(files.front().size_bytes);
    report_.duplicate_bytes += bytes * (files.size() - 1);
    for (const Candidate& file : files) {
      ++report_.layers[file.layer].shared_files;
      report_.layers[file.layer].shared_bytes += bytes;
    }
  }

  const OpenStack& stack_;
  LayersReport report_;
  std::vector<Candidate> candidates_;
  std::unordered_map<std::int64_t, SizeUse> sizes_;
  Links links_;
  Links seen_links_;
};

}  // namespace

Result<LayersReport> summarise_layers(const OpenStack& stack, Sharing sharing,
                                      const HashProgress& progress) {
  Summary summary{stack};
  TRY(summary.read(sharing));
  if (sharing == Sharing::kFind) {
    summary.find_shared(progress);
  }
  return summary.take();
}

}  // namespace plyfs::dump
