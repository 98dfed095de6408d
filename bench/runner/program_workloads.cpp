// Programs that people run: archivers, databases, git, make.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>

#include "files.h"
#include "workload.h"

namespace plyfs::bench {
namespace {

namespace fs = std::filesystem;

Workload program(std::string name, Table table, std::string needs, Fixture fixture,
                 std::vector<Row> rows, Body body) {
  Workload made;
  made.name = std::move(name);
  made.table = table;
  made.needs_program = std::move(needs);
  made.fixture = fixture;
  made.rows = std::move(rows);
  made.body = std::move(body);
  return made;
}

std::string scratch_file(const Worker& worker, const std::string& name) {
  std::string path = worker.scratch() + "/" + name;
  fs::remove(path);
  return path;
}

void sqlite(const Worker& worker, const std::string& journal, std::uint32_t transactions) {
  const std::string script = scratch_file(worker, "script.sql");
  {
    std::ofstream out(script);
    out << "PRAGMA journal_mode=" << journal << ";\nCREATE TABLE t(id INTEGER PRIMARY KEY, v);\n";
    for (std::uint32_t i = 0; i < transactions; ++i) {
      out << "INSERT INTO t(v) VALUES('" << std::string(100, static_cast<char>('a' + i % 26))
          << "');\n";
    }
  }
  worker.measure("sqlite-" + journal, transactions, [&] {
    run({"sqlite3", "-batch", worker.path("data.db")},
        {.input = script, .directory = "", .expect_success = true});
  });
}

void wait_for_socket(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  path.copy(address.sun_path, sizeof address.sun_path - 1);
  for (int attempt = 0; attempt < 5000; ++attempt) {
    const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    const int result = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address);
    ::close(fd);
    if (result == 0) {
      return;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  throw std::runtime_error("redis-server does not answer");
}

void redis(const Worker& worker, std::uint32_t sets) {
  const std::string socket = scratch_file(worker, "redis");
  const pid_t server =
      start({"redis-server", "--port", "0", "--unixsocket", socket, "--dir", worker.root(),
             "--appendonly", "yes", "--save", "", "--daemonize", "no"},
            worker.root());
  wait_for_socket(socket);
  worker.measure("redis", sets, [&] {
    run({"redis-benchmark", "-s", socket, "-t", "set", "-n", std::to_string(sets), "-c", "4",
         "-q"});
  });
  ::kill(server, SIGTERM);
  wait_or_kill(server, 10);
}

void untar(const Worker& worker) {
  const std::string archive = scratch_file(worker, "archive.tar");
  run({"tar", "cf", archive, "-C", worker.root(), "."});
  checked(::mkdir(worker.path("unpacked").c_str(), 0755), "mkdir");
  worker.measure("untar", 1, [&] { run({"tar", "xf", archive, "-C", worker.path("unpacked")}); });
}

void git(const Worker& worker) {
  const std::string& tree = worker.root();
  ::setenv("HOME", worker.scratch().c_str(), 1);
  ::setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
  run({"git", "-C", tree, "init", "-q"});
  worker.measure("git", 1, [&] {
    run({"git", "-C", tree, "add", "."});
    run({"git", "-C", tree, "status", "--porcelain"});
  });
}

void make(const Worker& worker, std::uint32_t sources) {
  {
    std::ofstream rules(worker.path("Makefile"));
    rules << "OBJECTS=$(patsubst %.c,%.o,$(wildcard *.c))\nprogram: $(OBJECTS)\n"
             "\tcc -o $@ $(OBJECTS)\n";
  }
  for (std::uint32_t i = 0; i < sources; ++i) {
    std::ofstream source(worker.path("part" + std::to_string(i) + ".c"));
    source << "#include <stdio.h>\n#include <stdlib.h>\n#include <string.h>\nint part" << i
           << "(int x) { return x + " << i << "; }\n";
    if (i == 0) {
      source << "int main(void) { return part0(0); }\n";
    }
  }
  worker.measure("make", 1, [&] {
    run({"env", "CCACHE_DISABLE=1", "make", "-s", "-j2", "-C", worker.root()});
  });
}

}  // namespace

void add_program_workloads(std::vector<Workload>& all, double scale) {
  const Fixture one = {.layers = 1, .directories = 0, .files = 1, .bytes = 4096};
  const std::uint32_t transactions = scaled(scale, 3000, 20);
  all.push_back(
      program("sqlite-wal", Table::kBindIo, "sqlite3", one,
              {{.id = "sqlite-wal", .title = "sqlite transaction, WAL", .target = 1.5}},
              [transactions](const Worker& worker) { sqlite(worker, "wal", transactions); }));
  all.push_back(program(
      "sqlite-rollback", Table::kBindIo, "sqlite3", one,
      {{.id = "sqlite-delete", .title = "sqlite transaction, rollback journal", .target = 1.5}},
      [transactions](const Worker& worker) { sqlite(worker, "delete", transactions / 3); }));
  const std::uint32_t sets = scaled(scale, 20000, 100);
  all.push_back(program("redis", Table::kBindIo, "redis-server", one,
                        {{.id = "redis", .title = "redis SET, append-only file"}},
                        [sets](const Worker& worker) { redis(worker, sets); }));

  const std::uint32_t packed = scaled(scale, 4000, 100);
  const Fixture rootfs = {.kind = FixtureKind::kRootfs, .layers = 1, .files = packed};
  all.push_back(
      program("untar", Table::kPeers, "tar", rootfs,
              {{.id = "untar", .title = "untar of " + with_commas(packed) + " files", .target = 2}},
              untar));
  const std::uint32_t tracked = scaled(scale, 2000, 50);
  all.push_back(program("git", Table::kPeers, "git",
                        {.layers = 1, .directories = 50, .files = tracked, .bytes = 2048},
                        {{.id = "git",
                          .title = "git add and status, " + with_commas(tracked) + " lower files",
                          .target = 1.5}},
                        git));
  const std::uint32_t sources = scaled(scale, 30);
  all.push_back(
      program("make", Table::kPeers, "cc", {.layers = 1},
              {{.id = "make", .title = "make -j2 of " + with_commas(sources) + " C files"}},
              [sources](const Worker& worker) { make(worker, sources); }));
  all.back().when = When::kOnRequest;
  all.back().most_rounds = 3;
}

std::vector<Workload> all_workloads(double scale) {
  std::vector<Workload> all;
  add_io_workloads(all, scale);
  add_program_workloads(all, scale);
  add_tree_workloads(all, scale);
  add_change_workloads(all, scale);
  add_name_workloads(all, scale);
  return all;
}

std::uint32_t scaled(double scale, std::uint32_t full, std::uint32_t floor) {
  const double size = static_cast<double>(full) * scale;
  return size < floor ? floor : static_cast<std::uint32_t>(size);
}

std::string with_commas(std::uint64_t number) {
  std::string digits = std::to_string(number);
  for (int at = static_cast<int>(digits.size()) - 3; at > 0; at -= 3) {
    digits.insert(static_cast<std::size_t>(at), ",");
  }
  return digits;
}

}  // namespace plyfs::bench
