// Nodes live exactly as long as the kernel, an operation or a child's name needs them.
#include "catch.h"
#include "node/node_table.h"

namespace plyfs::node {
namespace {

NodeSeed seed_of(mode_t type, std::uint64_t ino, layer::LayerIndex layer = 1) {
  NodeSeed seed;
  seed.entry_type = entry_type_of(type);
  seed.layer = layer;
  seed.ino = ino;
  return seed;
}

/// A table with a root, which counts what it frees.
struct Table {
  std::size_t freed = 0;
  NodeTable nodes{[this](Node&) { ++freed; }};

  Table() { nodes.make_root(seed_of(kTypeDirectory, 1)); }
  Node* known(Node& parent, std::string_view name, NodeSeed seed) {
    return nodes.attach(parent, name, std::move(seed)).give_to_kernel();
  }
};

TEST_CASE("a node goes with the kernel's last lookup", "[node]") {
  Table table;
  const std::size_t before = table.nodes.size();
  Node* file = table.known(table.nodes.root(), "f", seed_of(kTypeRegular, 7));
  CHECK(table.known(table.nodes.root(), "f", seed_of(kTypeRegular, 8)) == file);
  CHECK(file->ino() == 7);
  CHECK(table.nodes.size() == before + 1);
  table.nodes.forget(*file, 1);
  CHECK(table.nodes.find(table.nodes.root(), "f"));
  table.nodes.forget(*file, 1);
  CHECK_FALSE(table.nodes.find(table.nodes.root(), "f"));
  CHECK(table.nodes.size() == before);
  CHECK(table.freed == 1);
}

TEST_CASE("a directory stays while a child is known, and a whole chain goes at once", "[node]") {
  Table table;
  const std::size_t before = table.nodes.size();
  Node* a = table.known(table.nodes.root(), "a", seed_of(kTypeDirectory, 2));
  Node* b = table.known(*a, "b", seed_of(kTypeDirectory, 3));
  Node* c = table.known(*b, "c", seed_of(kTypeRegular, 4));
  table.nodes.forget(*a, 1);
  table.nodes.forget(*b, 1);
  CHECK(table.nodes.size() == before + 3);
  CHECK(table.nodes.names_of(*c).parent == b);
  table.nodes.forget(*c, 1);
  CHECK(table.nodes.size() == before);
  CHECK(table.freed == 3);
}

TEST_CASE("an operation's reference keeps a forgotten node", "[node]") {
  Table table;
  Node* file = table.known(table.nodes.root(), "f", seed_of(kTypeRegular, 7));
  {
    const NodeRef held = table.nodes.ref(*file);
    table.nodes.forget(*file, 1);
    CHECK(held->ino() == 7);
    CHECK(table.freed == 0);
  }
  CHECK(table.freed == 1);
}

TEST_CASE("hard links share a node by their inode on disk", "[node]") {
  Table table;
  const auto linked = [] {
    NodeSeed seed = seed_of(kTypeRegular, 9);
    seed.lower_key = LinkKey{1, 9};
    return seed;
  };
  Node* one = table.known(table.nodes.root(), "one", linked());
  Node* two = table.known(table.nodes.root(), "two", linked());
  CHECK(one == two);
  CHECK(table.nodes.name_count(*one) == 2);
  CHECK(table.nodes.find_link({1, 9}).get() == one);
  CHECK_FALSE(table.nodes.find_link({2, 9}));
  table.nodes.remove_name(table.nodes.root(), "one", {});
  CHECK(table.nodes.name_count(*one) == 1);
  CHECK(table.nodes.find(table.nodes.root(), "two").get() == one);
  table.nodes.forget(*one, 2);
  CHECK_FALSE(table.nodes.find_link({1, 9}));
}

TEST_CASE("names move and are exchanged, also between directories", "[node]") {
  Table table;
  Node& root = table.nodes.root();
  Node* dir = table.known(root, "d", seed_of(kTypeDirectory, 2));
  Node* a = table.known(root, "a", seed_of(kTypeRegular, 3));
  Node* b = table.known(*dir, "b", seed_of(kTypeRegular, 4));
  table.nodes.move_name(root, "a", *dir, "moved");
  CHECK_FALSE(table.nodes.find(root, "a"));
  CHECK(table.nodes.find(*dir, "moved").get() == a);
  CHECK(table.nodes.names_of(*a).parent == dir);
  table.nodes.swap_names(*dir, "moved", *dir, "b");
  CHECK(table.nodes.find(*dir, "moved").get() == b);
  CHECK(table.nodes.find(*dir, "b").get() == a);
  // A directory that nobody but its children needs goes when the last of them has left.
  table.nodes.forget(*dir, 1);
  table.nodes.move_name(*dir, "b", root, "a");
  CHECK(table.freed == 0);
  table.nodes.move_name(*dir, "moved", root, "b");
  CHECK(table.freed == 1);
}

TEST_CASE("a node without a name lives until it is forgotten", "[node]") {
  Table table;
  Node* file = table.known(table.nodes.root(), "f", seed_of(kTypeRegular, 7));
  table.nodes.remove_name(table.nodes.root(), "f", {});
  CHECK(table.nodes.names_of(*file).parent == nullptr);
  CHECK(table.nodes.name_count(*file) == 0);
  // The name may be given to another object meanwhile.
  Node* other = table.known(table.nodes.root(), "f", seed_of(kTypeRegular, 8));
  CHECK(other != file);
  table.nodes.forget(*file, 1);
  CHECK(table.freed == 1);
  CHECK(table.nodes.find(table.nodes.root(), "f").get() == other);
}

TEST_CASE("many names are found, and the end frees all", "[node]") {
  std::size_t freed = 0;
  {
    NodeTable nodes([&](Node&) { ++freed; });
    nodes.make_root(seed_of(kTypeDirectory, 1));
    for (std::uint64_t number = 0; number < 5000; ++number) {  // the table grows on the way
      (void)nodes.attach(nodes.root(), std::to_string(number), seed_of(kTypeRegular, number + 2))
          .give_to_kernel();
    }
    for (std::uint64_t number = 0; number < 5000; ++number) {
      const NodeRef found = nodes.find(nodes.root(), std::to_string(number));
      REQUIRE(found);
      REQUIRE(found->ino() == number + 2);
    }
    CHECK_FALSE(nodes.find(nodes.root(), "5000"));
  }
  CHECK(freed >= 5000);
}

}  // namespace
}  // namespace plyfs::node
