// What a person can do about what went wrong while a run was set up.
#pragma once

#include "plyfs/mount.h"
#include "sys/sandbox/step.h"

namespace plyfs::run {

Failure explain(const sys::sandbox::Trouble& trouble);

}  // namespace plyfs::run
