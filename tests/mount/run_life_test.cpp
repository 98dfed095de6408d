// The life of runs: kept, entered, killed, on a terminal; and who gets out of them.
#include <fcntl.h>
#include <poll.h>
#include <pty.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>

#include "catch.h"
#include "run_host.h"
#include "stack.h"
#include "store_host.h"

namespace plyfs::tests {
namespace {

namespace fs = std::filesystem;

constexpr int kHang_s = 60;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

/// Waits for what must come; false when it hangs.
bool eventually(const std::function<bool()>& holds) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds{kHang_s};
  while (!holds()) {
    if (std::chrono::steady_clock::now() > end) {
      return false;
    }
    ::usleep(2000);
  }
  return true;
}

/// Processes whose arguments hold `text`, but for this one.
int running_with(const std::string& text) {
  int found = 0;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator{"/proc", error}) {
    std::ifstream file{entry.path() / "cmdline"};
    const std::string words{std::istreambuf_iterator<char>{file}, {}};
    found += contains(words, text) && entry.path().filename() != std::to_string(::getpid()) ? 1 : 0;
  }
  return found;
}

/// A program on a terminal of its own, as a user sits at it.
class Terminal {
 public:
  explicit Terminal(const Arguments& command) {
    pid_ = ::forkpty(&master_, nullptr, nullptr, nullptr);
    if (pid_ == 0) {
      std::vector<char*> words;
      for (const std::string& word : command) {
        words.push_back(const_cast<char*>(word.c_str()));
      }
      words.push_back(nullptr);
      ::execvp(words[0], words.data());
      ::_exit(127);
    }
  }
  ~Terminal() {
    hang_up();
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      (void)::waitpid(pid_, nullptr, 0);
    }
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  void type(const std::string& keys) const { (void)!::write(master_, keys.data(), keys.size()); }
  /// Reads on until `text` is shown. False when it never is.
  bool shows(const std::string& text) {
    for (;;) {
      if (const std::size_t at = seen_.find(text); at != std::string::npos) {
        seen_.erase(0, at + text.size());
        return true;
      }
      pollfd asked{master_, POLLIN, 0};
      char bytes[1024];
      const ssize_t got =
          ::poll(&asked, 1, kHang_s * 1000) > 0 ? ::read(master_, bytes, sizeof bytes) : -1;
      if (got <= 0) {
        UNSCOPED_INFO("never shown: " << text << "; shown: " << seen_);
        return false;
      }
      seen_.append(bytes, static_cast<std::size_t>(got));
    }
  }
  int ends() {
    const int code = wait_for(pid_, kHang_s);
    pid_ = code == -1 ? pid_ : -1;
    return code;
  }
  void hang_up() {
    if (master_ >= 0) {
      ::close(master_);
    }
    master_ = -1;
  }
  [[nodiscard]] pid_t pid() const { return pid_; }

 private:
  int master_ = -1;
  pid_t pid_ = -1;
  std::string seen_;
};

TEST_CASE("what a run changes is kept under its name, and removed with it", "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  const Ran first =
      host.run_script("echo new > /etc/motd; rm /etc/group", {"--name", "w", "--keep"});
  CHECK_DONE(first, "");
  CHECK(host.plyfs({"diff", "w"}).out == "C /etc\nD /etc/group\nA /etc/motd\n");
  CHECK(host.plyfs({"run", "w", "--", "cat", "/etc/motd"}).out == "new\n");
  CHECK(host.plyfs({"run", "w", "cat", "/etc/motd"}).out == "new\n");
  CHECK(host.plyfs({"commit", "w", host("layer")}).exit_code == 0);
  CHECK(host.plyfs({"run", "--lower", host("layer"), "--lower", host("root"), "--", "ls", "/etc"})
            .out == "hosts\nmotd\npasswd\nresolv.conf\n");
  CHECK(run({plyfs_program() + "-dump", "--lower", host("root"), "--upper",
             host("home/uppers/w/upper"), "verify"})
            .exit_code == 0);
  CHECK(host.plyfs({"rm", "w"}).exit_code == 0);
  CHECK(!fs::exists(host("home/uppers/w")));
  CHECK(host.left_overs().empty());
}

TEST_CASE("both engines do the same to one upper, in turns", "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  fs::create_directories(host("root/data/deep"));
  fs::create_directories(host("root/lib/x"));
  std::ofstream{host("root/data/a")} << "a";
  std::ofstream{host("root/data/deep/b")} << "b";
  const std::string upper = host("up");
  fs::create_directory(upper);
  const auto in = [&](const std::string& engine, const std::string& script) {
    const Ran ran = host.run_script(script, {"--upper", upper, "--engine", engine});
    CHECK(ran.err == "");
    return ran.out + std::to_string(ran.exit_code);
  };
  CHECK(in("kernel",
           "echo 1 >> /data/a; rm /data/deep/b; rm -r /data/deep; mkdir /data/deep; "
           "touch /data/deep/c; chown 0:0 /etc; cat /data/a") == "a1\n0");
  CHECK(in("fuse", "cat /data/a; ls /data/deep; rm /data/a; echo 2 > /data/a") == "a1\nc\n0");
  CHECK(in("kernel", "cat /data/a; ls /data /data/deep; rm -r /data") ==
        "2\n/data:\na\ndeep\n\n/data/deep:\nc\n0");
  CHECK(in("fuse", "ls / | grep -c data; true") == "0\n0");
  CHECK(in("fuse", "mv /lib /lib2; ls /lib2") == "x\n0");
  if (is_root()) {
    // Root writes no redirects in user.*, which no mount of root would follow (D-072).
    CHECK(in("kernel", "ls /lib2; ls / | grep -cx lib; true") == "x\n0\n0");
    CHECK(host.left_overs().empty());
    return;
  }
  // A redirect: overlayfs would show an empty directory.
  const Ran refused = host.run_script("true", {"--upper", upper, "--engine", "kernel"});
  CHECK(refused.exit_code == 125);
  CHECK(contains(refused.err,
                 "overlayfs would read a mark in the upper otherwise: /lib2: use --engine fuse"));
  CHECK(contains(host.run_script("true", {"--upper", upper, "--verbose"}).err, "engine fuse: "));
  CHECK(host.left_overs().empty());
}

TEST_CASE("another program enters a run, and ends with it", "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  CHECK(host.plyfs({"exec", "web", "--", "true"}).exit_code == 125);
  const pid_t run_pid = start(host.script_command("sleep 1001", {"--name", "web"}));
  REQUIRE(eventually([&] { return host.plyfs({"exec", "web", "--", "true"}).exit_code == 0; }));
  CHECK(host.plyfs({"exec", "web", "--", "sh", "-c", "ps | grep -c '[s]leep 1001'; exit 7"})
            .exit_code == 7);
  CHECK(host.plyfs({"exec", "-w", "/bin", "-e", "A=1", "web", "--", "sh", "-c", "echo $A $PWD"})
            .out == "1 /bin\n");
  CHECK(host.plyfs({"exec", "web", "--", "nothing"}).exit_code == 127);
  CHECK(contains(host.plyfs({"ps"}).out, "web"));
  CHECK(contains(host.plyfs({"ps", "--json"}).out, "\"engine\": \""));
  CHECK(host.run_script("true", {"--name", "web"}).exit_code == 125);  // the name is in use
  const pid_t entered = start(host.command({"exec", "web", "--", "sleep", "1002"}));
  REQUIRE(eventually([&] {
    return contains(host.plyfs({"exec", "web", "--", "ps"}).out, "sleep 1002");
  }));
  ::kill(run_pid, SIGTERM);
  CHECK(wait_for(run_pid, kHang_s) == 143);
  CHECK(wait_for(entered, kHang_s) == 137);
  CHECK(!contains(host.plyfs({"ps"}).out, "web"));
  CHECK(host.left_overs().empty());
}

TEST_CASE("nothing is left of a run that is killed, at any moment", "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  fs::create_directory(host("v"));
  for (int round = 0; round < 24; ++round) {
    CAPTURE(round);
    const pid_t pid = start(host.script_command(
        "echo x > /y; sleep 1003; : " + host(""),
        {"-v", host("v") + ":/mnt/v", "--engine", round % 2 == 0 ? "fuse" : "kernel"}));
    ::usleep(static_cast<useconds_t>(round) * 3000);  // moments, not a wait for something
    ::kill(pid, SIGKILL);
    CHECK(wait_for(pid, kHang_s) == 137);
    CHECK(eventually([&] { return host.left_overs().empty() && running_with(host("root")) == 0; }));
  }
  CHECK(fs::exists(host("v")));
}

TEST_CASE("ten runs of one root directory go on at the same time", "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  std::vector<pid_t> runs;
  for (int i = 0; i < 10; ++i) {
    runs.push_back(start(
        host.script_command("echo " + std::to_string(i) + " > /etc/x; read n < /etc/x; exit $n")));
  }
  for (int i = 0; i < 10; ++i) {
    CHECK(wait_for(runs[static_cast<std::size_t>(i)], kHang_s) == i);
  }
  CHECK(host.left_overs().empty());
}

TEST_CASE("a run on a terminal behaves as a program in a plain shell", "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  for (const Arguments& options : {Arguments{}, Arguments{"-t"}}) {
    CAPTURE(options.size());
    {
      Terminal user{host.script_command("echo go; sleep 1004", options)};
      REQUIRE(user.shows("go"));
      user.type("\x03");
      CHECK(user.ends() == 130);
    }
    {
      Terminal user{host.script_command("echo go; sleep 1004", options)};
      REQUIRE(user.shows("go"));
      ::kill(user.pid(), SIGTERM);
      CHECK(user.ends() == 143);
    }
    {
      Terminal user{host.script_command("echo go; sleep 1004", options)};
      REQUIRE(user.shows("go"));
      user.hang_up();
      CHECK(user.ends() == 129);
    }
  }
  CHECK(host.left_overs().empty());
}

// Not fit for CI yet: on a busy machine a run that was continued by fg was once stopped again, and
// its shell read the next line.
TEST_CASE("a run that was stopped goes on in front of its terminal", "[run]") {
  if (std::getenv("PLYFS_TEST_JOB_CONTROL") == nullptr) {
    return skip("known fault on busy machines: fg of a run; PLYFS_TEST_JOB_CONTROL=1 runs it");
  }
  if (!can_run()) {
    return;
  }
  RunHost host;
  for (const Arguments& options : {Arguments{}, Arguments{"-t"}}) {
    CAPTURE(options.size());
    Terminal shell{{"env", "PS1=OUT> ", "bash", "--norc", "--noprofile", "-i"}};
    REQUIRE(shell.shows("OUT> "));
    std::string line;
    for (const std::string& word :
         host.script_command("echo go; read x; echo got $x; exit 3", options)) {
      line += "'" + word + "' ";
    }
    shell.type(line + "; echo code=$?\n");
    REQUIRE(shell.shows("go\r\n"));
    shell.type("\x1a");
    REQUIRE(shell.shows("Stopped"));
    REQUIRE(shell.shows("OUT> "));
    shell.type("fg; echo code=$?\n");
    REQUIRE(shell.shows("exit 3"));
    REQUIRE(shell.shows("\n"));
    shell.type("words\n");
    CHECK(shell.shows("got words"));
    CHECK(shell.shows("code=3"));
    shell.type("exit\n");
    CHECK(shell.ends() >= 0);
  }
  CHECK(host.left_overs().empty());
}

TEST_CASE("no link of a root directory leads a run outside", "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  for (const char* name : {"outside", "outside2", "elsewhere"}) {
    fs::create_directory(host(name));
    std::ofstream{host(std::string{name} + "/secret")} << "secret";
  }
  const std::string up = "../../../../../../../../../..";
  fs::create_symlink(up + host("outside2") + "/made", host("root/etc/resolv.conf"));
  fs::create_symlink("/run/../../../" + host("outside2") + "/made2", host("root/etc/hosts"));
  fs::create_symlink(host("outside2"), host("root/mnt"));
  std::ofstream{host("file")} << "of volume";
  for (const char* engine : {"fuse", "kernel"}) {
    CAPTURE(engine);
    const Ran ran = host.run_script("cat /mnt/v /mnt/secret 2>/dev/null; ls " + host("outside2"),
                                    {"--engine", engine, "-v", host("file") + ":/mnt/v"});
    CHECK(ran.err == "");
    CHECK(ran.out == "of volumemade\nmade2\nv\n");
    for (const char* name : {"outside", "outside2", "elsewhere"}) {
      CHECK(sorted_names(host(name)) == std::vector<std::string>{"secret"});
    }
  }
  // Both lead to where /tmp or /dev is to be: refused, or shown inside.
  fs::create_symlink(host("outside"), host("root/proc"));
  fs::create_symlink(up + host("elsewhere"), host("root/dev"));
  for (const char* engine : {"fuse", "kernel"}) {
    CAPTURE(engine);
    const Ran ran = host.run_script("cat /dev/secret /proc/secret", {"--engine", engine});
    CHECK(!contains(ran.out, "secret"));
    for (const char* name : {"outside", "outside2", "elsewhere"}) {
      CHECK(sorted_names(host(name)) == std::vector<std::string>{"secret"});
    }
  }
  CHECK(host.left_overs().empty());
}

TEST_CASE("a run has nothing of its caller's but the three descriptors, and reaches nobody",
          "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  const int leaked = ::open("/dev/null", O_RDONLY);                 // not close-on-exec
  CHECK(host.run_script("ls /proc/self/fd | wc -l").out == "4\n");  // the listing's own among them
  ::close(leaked);
  CHECK(host.run_script("ls -d /proc/[0-9]* | wc -l").out == "4\n");
  CHECK(host.run_script("kill -0 " + std::to_string(::getpid()) + " 2>/dev/null").exit_code == 1);
  CHECK(host.run_script("grep CapBnd /proc/self/status").out == "CapBnd:\t00000000800405fb\n");
  CHECK(host.run_script("mount -o remount,rw /sys 2>/dev/null || mount -t tmpfs x /tmp 2>/dev/null")
            .exit_code != 0);
}

}  // namespace
}  // namespace plyfs::tests
