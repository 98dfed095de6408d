// A layer's tar, of unknown origin, into a directory that is a layer of plyfs.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "oci/blob_stream.h"
#include "plyfs/result.h"
#include "sys/unique_fd.h"

namespace plyfs::oci {

/// How deletions are written into the directory.
enum class Marks : std::uint8_t {
  kTrusted,  ///< 0:0 devices and trusted.overlay.opaque: the machine's root
  kUser,     ///< 0:0 devices and user.overlay.opaque: the kernel reads them with userxattr
  kAufs,     ///< `.wh.` files, where the filesystem has no such devices or xattrs
};
const char* word_of(Marks marks);
/// What this user can write there: tried in `directory`, which is thrown away then.
Result<Marks> probe_marks(sys::BorrowedFd directory);

struct LayerFacts {
  std::uint64_t entries = 0;  ///< in the tar
  std::uint64_t bytes = 0;    ///< of contents of files
  std::uint64_t whiteouts = 0;
  std::uint64_t opaque = 0;
  std::uint64_t squashed = 0;  ///< objects whose owner could not be kept
  std::uint64_t left_out_count = 0;
  std::vector<std::pair<std::string, std::string>> left_out;  ///< path and what; the first ones
  std::vector<std::string> implied;  ///< directories without an entry of their own; "" is the root
  std::int64_t blob_bytes = 0;
  Packing packing = Packing::kPlain;
  std::string digest;
  std::string diff_id;
};

struct UnpackTrouble {
  std::string path;  ///< as the archive has it; empty: the layer itself
  std::string why;   ///< where the errno does not say it
};

/// Deletions apply to the layers below only, wherever in the tar they are. Xattrs that would be
/// marks of layers are stored escaped. Names must not lead out, no link is followed: EINVAL. A
/// later object replaces an earlier one. Takes the tar to its last byte, so both digests are known
/// then. `root` is an empty directory that nobody else changes.
Result<LayerFacts> unpack_layer(BlobStream& stream, sys::BorrowedFd root, Marks marks,
                                std::size_t most_depth, Budget& budget, UnpackTrouble& trouble);

}  // namespace plyfs::oci
