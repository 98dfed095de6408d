// SHA-256, the digest of OCI images; the only user of libcrypto.
#pragma once

#include <memory>
#include <string>
#include <string_view>

namespace plyfs::image {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;
  void add(std::string_view bytes);
  /// "sha256:" and 64 hexadecimal digits. Once.
  std::string finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace plyfs::image
