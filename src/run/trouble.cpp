#include "run/trouble.h"

#include <cerrno>
#include <string>

#include "config/failure_text.h"

namespace plyfs::run {
namespace {

std::string remedy_of(const sys::sandbox::Trouble& trouble) {
  const int error = trouble.error.value();
  if (trouble.what == "cannot make a user namespace") {
    if (error == ENOSPC || error == EUSERS) {
      return "user namespaces are switched off or used up; as root: sysctl "
             "user.max_user_namespaces=10000";
    }
    if (error == EPERM) {
      return "as root: sysctl kernel.unprivileged_userns_clone=1; in a container its seccomp "
             "filter "
             "forbids it";
    }
    return "this kernel has none: 'plyfs check' tells what is missing";
  }
  if (trouble.what == "cannot map ids") {
    return "newuidmap and newgidmap must be setuid root, and the ranges in /etc/subuid and "
           "/etc/subgid must not overlap; as root: apt install --reinstall uidmap";
  }
  if (trouble.what == "cannot mount proc") {
    return "parts of this /proc are covered, as in a container: start that one with "
           "--security-opt unmask=ALL";
  }
  if (error == EPERM || error == EACCES) {
    return "AppArmor may forbid user namespaces to do this (Ubuntu); as root: sysctl "
           "kernel.apparmor_restrict_unprivileged_userns=0, or install plyfs's profile";
  }
  return "'plyfs check' tells what is missing";
}

}  // namespace

Failure explain(const sys::sandbox::Trouble& trouble) {
  return config::system_failure({trouble.what, trouble.subject, trouble.error, remedy_of(trouble)});
}

}  // namespace plyfs::run
