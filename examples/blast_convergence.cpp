// blast_convergence: how the factorisation of a matrix into BLAST factors converges with and without its preconditioner,
// at the exact rank and above it, as a picture (after Figure 3 of Lee et al. 2024) and a table.
#include <cstdio>

#include "core/files.h"
#include "core/parallel.h"
#include "core/random.h"
#include "examples/support/chart.h"
#include "examples/support/format.h"
#include "examples/support/options.h"
#include "examples/support/program.h"
#include "examples/support/progress.h"
#include "examples/support/system.h"
#include "kernels/linalg/linalg.h"
#include "layers/blast/factorize.h"
#include "layers/init.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;
using Descent = FactorizeOptions::Descent;

struct Settings {
  std::filesystem::path out = "blast_convergence.svg";
  std::int64_t size = 256, blocks = 4, rank = 8, larger_rank = 32;
  int iterations = 300, threads = 0;
  std::uint64_t seed = 1;
};

Array normal(const Shape& shape, std::uint64_t key) {
  Array values = Array::empty(shape, DType::f64);
  init::normal(1.0)(values, key);
  return values;
}

std::vector<Point> curve(const Settings& s, const Array& target, Dim rank, Descent descent) {
  std::vector<Point> points{{0, 1}};
  FactorizeOptions options;
  options.descent = descent;
  options.iterations = s.iterations;
  options.sweeps = 0;
  options.seed = s.seed;
  options.observe = [&](double error) { points.push_back({static_cast<double>(points.size()), error}); };
  factorize_blast(target, s.blocks, s.blocks, rank, options);
  return points;
}

void run(int argc, char** argv) {
  Settings s;
  Options options("blast_convergence",
                  "Plots how the BLAST factorisation of a matrix converges, with and without preconditioning; in f64, on the CPU.");
  options.add("out", s.out, "picture to write, SVG").value_name("FILE");
  options.add("size", s.size, "rows and columns of the matrix").at_least(1);
  options.add("blocks", s.blocks, "blocks of a row and of a column, a divisor of --size").at_least(1);
  options.add("rank", s.rank, "rank of the matrix, and of its factors in the first chart").at_least(1);
  options.add("larger_rank", s.larger_rank, "rank of the factors in the second chart").at_least(1);
  options.add("iterations", s.iterations, "iterations of the descent").at_least(1);
  options.add("seed", s.seed, "seed of matrix and start");
  add_threads_option(options, s.threads);
  if (!options.parse(argc, argv)) return;
  ASHLAR_CHECK(s.size % s.blocks == 0, "--blocks ", s.blocks, " must divide --size ", s.size);
  ASHLAR_CHECK(s.larger_rank >= s.rank, "--larger-rank ", s.larger_rank, " is smaller than --rank ", s.rank,
               "; give one that is not");
  ASHLAR_CHECK(s.out.extension() == ".svg", "--out ", s.out.string(), ": the picture is written as SVG; let the name end in .svg");
  set_num_threads(s.threads);
  { const AtomicFile probe(s.out); }  // what cannot be written is told before the work

  const Dim block = s.size / s.blocks;
  // By name: the starts have the keys that count from the seed, and one with those of its target would be the answer already.
  const auto key = [&](std::string_view factor) { return key_of(s.seed, factor); };
  const std::pair<std::string, Array> targets[] = {
      {"low-rank matrix", linalg::product(normal({s.size, s.rank}, key("left")), normal({s.rank, s.size}, key("right")))},
      {"BLAST matrix", blast_to_dense({normal({s.blocks, block, s.rank}, key("U")), normal({s.blocks, block, s.rank}, key("V")),
                                       normal({s.blocks, s.blocks, s.rank}, key("S"))})}};
  std::vector<Chart> charts;
  std::vector<std::string> table;
  ItemProgress progress;
  std::int64_t done = 0;
  for (const Dim rank : {s.rank, s.larger_rank}) {
    Chart chart{concat("Factors of rank ", rank, " for matrices of rank ", s.rank), "iteration", "relative error", true,
                false, {}};
    int color = 0;
    for (const auto& [name, target] : targets) {
      for (const Descent descent : {Descent::plain, Descent::preconditioned}) {
        const std::string how = descent == Descent::plain ? "gradient descent" : "preconditioned";
        progress.update(done++, 8, concat(name, ", rank ", rank, ", ", how));
        const auto points = curve(s, target, rank, descent);
        chart.lines.push_back({concat(name, ", ", how), color++, LineStyle::solid, points});
        std::string row = concat("| ", name, " | ", rank, " | ", how, " |");
        for (const std::size_t at : {1u, 10u, 30u, 100u, 300u}) {
          row += at < points.size() ? printed(" %.0e |", points[at].y) : " – |";
        }
        table.push_back(row);
      }
    }
    charts.push_back(std::move(chart));
  }
  progress.message("| target | rank | descent | 1 | 10 | 30 | 100 | 300 |\n| --- | --- | --- | --- | --- | --- | --- | --- |");
  for (const std::string& row : table) progress.message(row);
  write_file(s.out, render_svg(charts));
  progress.message(concat("picture: ", s.out.string()));
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
