// Anderson acceleration of a fixed-point iteration x <- g(x) (Walker and Ni 2011): the next x is the combination of the
// last few g(x) whose residuals g(x) - x cancel best. It learns the slow directions, of which alternating least squares
// has many.
#pragma once
#include <deque>
#include <vector>

namespace ashlar {

class Anderson {
 public:
  explicit Anderson(std::size_t memory) : memory_(memory) {}
  // From x and g = g(x), and what was given before; g itself at first.
  std::vector<double> next(const std::vector<double>& x, std::vector<double> g);
  // Begins again from the latest g: after a step that was not taken.
  void forget();

 private:
  std::size_t memory_;
  std::deque<std::vector<double>> values_, residuals_;  // g(x) and g(x) - x, the latest last
};

}  // namespace ashlar
