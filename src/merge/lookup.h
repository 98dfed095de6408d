// Finding one name in a merged directory: which layer wins, what merges with it, what hides it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/file_stat.h"
#include "layer/marks.h"
#include "merge/directory_stack.h"
#include "merge/name_places.h"
#include "plyfs/result.h"

namespace plyfs::merge {

/// Where a metadata-only copy's data lies.
struct DataLocation {
  layer::LayerIndex layer = 0;
  std::string path;  ///< from the layer's root
  std::int64_t blocks_512 = 0;
  /// Where the file is in the merged tree of the lower layers: what a redirect mark must say. (The
  /// layers may hold it elsewhere, by redirects of their own.) From the root, without the slash.
  std::string lower_path;
};

struct Resolution {
  bool found = false;
  layer::LayerIndex layer = 0;  ///< the topmost layer that has it
  FileStat stat;                ///< there
  std::uint64_t shown_ino = 0;
  DirectoryParts parts;              ///< directories only
  std::string redirect;              ///< of the upper's directory or metadata-only copy, as written
  layer::FileMarks marks;            ///< regular upper files only
  std::uint32_t wasted_probes = 0;   ///< how many lower layers were asked in vain
  std::optional<DataLocation> data;  ///< metadata-only copies
};

/// What a layer had where a search looked, and what became of it.
enum class Effect : std::uint8_t {
  kAbsent,
  kWhiteout,        ///< ends the search
  kSeen,            ///< the object that users see, or the topmost part of a directory
  kMerged,          ///< a further part of the directory
  kData,            ///< the data of a metadata-only copy
  kAttributesOnly,  ///< a metadata-only copy below another: neither seen nor data
  kHidden,          ///< cannot be part of what was found above
};

/// Why nothing deeper is looked at.
enum class Ending : std::uint8_t {
  kNone,  ///< the search goes on
  kWhiteout,
  kOpaqueMark,      ///< Step::mark
  kOpaqueFile,      ///< `.wh..wh..opq` in the directory
  kWhiteoutBeside,  ///< `.wh.NAME` beside the directory
  kNotDirectory,    ///< a non-directory hides everything below, and so does one below a directory
  kMount,           ///< the host has mounted something there
};

/// One answer in the course of a search, for those who ask why.
struct Step {
  layer::LayerIndex layer = 0;
  std::string path;  ///< from the layer's root
  Effect effect = Effect::kAbsent;
  Ending ending = Ending::kNone;
  WhiteoutFamily family = WhiteoutFamily::kProbe;  ///< of a whiteout
  std::string mark;                                ///< name of the opaque xattr
  std::string redirect;                            ///< as written
  bool metacopy = false;
  FileStat stat;
};
using Trace = std::vector<Step>;

/// Thread-safe; const. Errors: any failure to ask a layer (never taken for "absent"); EIO for a
/// metadata-only copy whose data is missing; EINVAL for a malformed redirect.
/// Cost: one stat per layer that holds the parent directory, until something decides; nothing for
/// layers that lack the directory.
class Lookup {
 public:
  explicit Lookup(const layer::LayerStack& stack) : stack_(stack) {}

  /// What is known of a name before a layer is asked.
  struct Hint {
    NamePlaces places = NamePlaces::from(0);  ///< from a listing
    layer::LayerIndex first_lower = 0;        ///< lower layers above it lack it (LowerNames)
    /// A directory's `.wh..wh..opq` is looked for when its deeper parts are wanted (OpaqueFile).
    bool lazily = false;
  };
  /// `trace`, where given, gets one Step for each layer that was asked, also when the search fails.
  Result<Resolution> find(DirectoryAccess& parent, const char* name, Hint hint,
                          Trace* trace = nullptr) const;

  /// Whether any part from the hint's first place on has a visible object of that name.
  Result<bool> exists_below(DirectoryAccess& parent, const char* name, Hint hint) const;
  /// The merged root: every layer's root.
  Result<DirectoryParts> root_parts() const;

 private:
  struct Search;
  struct Candidate;
  enum class Next : std::uint8_t { kStop, kDeeper };
  static bool merges_unseen(const Search& search);
  static Step* note(Search& search, const Candidate& candidate);
  /// Ends the search at a directory on the way that hides what is below; traced if nothing else is.
  static Next stop_at(Search& search, Step barrier);
  Result<bool> is_hidden(DirectoryAccess& directory, std::size_t index, const Hint& hint) const;
  Result<Next> accept(Search& search, Candidate candidate) const;
  Result<DirectoryPart> part_at(const Candidate& candidate, const FileStat& stat) const;
  Result<Next> accept_directory(Search& search, const Candidate& candidate, const FileStat& stat,
                                bool hides_lower) const;
  Result<Next> accept_file(Search& search, const Candidate& candidate, const FileStat& stat) const;
  Result<bool> mark_boundary(const Candidate& candidate, DirectoryPart& part) const;
  /// EPERM where somebody may have written a mark that could not have read what it leads to.
  Status check_author(layer::LayerIndex layer, const std::string& path,
                      const FileStat& marked) const;
  Status check_marks(const Candidate& candidate, const layer::DirMarks& marks) const;
  Status check_data(const DataLocation& data) const;
  void tell_passed_over(layer::LayerIndex layer, const std::string& path) const;
  [[nodiscard]] layer::Reading reading_of(layer::LayerIndex layer) const;
  Status follow_absolute(Search& search, layer::LayerIndex above) const;
  Result<Next> walk(Search& search, layer::LayerIndex layer) const;

  const layer::LayerStack& stack_;
};

/// Splits "/a/b" into components; EINVAL for "", ".", "..", and for what is not absolute.
Result<std::vector<std::string>> split_absolute(const std::string& path);

}  // namespace plyfs::merge
