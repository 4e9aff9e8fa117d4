// Blocks that pass the residual sum on to the next norm, against the formula written out.
#include "layers/transformer.h"

#include "tests/support/catch.h"
#include "tests/support/compare.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

constexpr Dim kWidth = 24;

BlockConfig config(double p) {
  return {.width = kWidth, .heads = 2, .hidden = 40, .causal = true, .gelu = kernels::Gelu::tanh, .dropout = p,
          .drop_path = p};
}

// x + attention(norm1(x)), then the same with the MLP, every sum by itself. Names and so weights and masks are Block's.
struct PlainBlock : Module {
  PlainBlock(const Scope& scope, const BlockConfig& c)
      : Module(scope),
        norm1(sub("norm1"), c.width, c.eps),
        attn(sub("attn"), c),
        norm2(sub("norm2"), c.width, c.eps),
        mlp(sub("mlp"), c),
        dropout1(sub("dropout1"), c.dropout),
        path1(sub("drop_path1"), c.drop_path, Dropout::Per::sample),
        dropout2(sub("dropout2"), c.dropout),
        path2(sub("drop_path2"), c.drop_path, Dropout::Per::sample) {}
  Tensor operator()(const Tensor& x) const {
    const Tensor y = x + path1(dropout1(attn(norm1(x))));
    return y + path2(dropout2(mlp(norm2(y))));
  }
  LayerNorm norm1;
  MultiHeadAttention attn;
  LayerNorm norm2;
  Mlp mlp;
  Dropout dropout1, path1, dropout2, path2;
};

template <class AnyBlock>
struct Stack : Module {
  Stack(DType dtype, double p) : Module(Scope::root(dtype, 5)), blocks(sub("blocks")), norm(sub("norm"), kWidth, 1e-5) {
    for (int i = 0; i < 3; ++i) blocks.add(config(p));
    train(7);
  }
  ModuleList<AnyBlock> blocks;
  LayerNorm norm;
};

Tensor run(const Stack<PlainBlock>& stack, const Tensor& input) {
  Tensor x = input;
  for (const auto& block : stack.blocks) x = (*block)(x);
  return stack.norm(x);
}
Tensor run(const Stack<Block>& stack, const Tensor& input) {
  Residual stream{input};
  for (const auto& block : stack.blocks) stream = (*block)(stream);
  return stack.norm(stream).y;
}

// The result, the gradient of the input, and those of all parameters.
template <class AnyBlock>
std::vector<Array> step(const Stack<AnyBlock>& stack) {
  const DType dtype = stack.scope().dtype();
  const Tensor x = Tensor::leaf(randn({4, 5, kWidth}, dtype, 1));
  const Tensor y = run(stack, x);
  y.backward(randn(y.shape(), dtype, 2));
  std::vector<Array> arrays{y.value(), x.grad()};
  for (const Parameter& parameter : stack.parameters()) arrays.push_back(parameter.tensor.grad());
  return arrays;
}

}  // namespace

TEST_CASE("blocks that hand on their residual sum have the bits of those that write it") {
  const DType dtype = GENERATE(DType::f64, DType::f32, DType::bf16);
  const double p = GENERATE(0.0, 0.3);
  const Stack<PlainBlock> plain(dtype, p);
  const Stack<Block> fused(dtype, p);
  const auto expected = step(plain), got = step(fused);
  REQUIRE(got.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i) {
    CAPTURE(name_of(dtype), p, i);
    REQUIRE(bitwise_equal(got[i], expected[i]));
  }
}

TEST_CASE("pieces of a transformer refuse what they cannot be") {
  for (const double p : {-0.1, 1.0}) REQUIRE_THROWS_WITH(Dropout(Scope::root(), p), says("the probability must be in [0, 1)"));
  REQUIRE_THROWS_WITH(BlockSpecs().at("fc3"), says("a block has no place 'fc3' for a weight matrix; it has qkv, proj, fc1, fc2"));
}

TEST_CASE("a block of a tensor is the sum of the stream that it hands on") {
  const Block block(Scope::root(DType::f32, 3), config(0));
  const Tensor x = randn({2, 5, kWidth}, DType::f32, 4);
  const Residual stream = block(Residual{x});
  REQUIRE(bitwise_equal(block(x).value(), (stream.x + stream.branch).value()));
  REQUIRE(bitwise_equal(Residual{x}.sum().value(), x.value()));
}
