// Names of images: [HOST[:PORT]/]PATH[:TAG], as docker and podman write them.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace plyfs::oci {

struct Reference {
  std::string name;
  std::string tag;  ///< "latest" where none was written
  [[nodiscard]] std::string text() const { return name + ":" + tag; }
  friend bool operator==(const Reference&, const Reference&) = default;
};

/// nullopt for what is no name: wrong characters, too long, a digest.
std::optional<Reference> parse_reference(std::string_view text);

/// Whether `reference` is what somebody means by `asked`: the same tag, and the same name or the
/// last components of it ("busybox" for "docker.io/library/busybox").
bool is_meant(const Reference& reference, const Reference& asked);

/// As the name of a file, and back.
std::string file_name_of(const Reference& reference);
std::optional<Reference> reference_of_file(std::string_view file_name);

/// Whether it is "sha256:" and 64 hexadecimal digits, in lower case.
bool is_digest(std::string_view text);
/// What is after "sha256:". Needs is_digest().
std::string hex_of(std::string_view digest);

}  // namespace plyfs::oci
