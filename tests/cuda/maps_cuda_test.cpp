// What the suite of linear maps does not ask of structured ones on a GPU: rows that lie apart, gradients one by one, no rows.
#include "kernels/blast/blast.h"
#include "kernels/block_diagonal/block_diagonal.h"
#include "kernels/monarch/monarch.h"
#include "kernels/ss1/ss1.h"
#include "tests/cuda/support.h"
#include "tests/support/environment.h"

using namespace ashlar;
using namespace ashlar::test;

namespace {

// The kernels of a map from x (R, in) to y (R, out), with a bias; what a backward asks for beyond x is made by itself. Gradients
// that are not defined are not asked for.
struct Map {
  std::string name;
  Dim in, out;
  std::vector<Shape> weights;
  std::function<void(const Exec&, const Array& x, const Arrays& weights, const Array& bias, const Array& y)> forward;
  std::function<void(const Exec&, const Array& dy, const Array& x, const Arrays& weights, const Array& dx, const Arrays& gradients,
                     const Array& dbias)>
      backward;
};

Map low_rank(Dim in, Dim out, Dim rank) {
  return {"low rank", in, out, {{1, out, rank}, {1, in, rank}},
          [](const Exec& exec, const auto& x, const auto& w, const auto& bias, const auto& y) {
            kernels::blast_forward(exec, x, w[0], w[1], {}, bias, {}, y);
          },
          [](const Exec& exec, const auto& dy, const auto& x, const auto& w, const auto& dx, const auto& dw, const auto& dbias) {
            kernels::blast_backward(exec, dy, x, {}, w[0], w[1], {}, dx, dw[0], dw[1], {}, dbias);
          }};
}

Map blast(Dim in, Dim out, Dim out_blocks, Dim in_blocks, Dim rank) {
  const Dim p = (out + out_blocks - 1) / out_blocks, q = (in + in_blocks - 1) / in_blocks;
  return {concat("BLAST of rank ", rank), in, out, {{out_blocks, p, rank}, {in_blocks, q, rank}, {out_blocks, in_blocks, rank}},
          [](const Exec& exec, const auto& x, const auto& w, const auto& bias, const auto& y) {
            kernels::blast_forward(exec, x, w[0], w[1], w[2], bias, {}, y);
          },
          [](const Exec& exec, const auto& dy, const auto& x, const auto& w, const auto& dx, const auto& dw, const auto& dbias) {
            kernels::blast_backward(exec, dy, x, {}, w[0], w[1], w[2], dx, dw[0], dw[1], dw[2], dbias);
          }};
}

Map block_diagonal(Dim in, Dim out, Dim blocks, bool shuffle) {
  return {shuffle ? "shuffled blocks" : "blocks", in, out, {{blocks, (out + blocks - 1) / blocks, (in + blocks - 1) / blocks}},
          [=](const Exec& exec, const auto& x, const auto& w, const auto& bias, const auto& y) {
            kernels::block_diagonal_forward(exec, x, w[0], bias, shuffle, y);
          },
          [=](const Exec& exec, const auto& dy, const auto& x, const auto& w, const auto& dx, const auto& dw, const auto& dbias) {
            kernels::block_diagonal_backward(exec, dy, x, w[0], shuffle, dx, dw[0], dbias);
          }};
}

Map monarch(Dim in, Dim out, Dim blocks, Dim rank) {
  const Dim p = (out + blocks - 1) / blocks, q = (in + blocks - 1) / blocks;
  return {"Monarch", in, out, {{blocks, blocks * rank, q}, {blocks, p, blocks * rank}},
          [](const Exec& exec, const auto& x, const auto& w, const auto& bias, const auto& y) {
            kernels::monarch_forward(exec, x, w[0], w[1], bias, {}, y);
          },
          [=](const Exec& exec, const auto& dy, const auto& x, const auto& w, const auto& dx, const auto& dw, const auto& dbias) {
            const Array h = Array::empty({x.size(0), blocks * blocks * rank}, x.dtype(), exec.device);
            const Array y = Array::empty(dy.shape(), dy.dtype(), exec.device);
            kernels::monarch_forward(exec, x, w[0], w[1], {}, h, y);
            kernels::monarch_backward(exec, dy, x, h, w[0], w[1], dx, dw[0], dw[1], dbias);
          }};
}

Map ss1(Dim in, Dim out, Dim classes, Dim reduction, Dim block) {
  const Shape table{classes, (in + reduction * block - 1) / (reduction * block), reduction};
  const Array shift = random_ids(table, static_cast<std::uint32_t>(block), 11);
  std::vector<std::int32_t> signs = random_ids(table, 2, 12).to_vector<std::int32_t>();
  for (auto& sign : signs) sign = 2 * sign - 1;
  const Array sign = Array::from(signs, table);
  return {concat("SS1 of ", classes, " classes"), in, out, {{out, table[1] * block}},
          [=](const Exec& exec, const auto& x, const auto& w, const auto& bias, const auto& y) {
            const Arrays tables = on(exec.device, {shift, sign});
            kernels::ss1_forward(exec, x, tables[0], tables[1], w[0], bias, {}, y);
          },
          [=](const Exec& exec, const auto& dy, const auto& x, const auto& w, const auto& dx, const auto& dw, const auto& dbias) {
            const Arrays tables = on(exec.device, {shift, sign});
            kernels::ss1_backward(exec, dy, x, {}, tables[0], tables[1], w[0], dx, dw[0], dbias);
          }};
}

// Ragged, so that there is padding on either side, on one alone or on none; and as the fused kernels take them in bf16.
std::vector<Map> maps() {
  return {low_rank(37, 50, 9),
          blast(37, 50, 3, 5, 9), blast(40, 50, 3, 5, 9), blast(37, 48, 3, 5, 9), blast(120, 160, 4, 3, 24), blast(72, 64, 2, 6, 8),
          block_diagonal(37, 50, 4, false), block_diagonal(40, 50, 4, false), block_diagonal(40, 48, 4, false),
          block_diagonal(3, 8, 4, false), block_diagonal(37, 50, 4, true),
          monarch(37, 50, 4, 5), monarch(40, 50, 4, 5), monarch(37, 48, 4, 5),
          ss1(50, 37, 3, 4, 4), ss1(104, 96, 1, 2, 16), ss1(50, 40, 1, 2, 5)};
}

Arrays weights_of(const Map& map, DType dtype) {
  Arrays result;
  for (const Shape& shape : map.weights) result.push_back(randn(shape, master_dtype(dtype), 20 + result.size()));
  return result;
}

}  // namespace

TEST_CASE("structured maps of rows that lie apart", "[cuda]") {
  if (!has_gpu()) return;
  const std::string fused = GENERATE("on", "off");
  const EnvironmentVariable set("ASHLAR_FUSED", fused);
  for (const Map& map : maps()) {
    for (const DType dtype : kFloating) {
      if (fused == "on" && dtype != DType::bf16) continue;
      for (const Dim begin : {1, 8}) {  // where no vector begins, and where one does
        INFO(map.name << " " << map.in << " -> " << map.out << " " << dtype << " from " << begin << " on, fused: " << fused);
        constexpr Dim kRows = 19;
        const auto wide = [=](Dim columns) { return Array::full({kRows, columns + 16}, 7, dtype); };
        Arrays inputs = weights_of(map, dtype), outputs = inputs;
        const std::size_t count = inputs.size();
        for (Array& gradient : outputs) gradient = nan_like(gradient);
        inputs.push_back(randn({map.out}, master_dtype(dtype), 1));
        inputs.push_back(randn({kRows, map.in + 16}, dtype, 2));
        inputs.push_back(randn({kRows, map.out + 16}, dtype, 3));
        outputs.push_back(nan_like(inputs[count]));
        outputs.push_back(wide(map.in));
        outputs.push_back(wide(map.out));
        same_on_gpu(inputs, outputs, gpu_tolerance(dtype), [&](const Exec& exec, const Arrays& in, const Arrays& out) {
          const auto inner = [=](const Array& a) { return a.slice(1, begin, a.size(1) - 16 + begin); };
          map.forward(exec, inner(in[count + 1]), in, in[count], inner(out[count + 2]));
          map.backward(exec, inner(in[count + 2]), inner(in[count + 1]), in, inner(out[count + 1]), out, out[count]);
        });
      }
    }
  }
}

// As weights are in the dtype of x, if they are not parameters; the coupling of BLAST is in the master dtype always.
TEST_CASE("structured maps of weights that begin where no vector does", "[cuda]") {
  if (!has_gpu()) return;
  const std::string fused = GENERATE("on", "off");
  const EnvironmentVariable set("ASHLAR_FUSED", fused);
  for (const Map& map : maps()) {
    INFO(map.name << " " << map.in << " -> " << map.out << ", fused: " << fused);
    Arrays inputs;
    for (const Shape& shape : map.weights) {
      const DType dtype = inputs.size() == 2 ? DType::f32 : DType::bf16;
      inputs.push_back(randn({shape.numel() + 1}, dtype, inputs.size()));
    }
    const std::size_t count = inputs.size();
    inputs.push_back(randn({map.out}, DType::f32, 3));
    inputs.push_back(randn({19, map.in}, DType::bf16, 4));
    same_on_gpu(inputs, {Array::full({19, map.out}, NAN, DType::bf16)}, gpu_tolerance(DType::bf16),
                [&](const Exec& exec, const Arrays& in, const Arrays& out) {
                  Arrays weights;
                  for (std::size_t i = 0; i < count; ++i) {
                    weights.push_back(in[i].slice(0, 1, in[i].size(0)).reshape(map.weights[i]));
                  }
                  map.forward(exec, in[count + 1], weights, in[count], out[0]);
                });
  }
}

TEST_CASE("each gradient of a structured map without the others", "[cuda]") {
  if (!has_gpu()) return;
  for (const Map& map : maps()) {
    for (const DType dtype : kFloating) {
      Arrays inputs = weights_of(map, dtype), gradients = inputs;
      const std::size_t count = inputs.size();
      inputs.push_back(randn({19, map.in}, dtype, 2));
      inputs.push_back(randn({19, map.out}, dtype, 3));
      gradients.push_back(randn({map.out}, master_dtype(dtype), 1));
      gradients.push_back(inputs[count]);
      for (std::size_t which = 0; which < gradients.size(); ++which) {
        INFO(map.name << " " << map.in << " -> " << map.out << " " << dtype << ", gradient " << which);
        same_on_gpu(inputs, {nan_like(gradients[which])}, gpu_tolerance(dtype),
                    [&](const Exec& exec, const Arrays& in, const Arrays& out) {
                      Arrays asked(gradients.size());
                      asked[which] = out[0];
                      map.backward(exec, in[count + 1], in[count], in, asked[count + 1], asked, asked[count]);
                    });
      }
    }
  }
}

TEST_CASE("structured maps of no rows have gradients of zero", "[cuda]") {
  if (!has_gpu()) return;
  for (const Map& map : maps()) {
    for (const DType dtype : kFloating) {
      INFO(map.name << " " << map.in << " -> " << map.out << " " << dtype);
      const Arrays weights = on(kGpu, weights_of(map, dtype));
      Arrays gradients;
      for (const Array& w : weights) gradients.push_back(Array::full(w.shape(), NAN, w.dtype(), kGpu));
      const Array x = Array::zeros({0, map.in}, dtype, kGpu), y = Array::zeros({0, map.out}, dtype, kGpu);
      const Array bias = Array::full({map.out}, NAN, master_dtype(dtype), kGpu);
      map.forward(x.exec(), x, weights, bias, y);
      map.backward(x.exec(), y, x, weights, x, gradients, bias);
      for (const Array& gradient : gradients) CHECK(all_equal(gradient, 0));
      CHECK(all_equal(bias, 0));
    }
  }
}
