// The table of kernels: slot × device × dtype, read from the slot definitions in the sources and from running each
// slot once per dtype, and compared with tests/kernels/coverage.txt.
//
// A new slot: add its line to coverage.txt (the failing test prints it) and a probe below, so that its dtypes are
// known by running it.
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>

#include "kernels/attention/attention.h"
#include "kernels/blast/blast.h"
#include "kernels/block_diagonal/block_diagonal.h"
#include "kernels/clip/clip.h"
#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/dropout/dropout.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/embedding/embedding.h"
#include "kernels/gelu/gelu.h"
#include "kernels/layer_norm/layer_norm.h"
#include "kernels/matmul/matmul.h"
#include "kernels/monarch/monarch.h"
#include "kernels/normalize/normalize.h"
#include "kernels/reduce/reduce.h"
#include "kernels/softmax/softmax.h"
#include "kernels/ss1/ss1.h"
#include "kernels/unary/unary.h"
#include "kernels/update/update.h"
#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

// The names of all slots: every `ASHLAR_KERNEL(name);` of a source file, which has a function for each device.
std::vector<std::string> find_slots() {
  const std::string definition = "\nASHLAR_KERNEL(";
  std::vector<std::string> slots;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(ASHLAR_SOURCE_DIR "/kernels")) {
    if (entry.path().extension() != ".cpp") continue;
    std::ifstream file(entry.path());
    const std::string text(std::istreambuf_iterator<char>(file), {});
    for (auto at = text.find(definition); at != std::string::npos; at = text.find(definition, at + 1)) {
      const auto begin = at + definition.size();
      slots.push_back(text.substr(begin, text.find(')', begin) - begin));
    }
  }
  std::ranges::sort(slots);
  return slots;
}

// Runs a slot on small arrays of a dtype; throws InputError where the slot does not take it.
using Probe = std::function<void(DType)>;

const std::map<std::string, Probe>& probes() {
  const auto matrix = [](DType dtype) { return Array::zeros({2, 3}, dtype); };
  const auto vector = [](DType dtype, Dim size) {
    return Array::zeros({size}, is_floating(dtype) ? master_dtype(dtype) : dtype);
  };
  const auto heads = [](DType dtype) { return Array::zeros({1, 1, 2, 3}, dtype); };
  const auto factor = [](DType dtype, const Shape& shape) { return Array::zeros(shape, master_dtype(dtype)); };
  const auto numbers = [](Dim count) { return Array::zeros({count}, DType::f64); };
  const auto ids = [] { return Array::zeros({2}, DType::i32); };
  const auto turns = [] { return Array::zeros({1, 1, 2}, DType::i32); };
  const auto ones = [] { return Array::full({1, 1, 2}, 1, DType::i32); };
  const Exec cpu;
  static const std::map<std::string, Probe> table{
      {"adamw_update",
       [=](DType t) {
         const kernels::AdamWTensor tensor{.numbers = numbers(3), .dw = matrix(t), .w = matrix(t), .m = matrix(t), .v = matrix(t)};
         kernels::adamw_update(cpu, {&tensor, 1});
       }},
      {"affine", [=](DType t) { kernels::affine(cpu, matrix(t), 1, 1, matrix(t)); }},
      {"attention_backward",
       [=](DType t) {
         kernels::attention_backward(cpu, heads(t), heads(t), heads(t), heads(t), heads(t), factor(t, {1, 1, 2}), 1, true,
                                     heads(t), heads(t), heads(t));
       }},
      {"attention_forward",
       [=](DType t) {
         kernels::attention_forward(cpu, heads(t), heads(t), heads(t), 1, true, heads(t), factor(t, {1, 1, 2}));
       }},
      {"blast_backward",
       [=](DType t) {
         kernels::blast_backward(cpu, matrix(t), matrix(t), {}, factor(t, {1, 3, 2}), factor(t, {1, 3, 2}),
                                 factor(t, {1, 1, 2}), matrix(t), factor(t, {1, 3, 2}), factor(t, {1, 3, 2}),
                                 factor(t, {1, 1, 2}), vector(t, 3));
       }},
      {"blast_forward",
       [=](DType t) {
         kernels::blast_forward(cpu, matrix(t), factor(t, {1, 3, 2}), factor(t, {1, 3, 2}), factor(t, {1, 1, 2}),
                                vector(t, 3), {}, matrix(t));
       }},
      {"block_diagonal_backward",
       [=](DType t) {
         kernels::block_diagonal_backward(cpu, matrix(t), matrix(t), factor(t, {1, 3, 3}), false, matrix(t),
                                          factor(t, {1, 3, 3}), vector(t, 3));
       }},
      {"block_diagonal_forward",
       [=](DType t) {
         kernels::block_diagonal_forward(cpu, matrix(t), factor(t, {1, 3, 3}), vector(t, 3), false, matrix(t));
       }},
      {"cast", [=](DType t) { kernels::cast(cpu, matrix(t), matrix(t)); }},
      {"clip_gradients",
       [=](DType t) {
         const std::vector<View> gradients{matrix(t)};
         kernels::clip_gradients(cpu, gradients, Array::full({1}, 1, DType::f64), {});
       }},
      {"cross_entropy",
       [=](DType t) {
         const Array target = ids();
         kernels::cross_entropy(cpu, matrix(t), {.target = target}, 1, vector(t, 2), matrix(t));
       }},
      {"divide", [=](DType t) { kernels::divide(cpu, matrix(t), matrix(t), matrix(t)); }},
      {"drop_path", [=](DType t) { kernels::drop_path(cpu, matrix(t), {}, matrix(t)); }},
      {"dropout", [=](DType t) { kernels::dropout(cpu, matrix(t), {}, matrix(t)); }},
      {"ema_update",
       [=](DType t) {
         const kernels::EmaTensor tensor{matrix(t), matrix(t)};
         kernels::ema_update(cpu, 0.5, {&tensor, 1});
       }},
      {"embedding_backward",
       [=](DType t) { kernels::embedding_backward(cpu, ids(), matrix(t), matrix(master_dtype(t))); }},
      {"embedding_forward", [=](DType t) { kernels::embedding_forward(cpu, matrix(t), ids(), matrix(t)); }},
      {"gelu_backward",
       [=](DType t) { kernels::gelu_backward(cpu, matrix(t), matrix(t), kernels::Gelu::erf, matrix(t)); }},
      {"gelu_forward", [=](DType t) { kernels::gelu_forward(cpu, matrix(t), kernels::Gelu::erf, matrix(t)); }},
      {"layer_norm_backward",
       [=](DType t) {
         kernels::layer_norm_backward(cpu, matrix(t), matrix(t), vector(t, 3), vector(t, 2), vector(t, 2), {},
                                      matrix(t), vector(t, 3), vector(t, 3));
       }},
      {"layer_norm_forward",
       [=](DType t) {
         kernels::layer_norm_forward(cpu, matrix(t), matrix(t), vector(t, 3), vector(t, 3), 1e-5, matrix(t), matrix(t),
                                     vector(t, 2), vector(t, 2));
       }},
      {"linear_combination",
       [=](DType t) { kernels::linear_combination(cpu, matrix(t), 1, matrix(t), 1, matrix(t)); }},
      {"matmul", [=](DType t) { kernels::matmul(cpu, matrix(t), Array::zeros({3, 3}, t), matrix(t), {}); }},
      {"monarch_backward",
       [=](DType t) {
         kernels::monarch_backward(cpu, matrix(t), matrix(t), matrix(t), factor(t, {1, 3, 3}), factor(t, {1, 3, 3}),
                                   matrix(t), factor(t, {1, 3, 3}), factor(t, {1, 3, 3}), vector(t, 3));
       }},
      {"monarch_forward",
       [=](DType t) {
         kernels::monarch_forward(cpu, matrix(t), factor(t, {1, 3, 3}), factor(t, {1, 3, 3}), vector(t, 3), matrix(t),
                                  matrix(t));
       }},
      {"multiply", [=](DType t) { kernels::multiply(cpu, matrix(t), matrix(t), matrix(t)); }},
      {"normalize_rows", [=](DType t) { kernels::normalize_rows(cpu, matrix(t), matrix(t), 0, matrix(t)); }},
      {"scale", [=](DType t) { kernels::scale(cpu, matrix(t), 1, matrix(t)); }},
      {"sgd_update",
       [=](DType t) {
         const kernels::SgdTensor tensor{.numbers = numbers(1), .dw = matrix(t), .w = matrix(t), .buffer = matrix(t)};
         kernels::sgd_update(cpu, {&tensor, 1});
       }},
      {"softmax_backward", [=](DType t) { kernels::softmax_backward(cpu, matrix(t), matrix(t), matrix(t)); }},
      {"softmax_forward", [=](DType t) { kernels::softmax_forward(cpu, matrix(t), matrix(t)); }},
      {"ss1_backward",
       [=](DType t) {
         kernels::ss1_backward(cpu, matrix(t), {}, Array::zeros({1, 2, 2}, t), turns(), ones(), factor(t, {3, 2}), matrix(t),
                               factor(t, {3, 2}), vector(t, 3));
       }},
      {"ss1_forward",
       [=](DType t) {
         kernels::ss1_forward(cpu, matrix(t), turns(), ones(), factor(t, {3, 2}), vector(t, 3), {}, matrix(t));
       }},
      {"ss1_sketch", [=](DType t) { kernels::ss1_sketch(cpu, matrix(t), turns(), ones(), Array::zeros({1, 2, 2}, t)); }},
      {"ss1_sketch_backward",
       [=](DType t) { kernels::ss1_sketch_backward(cpu, Array::zeros({1, 2, 2}, t), turns(), ones(), matrix(t)); }},
      {"sum_to", [=](DType t) { kernels::sum_to(cpu, matrix(t), Array::zeros({1, 3}, t)); }},
      {"sums_of_squares",
       [=](DType t) {
         const Array x = matrix(t);
         const ConstView view = x;
         kernels::sums_of_squares(cpu, {&view, 1}, Array::zeros({1}, DType::f64));
       }},
      {"unary_backward",
       [=](DType t) { kernels::unary_backward(cpu, matrix(t), matrix(t), kernels::Unary::exp, matrix(t)); }},
      {"unary_forward", [=](DType t) { kernels::unary_forward(cpu, matrix(t), kernels::Unary::exp, matrix(t)); }},
  };
  return table;
}

std::string dtypes_of(const std::string& slot) {
  const auto probe = probes().find(slot);
  if (probe == probes().end()) return " not probed";
  std::string text;
  for (const DType dtype : {DType::f64, DType::f32, DType::bf16, DType::i64, DType::i32, DType::u8}) {
    try {
      probe->second(dtype);
      text += concat(' ', dtype);
    } catch (const InputError&) {
    }
  }
  return text;
}

std::string coverage_table() {
  std::string table;
  for (const std::string& slot : find_slots()) table += concat(slot, " | cpu | cuda |", dtypes_of(slot), '\n');
  return table;
}

std::string checked_in_table() {
  std::ifstream file(ASHLAR_SOURCE_DIR "/tests/kernels/coverage.txt");
  std::string table;
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with('#')) table += line + '\n';
  }
  return table;
}

}  // namespace

TEST_CASE("slots are named after their variables, and every probe is of one of them", "[coverage]") {
  CHECK(kernels::matmul.name() == "matmul");
  const auto slots = find_slots();
  REQUIRE(!slots.empty());
  for (const auto& [name, probe] : probes()) {
    CAPTURE(name);
    CHECK(std::ranges::find(slots, name) != slots.end());
  }
}

TEST_CASE("the coverage table is up to date", "[coverage]") {
  const std::string table = coverage_table();
  INFO("the kernels are now:\n" << table << "put these lines into tests/kernels/coverage.txt if that is intended");
  CHECK(table == checked_in_table());
}
