#include "examples/support/run_folder.h"

#include "core/error.h"
#include "core/files.h"

namespace ashlar::support {

RunFolder RunFolder::begin(const std::filesystem::path& root, RunStart start, const OrderedJson& config) {
  const RunFolder run{root};
  const bool resume = start == RunStart::resume, exists = std::filesystem::exists(run.checkpoint());
  ASHLAR_CHECK(!resume || exists, "--resume: there is no checkpoint ", run.checkpoint().string(),
               "; leave --resume out to begin a new run");
  ASHLAR_CHECK(start != RunStart::fresh || !exists, "--out ", root.string(),
               " holds the checkpoint of an earlier run; --resume goes on from it, --overwrite replaces the run");
  make_writable_folder(run.checkpoint().parent_path());
  make_writable_folder(root);
  if (!resume) {
    for (const auto& path : {run.checkpoint(), run.metrics(), run.model(), run.report()}) {
      std::error_code error;
      std::filesystem::remove(path, error);
      ASHLAR_CHECK(!error, "cannot remove ", path.string(), " of an earlier run: ", error.message());
    }
  }
  write_json(run.config(), config);
  return run;
}

}  // namespace ashlar::support
