#include "run_host.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "skip.h"
#include "stack.h"
#include "system.h"
#include "tree.h"
#include "workspace.h"

namespace plyfs::tests {
namespace {

namespace fs = std::filesystem;

constexpr const char* kBusybox = "/bin/busybox";

void write_text(const std::string& path, const std::string& text) { std::ofstream{path} << text; }

}  // namespace

RunHost::RunHost() : root_(fresh_directory()) {
  fs::create_directories(root_ + "/root/bin");
  fs::create_directories(root_ + "/root/etc");
  fs::copy_file(kBusybox, root_ + "/root/bin/busybox");
  for (const char* name :
       {"sh",    "cat",  "chown", "echo",  "env",   "grep", "hostname", "id", "kill",
        "ln",    "ls",   "mkdir", "mount", "mv",    "ps",   "readlink", "rm", "rmdir",
        "sleep", "stat", "stty",  "su",    "touch", "true", "tty",      "wc"}) {
    fs::create_symlink("busybox", root_ + "/root/bin/" + name);
  }
  write_text(root_ + "/root/etc/passwd",
             "root:x:0:0:root:/root:/bin/sh\nfive:x:5:6:five:/home/five:/bin/sh\n");
  write_text(root_ + "/root/etc/group", "root:x:0:\nsix:x:6:\nmore:x:77:five,other\n");
}

RunHost::~RunHost() {
  // Files of subordinate ids need the namespace to be removed.
  (void)run(command({"unshare", "rm", "-rf", root_}));
  remove_tree(root_);
}

Arguments RunHost::command(const Arguments& arguments) const {
  Arguments all{"env", "PLYFS_HOME=" + root_ + "/home", plyfs_program()};
  all.insert(all.end(), arguments.begin(), arguments.end());
  return all;
}

Ran RunHost::plyfs(const Arguments& arguments) const { return run(command(arguments)); }

Arguments RunHost::script_command(const std::string& script, const Arguments& options) const {
  Arguments all{"run", "--lower", root_ + "/root"};
  all.insert(all.end(), options.begin(), options.end());
  all.insert(all.end(), {"--", "sh", "-c", script});
  return command(all);
}

Ran RunHost::run_script(const std::string& script, const Arguments& options) const {
  return run(script_command(script, options));
}

std::vector<std::string> RunHost::left_overs() const {
  std::vector<std::string> names;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator{root_ + "/home/run", error}) {
    names.push_back(entry.path().filename());
  }
  return names;
}

bool can_run() {
  static const bool possible = [] {
    const auto busybox = fs::status(kBusybox);
    const Ran tried = run({plyfs_program(), "unshare", "true"});
    return busybox.type() == fs::file_type::regular && tried.exit_code == 0;
  }();
  if (!possible) {
    skip("no user namespaces, or no busybox-static, for plyfs run");
  }
  return possible;
}

bool has_many_ids() {
  if (!can_run()) {
    return false;
  }
  const Ran tried = run({plyfs_program(), "unshare", "cat", "/proc/self/setgroups"});
  if (tried.out != "allow\n") {
    skip("this user has no subordinate ids");
    return false;
  }
  return true;
}

}  // namespace plyfs::tests
