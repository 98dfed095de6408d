// plyfs run: a program in the union, in namespaces of its own.
#include <sys/stat.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "catch.h"
#include "run_host.h"
#include "skip.h"
#include "store_host.h"

namespace plyfs::tests {
namespace {

namespace fs = std::filesystem;

bool contains(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

TEST_CASE("a program runs as root of a root directory, and what it changes is thrown away",
          "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  const Ran ran =
      host.run_script("id -u; echo new > /etc/motd; rm /etc/group; cat /etc/motd; ls /etc");
  CHECK(ran.err == "");
  CHECK(ran.out == "0\nnew\nhosts\nmotd\npasswd\nresolv.conf\n");
  CHECK(ran.exit_code == 0);
  CHECK(sorted_names(host("root/etc")) == std::vector<std::string>{"group", "passwd"});
  CHECK(host.left_overs().empty());
}

TEST_CASE("a run ends with the code of its command, as docker run does", "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  CHECK(host.run_script("exit 0").exit_code == 0);
  CHECK(host.run_script("exit 3").exit_code == 3);
  CHECK(host.run_script("kill -KILL $$").exit_code == 137);
  CHECK(host.run_script("kill -TERM $$").exit_code == 143);
  CHECK(host.run_script("kill -INT $$").exit_code == 130);
  const auto with = [&](const Arguments& command) {
    Arguments all{"run", "--lower", host("root"), "--"};
    all.insert(all.end(), command.begin(), command.end());
    return host.plyfs(all);
  };
  CHECK(with({"no-such-program"}).exit_code == 127);
  CHECK(contains(with({"no-such-program"}).err, "plyfs: cannot run: no-such-program: "));
  CHECK(with({"/etc/passwd"}).exit_code == 126);
  CHECK(with({"/bin/no-such-program"}).exit_code == 127);
  CHECK(host.plyfs({"run", "--lower", host("nothing"), "--", "true"}).exit_code == 125);
  CHECK(host.plyfs({"run", "--no-such-option"}).exit_code == 125);
  CHECK(host.run_script("true", {"-w", "/nothing"}).exit_code == 125);
  CHECK(host.run_script("true", {"-u", "nobody-here"}).exit_code == 125);
  CHECK(host.left_overs().empty());
}

TEST_CASE("what still runs ends with the command", "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  // The pipe is open in the sleepers as well: run() would wait for them.
  CHECK(host.run_script("sleep 1000 & sleep 1000 & exit 4").exit_code == 4);
  CHECK(host.left_overs().empty());
}

TEST_CASE("a run has a /proc, /dev, /tmp and process numbers of its own", "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  CHECK(host.run_script("echo $PPID; ls /dev /tmp /run; echo > /dev/null; "
                        "readlink /dev/fd; readlink /dev/stdin; stat -c %a /tmp /run /dev/shm")
            .out ==
        "1\n/dev:\ncore\nfd\nfull\nmqueue\nnull\nptmx\npts\nrandom\nshm\nstderr\nstdin\nstdout\n"
        "tty\nurandom\nzero\n\n/run:\n\n/tmp:\n/proc/self/fd\n/proc/self/fd/0\n1777\n755\n1777\n");
  CHECK(host.run_script("touch /sys/x || touch /etc/hosts || touch /etc/resolv.conf").exit_code ==
        1);
  CHECK(host.run_script("grep -c : /proc/net/dev", {"--net", "none"}).out == "1\n");
  CHECK(host.run_script("hostname", {"--hostname", "box"}).out == "box\n");
}

TEST_CASE("the environment of a run is what the manual says, and no more", "[run]") {
  if (!can_run()) {
    return;
  }
  RunHost host;
  std::ofstream{host("vars")} << "# none\n\nC=of file\nD\n";
  Arguments command = host.script_command("env | grep -v -e ^SHLVL -e ^PWD",
                                          {"-e", "A=1", "-e", "B", "--env-file", host("vars")});
  command.insert(command.begin() + 1, {"SECRET=x", "B=of caller", "LANG=C", "TERM=t"});
  const std::string out = run(command).out;
  CHECK(contains(out, "A=1\n"));
  CHECK(contains(out, "B=of caller\n"));
  CHECK(contains(out, "C=of file\n"));
  CHECK(contains(out, "HOME=/root\n"));
  CHECK(contains(out, "LANG=C\n"));
  CHECK(contains(out, "PATH=/usr/local/sbin:"));
  CHECK(!contains(out, "SECRET"));
  CHECK(!contains(out, "TERM"));
  // Nor do the processes of plyfs show it to those inside, who share their ids.
  Arguments looking = host.script_command("cat /proc/1/environ /proc/1/cmdline");
  looking.insert(looking.begin() + 1, "SECRET=x");
  CHECK(!contains(run(looking).out, "SECRET"));
}

TEST_CASE("-u and -w take what the root directory knows", "[run]") {
  if (!has_many_ids()) {
    return;
  }
  RunHost host;
  CHECK(host.run_script("id -u; id -g; id -G; echo $HOME; echo $PWD", {"-u", "five", "-w", "/bin"})
            .out == "5\n6\n6 77\n/home/five\n/bin\n");
  CHECK(host.run_script("id -u; id -g", {"-u", "7:more"}).out == "7\n77\n");
  CHECK(host.run_script("id -u; id -g", {"-u", "five:8"}).out == "5\n8\n");
  CHECK(host.run_script("chown 12:13 /etc/group && stat -c %u:%g /etc/group").out == "12:13\n");
  CHECK(host.run_script("su five -c 'id -u'").out == "5\n");
  CHECK(host.left_overs().empty());
}

TEST_CASE("a user without subordinate ids runs with one, and is told so", "[run]") {
  if (!can_run() || !is_root()) {
    skip("root's test");
    return;
  }
  RunHost host;
  constexpr uid_t kNobodys = 54321;
  for (const auto& entry : fs::recursive_directory_iterator{host("")}) {
    (void)::lchown(entry.path().c_str(), kNobodys, kNobodys);
  }
  (void)::chown(host("").c_str(), kNobodys, kNobodys);
  Arguments command = host.script_command(
      "id -u; touch /etc/x && chown 5 /etc/x 2>/dev/null; "
      "grep -c 'NoNewPrivs:.1' /proc/self/status");
  const std::string id = std::to_string(kNobodys);
  command.insert(command.begin(),
                 {"setpriv", "--reuid", id, "--regid", id, "--clear-groups", "--"});
  const Ran ran = run(command);
  CHECK(ran.out == "0\n1\n");
  CHECK(contains(ran.err, "plyfs: only one user and group inside"));
  CHECK(contains(ran.err, "/etc/subuid has no range for 54321; as root: usermod --add-subuids"));
  CHECK(host.left_overs().empty());
}

}  // namespace
}  // namespace plyfs::tests
