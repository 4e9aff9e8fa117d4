#include "examples/support/run_folder.h"

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "core/error.h"

namespace ashlar::support {
namespace {

using std::filesystem::path;

std::array<path, 4> results(const RunFolder& run) { return {run.checkpoint(), run.model(), run.metrics(), run.report()}; }

void check_contents(const RunFolder& run, RunStart start) {
  const bool checkpoint = std::filesystem::exists(run.checkpoint());
  const bool others = std::filesystem::exists(run.model()) || std::filesystem::exists(run.metrics());
  ASHLAR_CHECK(start != RunStart::resume || checkpoint, "--resume: there is no checkpoint ", run.checkpoint().string(),
               others ? "; give --overwrite in place of --resume to replace what the folder holds by a new run"
                      : "; leave --resume out to begin a new run");
  ASHLAR_CHECK(start != RunStart::resume || std::filesystem::exists(run.config()), "--resume: there is no ", run.config().string(),
               ", which tells what the run was trained on and how; put it back there");
  if (start != RunStart::fresh) return;
  ASHLAR_CHECK(!checkpoint, "--out ", run.root.string(),
               " holds the checkpoint of an earlier run; --resume goes on from it, --overwrite replaces the run");
  for (const path& file : results(run)) {
    ASHLAR_CHECK(!std::filesystem::exists(file), "--out ", run.root.string(), " holds ", file.filename().string(),
                 " and no checkpoint to go on from; give another folder, or replace what it holds with --overwrite");
  }
}

}  // namespace

path RunFolder::whole() const {
  const path folder = std::filesystem::absolute(root).lexically_normal();
  return folder.has_filename() ? folder : folder.parent_path();
}

void RunFolder::check(RunStart start) const {
  check_writable_folder(root);
  check_writable_folder(checkpoint().parent_path());
  if (std::filesystem::exists(root)) const FolderLock nobody_else(root);
  check_contents(*this, start);
}

FolderLock RunFolder::hold(RunStart start) const {
  check(start);
  make_writable_folder(root);
  FolderLock lock(root);
  check_contents(*this, start);  // once more: only now nobody else can change them
  return lock;
}

std::string RunFolder::changes(const OrderedJson& config_json) const {
  const Json before = read_json(config()).flatten(), now = Json(config_json).flatten();
  std::string text;
  for (const auto& [option, value] : now.items()) {
    if (!before.contains(option) || before[option] == value || option == "/out") continue;
    text += concat(text.empty() ? "" : ", ", option.substr(1), " ", before[option].dump(), " -> ", value.dump());
  }
  return text;
}

void RunFolder::begin(RunStart start, const OrderedJson& config_json) const {
  if (start != RunStart::resume) {
    for (const path& file : results(*this)) {
      std::error_code error;
      std::filesystem::remove(file, error);
      ASHLAR_CHECK(!error, "cannot remove ", file.string(), " of an earlier run: ", error.message());
    }
  }
  write_json(config(), config_json);
}

bool RunFolder::replaces(const path& file) const {
  return std::ranges::any_of(results(*this), [&](const path& result) {
    std::error_code error;
    return std::filesystem::equivalent(file, result, error);
  });
}

}  // namespace ashlar::support
