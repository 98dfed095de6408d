// The bytes of files that are written in every way at once, while they are copied up: compared with
// a model after every read, at the end, after a remount, and in the upper.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>
#include <random>
#include <thread>

#include "stack.h"

namespace plyfs::tests {
namespace {

constexpr int kThreads = 4;
constexpr off_t kSlot = 50'123;  // not a multiple of a page: neighbours share one
constexpr off_t kShared = kThreads * kSlot;

/// One thread's part of the shared file, or (a fifth thread) what lies behind all parts.
class Part {
 public:
  Part(std::string path, const std::string& initial, int thread)
      : path_(std::move(path)),
        offset_(thread * kSlot),
        is_tail_(thread == kThreads),
        model_(initial.substr(static_cast<std::size_t>(offset_))),
        random_(static_cast<unsigned>(thread) + 7) {
    if (!is_tail_) {
      model_.resize(static_cast<std::size_t>(kSlot));
    }
  }

  /// Empty, or what went wrong first.
  std::string work(int steps) {
    File file(path_, O_RDWR);
    for (int step = 0; step < steps; ++step) {
      if (below(8) == 0) {
        file = File(path_, O_RDWR);
      }
      const std::string result = is_tail_ ? change_size(file) : change_bytes(file);
      if (result != "ok") {
        return "step " + std::to_string(step) + ": " + result;
      }
    }
    return {};
  }

  [[nodiscard]] const std::string& model() const { return model_; }

 private:
  int below(int limit) { return static_cast<int>(random_() % static_cast<unsigned>(limit)); }
  unsigned seed() { return static_cast<unsigned>(random_()); }

  /// Takes a random stretch of the part and gives it new content.
  std::string change_bytes(File& file) {
    const int at = below(static_cast<int>(kSlot) - 1);
    const int size = 1 + below(std::min(9000, static_cast<int>(kSlot) - at));
    const std::string data = pattern(static_cast<std::size_t>(size), seed());
    switch (below(6)) {
      case 0:
      case 1:
        return remember(at, data, file.pwrite(data, offset_ + at));
      case 2:
      case 3:
        return remember(at, data, write_mapped(file, at, data));
      case 4:
        if (below(4) == 0) {
          (void)::posix_fadvise(file.fd(), 0, 0, POSIX_FADV_DONTNEED);
        }
        return below(2) == 0 ? outcome(::fsync(file.fd())) : outcome(::fchmod(file.fd(), 0640));
      default:
        return file.pread(offset_ + at, static_cast<std::size_t>(size)) ==
                       model_.substr(static_cast<std::size_t>(at), static_cast<std::size_t>(size))
                   ? "ok"
                   : "read other bytes than were written";
    }
  }

  std::string write_mapped(const File& file, int at, const std::string& data) {
    const off_t page = ::sysconf(_SC_PAGESIZE);
    const off_t begin = (offset_ + at) / page * page;
    const auto lead = static_cast<std::size_t>(offset_ + at - begin);
    const std::size_t length = lead + data.size();
    void* map = ::mmap(nullptr, length, PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), begin);
    if (map == MAP_FAILED) {
      return outcome(-1);
    }
    std::memcpy(static_cast<char*>(map) + lead, data.data(), data.size());
    std::string result = "ok";
    if (below(3) == 0) {
      result = outcome(::msync(map, length, MS_SYNC));
    }
    (void)::munmap(map, length);
    return result;
  }

  std::string remember(int at, const std::string& data, const std::string& result) {
    if (result == "ok") {
      model_.replace(static_cast<std::size_t>(at), data.size(), data);
    }
    return result;
  }

  /// Cuts the file, makes it longer by a hole, or writes at its end: always behind the parts.
  std::string change_size(File& file) {
    switch (below(4)) {
      case 0:
      case 1: {
        const auto size = static_cast<std::size_t>(below(60'000));
        const std::string result =
            outcome(::ftruncate(file.fd(), kShared + static_cast<off_t>(size)));
        model_.resize(size, '\0');
        return result;
      }
      case 2: {
        const std::string data = pattern(static_cast<std::size_t>(1 + below(9000)), seed());
        const std::string result = file.pwrite(data, kShared + static_cast<off_t>(model_.size()));
        model_ += data;
        return result;
      }
      default:
        return file.pread(kShared, model_.size() + 1) == model_ ? "ok" : "a wrong end of the file";
    }
  }

  std::string path_;
  off_t offset_;
  bool is_tail_;
  std::string model_;
  std::mt19937 random_;
};

/// Runs `body(number)` for 0 ≤ number < count, each on a thread; what they complain of.
template <typename Body>
std::vector<std::string> at_once(int count, const Body& body) {
  std::vector<std::string> complaints(static_cast<std::size_t>(count));
  std::vector<std::thread> threads;
  for (int number = 0; number < count; ++number) {
    threads.emplace_back(
        [&, number] { complaints[static_cast<std::size_t>(number)] = body(number); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::erase(complaints, "");
  return complaints;
}

TEST_CASE("bytes survive copy-up, mappings, writeback, truncation and threads at once",
          "[stress][threads]") {
  on(every_plyfs(), [](const System& system) {
    for (int round = 0; round < 3; ++round) {
      const std::string initial = pattern(kShared + 30'000, static_cast<unsigned>(round));
      Stack stack = Stack{}.lower({file("d/f", initial)}).upper();
      stack.mount(system);
      std::vector<Part> parts;
      for (int thread = 0; thread <= kThreads; ++thread) {
        parts.emplace_back(stack("d/f"), initial, thread);
      }
      const auto complaints = at_once(kThreads + 1, [&](int thread) {
        return parts[static_cast<std::size_t>(thread)].work(120);
      });
      CHECK(complaints == std::vector<std::string>{});
      std::string expected;
      for (const Part& part : parts) {
        expected += part.model();
      }
      CHECK((content(stack("d/f")) == expected));
      stack.remount();
      CHECK((content(stack("d/f")) == expected));
      CHECK((content(stack.upper_path("d/f")) == expected));
      CHECK(stack.left_overs() == Picture{});
    }
  });
}

/// Replaces a small lower file by one of another length, in one of the ways in which programs do.
std::string replace(const std::string& path, const std::string& data, int way) {
  const auto size = static_cast<off_t>(data.size());
  switch (way) {
    case 0:
      return call::overwrite(path, data);
    case 1: {
      File file(path, O_RDWR);
      return joined({outcome(::ftruncate(file.fd(), 0)), file.pwrite(data, 0)});
    }
    case 2: {
      File file(path, O_RDWR);
      return joined({file.pwrite(data, 0), outcome(::ftruncate(file.fd(), size))});
    }
    case 3: {
      File file(path, O_RDWR);
      if (const std::string cut = outcome(::ftruncate(file.fd(), size)); cut != "ok" || size == 0) {
        return cut;
      }
      void* map = ::mmap(nullptr, data.size(), PROT_READ | PROT_WRITE, MAP_SHARED, file.fd(), 0);
      if (map == MAP_FAILED) {
        return outcome(-1);
      }
      std::memcpy(map, data.data(), data.size());
      return outcome(::munmap(map, data.size()));
    }
    default: {
      File reader(path, O_RDONLY);
      (void)reader.read_all();  // its pages must not come back
      return joined({call::truncate(path, size / 2), call::truncate(path, size),
                     File(path, O_RDWR).pwrite(data, 0)});
    }
  }
}

TEST_CASE("small files that are replaced have the new bytes and the new length",
          "[stress][threads]") {
  on(every_plyfs(), [](const System& system) {
    constexpr int kFiles = 60;
    const auto name = [](int number) { return "d/f" + std::to_string(number); };
    const auto text = [](int number, unsigned seed) {
      return pattern(static_cast<std::size_t>(number * 211 % 9000 + 1), seed);
    };
    Items items;
    for (int number = 0; number < kFiles; ++number) {
      items.push_back(file(name(number), text(number * 7, 1)));
    }
    Stack stack = Stack{}.lower(items).upper();
    stack.mount(system);
    const auto complaints = at_once(kThreads, [&](int thread) -> std::string {
      for (int number = thread; number < kFiles; number += kThreads) {
        const std::string result = replace(stack(name(number)), text(number, 2), number % 5);
        if (result.find_first_not_of("ok ") != std::string::npos ||
            content(stack(name(number))) != text(number, 2)) {
          return name(number) + ": " + result;
        }
      }
      return {};
    });
    CHECK(complaints == std::vector<std::string>{});
    const auto check = [&] {
      for (int number = 0; number < kFiles; ++number) {
        CAPTURE(number);
        CHECK((content(stack(name(number))) == text(number, 2)));
        CHECK((content(stack.upper_path(name(number))) == text(number, 2)));
      }
    };
    stack.remount();
    check();
  });
}

}  // namespace
}  // namespace plyfs::tests
