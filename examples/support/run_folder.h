// The folder of a run (--out): where each of its files lies, and how a run begins in it.
#pragma once
#include <cstdint>
#include <filesystem>

#include "core/files.h"
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
  // The whole path, which ends in the folder's name also of "runs/a/" and ".".
  std::filesystem::path whole() const;
  std::string name() const { return whole().filename().string(); }

  // InputError if no run may begin so: a resumed one needs a checkpoint and a config there; a fresh one refuses a checkpoint, weights,
  // metrics and a report, so that hours of training are not lost to a forgotten flag; none may begin where another program
  // is at work, or in a folder that cannot be written to. Makes and changes nothing.
  void check(RunStart start) const;
  // Makes the folder after check(). It belongs to the run while the lock lives.
  FolderLock hold(RunStart start) const;
  // "lr 0.01 -> 0.02, seed 1 -> 3": options that `config` and the one in the folder both have, and not alike.
  std::string changes(const OrderedJson& config) const;
  // Writes config.json; fresh and overwriting runs remove the metrics, weights, checkpoint and report that they find.
  // Call it when everything that the user gave is known to be good, and hold() the folder.
  void begin(RunStart start, const OrderedJson& config) const;
  // Whether an overwriting run removes this file.
  bool replaces(const std::filesystem::path& file) const;
};

}  // namespace ashlar::support
