#include "examples/support/run_folder.h"

#include "core/error.h"
#include "core/files.h"

namespace ashlar::support {

RunFolder RunFolder::begin(const std::filesystem::path& root, bool resume, const OrderedJson& config) {
  const RunFolder run{root};
  ASHLAR_CHECK(!resume || std::filesystem::exists(run.checkpoint()), "--resume: there is no checkpoint ",
               run.checkpoint().string(), "; leave --resume out to begin a new run");
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
