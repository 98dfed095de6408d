#include "config/check_report.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "config/failure_text.h"
#include "config/validate.h"
#include "sys/path_check.h"

namespace plyfs::config {
namespace {

using sys::Answer;

void add(CheckReport& report, std::string name, Verdict verdict, std::string detail) {
  report.items.push_back({std::move(name), verdict, std::move(detail)});
}

/// Adds the failure, or what is good instead.
void add(CheckReport& report, std::string name, const std::optional<Failure>& failure,
         std::string good) {
  if (!failure) {
    add(report, std::move(name), Verdict::kGood, std::move(good));
    return;
  }
  if (report.exit_code == 0) {
    report.exit_code = failure->exit_code;
  }
  add(report, std::move(name), Verdict::kBad, failure->what);
}

void check_mounting(CheckReport& report, const MountOptions& options, const sys::HostFacts& host) {
  add(report, "kernel", Verdict::kGood, host.kernel_release);
  add(report, "/dev/fuse", check_fuse_device(host), "can be opened");
  const bool direct = host.may_mount == Answer::kYes;
  add(report, "mount", Verdict::kGood,
      direct ? "directly: we have CAP_SYS_ADMIN" : "through fusermount3");
  if (direct) {
    add(report, "fusermount3", host.fusermount.empty() ? Verdict::kRemark : Verdict::kGood,
        host.fusermount.empty() ? "not found, and not needed" : host.fusermount + ", not needed");
  } else {
    add(report, "fusermount3", check_fusermount(options, host), host.fusermount);
    add(report, "allow_other",
        host.user_allow_other == Answer::kYes ? Verdict::kGood : Verdict::kRemark,
        host.user_allow_other == Answer::kYes
            ? "allowed by /etc/fuse.conf"
            : "only you will see the mount: /etc/fuse.conf has no user_allow_other");
    const bool has_table = host.mount_table == Answer::kYes;
    add(report, "/etc/mtab", has_table ? Verdict::kGood : Verdict::kRemark,
        has_table ? "can be read"
                  : "missing, and fusermount3 -u finds no mount without it; as root: ln -s "
                    "../proc/self/mounts /etc/mtab");
  }
}

void check_io_uring(CheckReport& report, const MountOptions& options, const sys::HostFacts& host) {
  const bool offered = host.over_io_uring == Answer::kYes;
  add(report, "FUSE over io_uring",
      offered && options.uring == Toggle::kOn ? Verdict::kGood : Verdict::kRemark,
      !offered ? "not offered; what it is worth depends on the machine, little on most; on Linux "
                 "6.14 and "
                 "newer, as root: echo Y > /sys/module/fuse/parameters/enable_uring"
      : options.uring == Toggle::kOn ? "offered, and will be used"
                                     : "switched off by option");
}

void check_user_namespaces(CheckReport& report, const Status& user_namespaces) {
  if (user_namespaces) {
    add(report, "user namespaces", Verdict::kGood, "can be made");
    return;
  }
  add(report, "user namespaces", Verdict::kRemark,
      "cannot be made: " + user_namespaces.error().message() +
          "; as root: sysctl kernel.unprivileged_userns_clone=1 user.max_user_namespaces=10000");
}

void check_directories(CheckReport& report, const MountOptions& options) {
  for (const LayerPath& layer : options.lowers) {
    sys::DirectoryFacts facts;
    const std::optional<Failure> failure = check_layer(layer, facts);
    add(report, "layer " + shown(layer.path), failure,
        sys::filesystem_name(facts.filesystem_magic));
  }
  if (options.upper) {
    if (auto facts = sys::inspect_directory(*options.upper, sys::DirectoryUse::kMountOn)) {
      add(report, "upper " + shown(*options.upper), Verdict::kGood,
          sys::filesystem_name(facts->filesystem_magic));
    }
  }
  if (options.lowers.empty() && !options.upper) {
    return;
  }
  const Validation stack = check_stack(options);
  const bool told = stack.failure && std::ranges::any_of(report.items, [&](const CheckItem& item) {
                      return item.detail == stack.failure->what;
                    });
  if (!told) {
    add(report, "stack", stack.failure, "fits together");
  }
  for (const std::string& warning : stack.warnings) {
    add(report, "stack", Verdict::kRemark, warning);
  }
}

std::string_view word_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kGood:
      return "ok";
    case Verdict::kRemark:
      return "note";
    case Verdict::kBad:
      return "FAIL";
  }
  return "";
}

}  // namespace

CheckReport check_machine(const MountOptions& options, const sys::HostFacts& host,
                          const Status& user_namespaces) {
  CheckReport report;
  check_mounting(report, options, host);
  check_io_uring(report, options, host);
  check_user_namespaces(report, user_namespaces);
  check_directories(report, options);
  if (!options.mountpoint.empty()) {
    add(report, "mountpoint " + shown(options.mountpoint), check_mountpoint(options, host),
        "can be mounted on");
  }
  return report;
}

std::string as_text(const CheckReport& report) {
  std::string text;
  for (const CheckItem& item : report.items) {
    std::string word{word_of(item.verdict)};
    word.resize(6, ' ');
    text.append(word).append(item.name).append(": ").append(item.detail).append("\n");
  }
  return text;
}

std::string as_json(const CheckReport& report) {
  nlohmann::ordered_json items = nlohmann::ordered_json::array();
  for (const CheckItem& item : report.items) {
    std::string verdict{word_of(item.verdict)};
    std::ranges::transform(verdict, verdict.begin(),
                           [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
    items.push_back({{"name", item.name}, {"verdict", verdict}, {"detail", item.detail}});
  }
  const nlohmann::ordered_json json{
      {"works", report.exit_code == 0}, {"exit_code", report.exit_code}, {"items", items}};
  // Paths are bytes; those that are not UTF-8 are shown as well as JSON can.
  return json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}

}  // namespace plyfs::config
