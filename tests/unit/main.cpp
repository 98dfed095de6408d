#include "run_catch.h"

int main(int argc, char** argv) { return plyfs::tests::run_catch(argc, argv); }
