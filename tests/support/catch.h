// The one place that knows which Catch2 is installed: 2.x (Debian 12) or 3.x.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
using Catch::Approx;  // as 2.x has it
#else
#include <catch2/catch.hpp>
#endif
