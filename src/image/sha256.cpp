#include "image/sha256.h"

#include <openssl/evp.h>

#include <array>
#include <new>

namespace plyfs::image {

struct Sha256::State {
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  bool good = true;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {
  if (state_->context == nullptr ||
      EVP_DigestInit_ex(state_->context, EVP_sha256(), nullptr) != 1) {
    throw std::bad_alloc{};
  }
}

Sha256::~Sha256() { EVP_MD_CTX_free(state_->context); }

void Sha256::add(std::string_view bytes) {
  state_->good = EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1 && state_->good;
}

std::string Sha256::finish() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  if (EVP_DigestFinal_ex(state_->context, digest.data(), &size) != 1 || !state_->good) {
    throw std::bad_alloc{};  // the library fails for lack of memory only
  }
  constexpr const char* kDigits = "0123456789abcdef";
  std::string text = "sha256:";
  for (unsigned i = 0; i < size; ++i) {
    text.push_back(kDigits[digest[i] >> 4]);
    text.push_back(kDigits[digest[i] & 15U]);
  }
  return text;
}

}  // namespace plyfs::image
