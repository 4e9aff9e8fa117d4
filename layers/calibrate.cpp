#include "layers/calibrate.h"

#include <algorithm>

#include "kernels/elementwise/elementwise.h"
#include "kernels/linalg/linalg.h"
#include "kernels/reduce/reduce.h"

namespace ashlar {
namespace {

std::map<std::string, LinearMap*> maps_at(Module& model, const std::set<std::string>& paths) {
  const auto all = linear_maps(model);
  std::map<std::string, LinearMap*> maps;
  for (const std::string& path : paths) {
    ASHLAR_CHECK(all.contains(path), "calibrate: the model has no linear map ", path);
    maps.emplace(path, all.at(path));
  }
  return maps;
}

void add(const Array& values, const Array& sum) {
  kernels::linear_combination(sum.exec(), sum, 1, values.to(sum.dtype()), 1, sum);
}

struct Moments {
  Array sum;  // (in, in) f64, on the host
  Dim rows = 0;
};

// Takes the observers away however the run ends.
class Observers {
 public:
  Observers(const std::map<std::string, LinearMap*>& maps, std::map<std::string, Moments>& moments) : maps_(maps) {
    for (const auto& [path, map] : maps) {
      map->observe([&own = moments.at(path)](const Array& x) {
        add(linalg::gram(x.to(x.dtype() == DType::f64 ? DType::f64 : DType::f32)).to(Device{}), own.sum);
        own.rows += x.size(0);
      });
    }
  }
  ~Observers() {
    for (const auto& [path, map] : maps_) map->observe({});
  }
  Observers(const Observers&) = delete;
  Observers& operator=(const Observers&) = delete;

 private:
  const std::map<std::string, LinearMap*>& maps_;
};

Tensor dense_weight(const LinearMap& map) {
  ASHLAR_CHECK(map.spec() == "dense", "calibrate ", map.scope().path(), ": the Fisher information needs dense weights, these ",
               "are ", map.spec(), "; weigh by activations instead");
  const Parameters parameters = map.parameters();
  return std::ranges::find(parameters, Role::matrix, [](const Parameter& p) { return p.info.role; })->tensor;
}

void check_samples(Dim samples) { ASHLAR_CHECK(samples >= 1, "calibrate: needs at least one sample, got ", samples); }

}  // namespace

Calibration calibrate_activations(Module& model, const std::set<std::string>& paths, Dim samples,
                                  const std::function<void(Dim sample)>& run) {
  check_samples(samples);
  const auto maps = maps_at(model, paths);
  std::map<std::string, Moments> moments;
  for (const auto& [path, map] : maps) {
    moments[path].sum = Array::zeros({map->in_features(), map->in_features()}, DType::f64);
  }
  {
    const Observers observers(maps, moments);
    const NoGrad no_grad;
    for (Dim sample = 0; sample < samples; ++sample) run(sample);
  }
  Calibration result;
  for (const auto& [path, own] : moments) {
    ASHLAR_CHECK(own.rows > 0, "calibrate ", path, ": no input reached it");
    kernels::scale(own.sum.exec(), own.sum, 1.0 / static_cast<double>(own.rows), own.sum);
    result[path].input_moments = own.sum;
  }
  return result;
}

Calibration calibrate_fisher(Module& model, const std::set<std::string>& paths, Dim samples,
                             const std::function<Tensor(Dim sample)>& loss) {
  check_samples(samples);
  std::map<std::string, Tensor> weights;
  Calibration result;
  for (const auto& [path, map] : maps_at(model, paths)) {
    weights.emplace(path, dense_weight(*map));
    result[path].row_weights = Array::zeros({map->out_features()}, DType::f64);
  }
  const auto zero_grad = [&] {
    for (const Parameter& p : model.parameters()) p.tensor.zero_grad();
  };
  for (Dim sample = 0; sample < samples; ++sample) {
    zero_grad();
    loss(sample).backward();
    for (const auto& [path, weight] : weights) {
      ASHLAR_CHECK(weight.grad().defined(), "calibrate ", path, ": no gradient reached it");
      const Array gradient = weight.grad().to(Device{}).to(DType::f64), squares = empty_like(gradient);
      kernels::multiply(gradient.exec(), gradient, gradient, squares);
      const Array rows = Array::empty({gradient.size(0), 1}, DType::f64);
      kernels::sum_to(gradient.exec(), squares, rows);
      add(rows.reshape({gradient.size(0)}), result[path].row_weights);
    }
  }
  zero_grad();
  for (const auto& [path, own] : result) {
    kernels::scale(own.row_weights.exec(), own.row_weights, 1.0 / static_cast<double>(samples), own.row_weights);
  }
  return result;
}

}  // namespace ashlar
