// What tradeoff shows: each structure's result against its cost, as a table and as a page with curves.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "examples/support/run_record.h"

namespace ashlar::support {

// What is known of a structure at one size.
struct Outcome {
  std::string name;             // "low_rank:ratio=0.5"
  std::string family;           // of the sizes that one curve joins, "low_rank:ratio=*"
  std::int64_t seeds = 1;       // that are asked for
  std::vector<RunRecord> runs;  // that have come to their end: at least one; alike but for the seed
};

// One row each, in Markdown that is aligned for reading, with the share of the first one's multiply-accumulates. Figures are
// means over the seeds, with half the distance of the smallest and the largest; where seeds are missing, the name says so. There
// is at least one outcome.
std::string tradeoff_table(const std::vector<Outcome>& outcomes);
void write_tradeoff_report(const std::filesystem::path& path, const std::vector<Outcome>& outcomes);

}  // namespace ashlar::support
