// The folder of a run (--out): where each of its files lies, and how a run begins in it.
#pragma once
#include <cstdint>
#include <filesystem>

#include "core/json.h"

namespace ashlar::support {

enum class RunStart : std::uint8_t { fresh, overwrite, resume };

struct RunFolder {
  std::filesystem::path root;

  std::filesystem::path config() const { return root / "config.json"; }
  std::filesystem::path metrics() const { return root / "metrics.jsonl"; }
  std::filesystem::path model() const { return root / "model.safetensors"; }
  std::filesystem::path report() const { return root / "report.html"; }
  // Weights, optimizer state and step in one file: replacing it is one rename, so that there is no moment at which a
  // crash leaves half of an old and half of a new checkpoint.
  std::filesystem::path checkpoint() const { return root / "checkpoint" / "state.safetensors"; }

  // Makes the folder, checks that it can be written to, writes config.json. A resumed run needs a checkpoint there, a
  // fresh one refuses it: hours of training are not lost to a forgotten flag. Fresh and overwriting runs remove the
  // metrics, weights, checkpoint and report that they find. Call it when everything that the user gave is known to be
  // good.
  static RunFolder begin(const std::filesystem::path& root, RunStart start, const OrderedJson& config);
};

}  // namespace ashlar::support
