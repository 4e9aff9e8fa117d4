// report.html: one run, or several side by side, in a page that needs nothing but itself.
#pragma once
#include <filesystem>
#include <string>
#include <vector>

#include "examples/support/run_record.h"

namespace ashlar::support {

// Runs of one kind (images, text) share charts and a table. A single run is drawn over its steps; several over
// wall time, since a step of one may cost more than a step of another.
void write_report(const std::filesystem::path& path, const std::string& title, const std::vector<RunRecord>& runs);

}  // namespace ashlar::support
