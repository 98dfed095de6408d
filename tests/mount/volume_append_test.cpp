// Several append to one file of a volume: through one mount, another one, and on the host.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <thread>

#include "duration.h"
#include "volumes.h"

namespace plyfs::tests {
namespace {

/// 64 bytes: no line crosses a page.
std::string line_of(std::size_t writer, int number) {
  std::string line = std::to_string(writer) + ":" + std::to_string(number);
  line.resize(63, '.');
  return line + "\n";
}

/// Lines of odd lengths up to 8 KiB: most of them cross a page, some two.
std::string long_line_of(std::size_t writer, int number) {
  const std::size_t size = 1 + static_cast<std::size_t>(number) * 2654435761U / 128 % 8191;
  return std::to_string(writer) + " " + std::to_string(number) + " " +
         std::string(size | 1, static_cast<char>('a' + number % 26)) + "\n";
}

using LineOf = std::string (*)(std::size_t writer, int number);

/// Empty if `text` is each writer's lines 0 to `count` - 1, each once, whole and in his order.
std::string unlike_lines(const std::string& text, std::size_t writers, int count, LineOf line_of) {
  std::vector<int> next(writers);
  for (std::size_t at = 0; at < text.size();) {
    const std::string line = text.substr(at, text.find('\n', at) + 1 - at);
    const std::size_t writer = static_cast<std::size_t>(line[0] - '0');
    if (writer >= writers || line != line_of(writer, next[writer]++)) {
      return std::to_string(at) + ": " + line.substr(0, 80);
    }
    at += line.size();
  }
  for (const int lines : next) {
    if (lines != count) {
      return std::to_string(lines) + " lines of one writer";
    }
  }
  return {};
}

/// Somebody who appends lines of his own.
struct Appender {
  std::string path;
  int flags = O_WRONLY | O_APPEND;
  bool appends_later = false;  ///< O_APPEND is set on the open file
  bool looks = false;          ///< reads in between, so that the kernel caches what others change

  /// Empty, or what went wrong first.
  [[nodiscard]] std::string append(std::size_t number, int count, LineOf line_of) const {
    File log(path, flags);
    if (appends_later && ::fcntl(log.fd(), F_SETFL, O_APPEND) != 0) {
      return "fcntl: " + outcome(-1);
    }
    for (int line = 0; line < count; ++line) {
      const std::string result = log.write(line_of(number, line));
      if (result != "ok") {
        return path + ": " + result;
      }
      if (looks) {
        (void)File(path, O_RDONLY).pread(log.stat().st_size - 5000, 5000);
      }
    }
    return {};
  }
};

std::vector<std::string> append_at_once(const std::vector<Appender>& appenders, int count,
                                        LineOf line_of) {
  std::vector<std::string> complaints(appenders.size());
  std::vector<std::thread> threads;
  for (std::size_t number = 0; number < appenders.size(); ++number) {
    threads.emplace_back(
        [&, number] { complaints[number] = appenders[number].append(number, count, line_of); });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  std::erase(complaints, "");
  return complaints;
}

/// What all of these hold, which are to be one file.
std::string same_content(const std::vector<std::string>& paths) {
  std::string first = File(paths.front(), O_RDONLY).read_all();
  for (const std::string& path : paths) {
    CHECK(File(path, O_RDONLY).read_all() == first);
  }
  return first;
}

TEST_CASE("appends from all sides at once lose no line", "[volume][coherence][stress]") {
  on(volume_modes(), [](const System& system) {
    constexpr int kLines = 300;
    const HostDirectory host;
    Stack a = Stack{}.lower({dir("v")}).upper();
    Stack b = Stack{}.lower({dir("w")}).upper();
    a.mount(system, volume(host(), "/v") + ",threads=4");
    b.mount(system, volume(host(), "/w"));
    rounds([&](int round) {
      const std::string log = "log" + std::to_string(round);
      REQUIRE(call::create(host(log)) == "ok");
      const std::vector<Appender> appenders = {{.path = host(log)},
                                               {.path = a("v/" + log)},
                                               {.path = a("v/" + log)},
                                               {.path = b("w/" + log)}};
      CHECK(append_at_once(appenders, kLines, line_of) == std::vector<std::string>{});
      const std::string text = same_content({host(log), a("v/" + log), b("w/" + log)});
      CHECK(unlike_lines(text, appenders.size(), kLines, line_of) == "");
    });
  });
}

TEST_CASE("long lines that several append come out whole", "[volume][coherence][stress]") {
  on(volume_modes(), [](const System& system) {
    constexpr int kLines = 250;
    const HostDirectory host;
    Stack a = Stack{}.lower({dir("v")}).upper();
    Stack b = Stack{}.lower({dir("w")}).upper();
    a.mount(system, volume(host(), "/v"));
    b.mount(system, volume(host(), "/w"));
    rounds([&](int round) {
      const std::string log = "log" + std::to_string(round);
      REQUIRE(call::create(host(log)) == "ok");
      std::vector<Appender> appenders = {
          {.path = host(log)},
          {.path = a("v/" + log)},
          {.path = b("w/" + log)},
          {.path = a("v/" + log), .flags = O_RDWR | O_APPEND, .looks = true}};
      if (kernel_is_at_least(6, 6)) {
        appenders.push_back({.path = a("v/" + log), .flags = O_WRONLY, .appends_later = true});
        appenders.push_back({.path = b("w/" + log), .flags = O_RDWR, .appends_later = true});
      } else {
        skip("needs Linux 6.6: appending that begins after the file was opened (N-41)");
      }
      CHECK(append_at_once(appenders, kLines, long_line_of) == std::vector<std::string>{});
      const std::string text = same_content({host(log), a("v/" + log), b("w/" + log)});
      CHECK(unlike_lines(text, appenders.size(), kLines, long_line_of) == "");
    });
  });
}

TEST_CASE("a file that is open for appending is read, mapped and cut like others", "[volume]") {
  on(volume_modes(), [](const System& system) {
    const HostDirectory host({file("log", std::string(5000, 'x'))});
    Stack stack = Stack{}.lower({dir("v")}).upper();
    stack.mount(system, volume(host(), "/v") + "," + volume(host(), "/ro", "ro"));
    File log(stack("v/log"), O_RDWR | O_APPEND);
    CHECK(log.write("end") == "ok");
    CHECK(log.pread(4999, 10) == "xend");
    CHECK(log.stat().st_size == 5003);
    void* const map = ::mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_SHARED, log.fd(), 0);
    if (map == MAP_FAILED && errno == ENODEV && !kernel_is_at_least(6, 6)) {
      return skip("needs Linux 6.6: files past the page cache that may be mapped");
    }
    REQUIRE(map != MAP_FAILED);
    CHECK(static_cast<char*>(map)[5000] == 'e');
    static_cast<char*>(map)[0] = 'm';
    CHECK(outcome(::msync(map, 8192, MS_SYNC)) == "ok");
    CHECK(content(host("log")).substr(0, 2) == "mx");
    CHECK(log.write("+") == "ok");
    CHECK(static_cast<char*>(map)[5000] == 'e');
    CHECK(outcome(::munmap(map, 8192)) == "ok");
    CHECK(outcome(::ftruncate(log.fd(), 1)) == "ok");
    CHECK(log.write("2") == "ok");
    CHECK(joined({content(host("log")), content(stack("v/log")), log.read_all()}) == "m2 m2 m2");
    CHECK(outcome(::fcntl(log.fd(), F_SETFL, 0)) == "ok");
    CHECK(log.pwrite("P", 0) == "ok");
    CHECK(content(host("log")) == "P2");
    // By CREATE as by OPEN.
    File made(stack("v/made"), O_CREAT | O_WRONLY | O_APPEND);
    CHECK(made.write(std::string(6001, 'a')) == "ok");
    CHECK(call::append(host("made"), "b") == "ok");
    CHECK(made.write(std::string(6001, 'c')) == "ok");
    CHECK(content(host("made")) == std::string(6001, 'a') + "b" + std::string(6001, 'c'));
  });
}

}  // namespace
}  // namespace plyfs::tests
