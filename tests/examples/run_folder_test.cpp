// The folder of a run, and how a run begins in it.
#include "examples/support/run_folder.h"

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

using namespace ashlar;
using namespace ashlar::support;
using namespace ashlar::test;

TEST_CASE("a fresh run spares an earlier one, an overwriting run clears it, a resumed run needs its checkpoint") {
  const TemporaryFolder folder;
  const auto root = folder / "runs/a";
  const RunFolder run{root};
  const auto begin = [&](RunStart start, const OrderedJson& config) {
    const FolderLock lock = run.hold(start);
    run.begin(start, config);
  };
  CHECK(contains(error_of([&] { begin(RunStart::resume, {}); }), "there is no checkpoint"));
  CHECK_FALSE(std::filesystem::exists(root));
  make_writable_folder(folder / "killed");
  write_file(folder / "killed/metrics.jsonl", "x");
  CHECK(contains(error_of([&] { RunFolder{folder / "killed"}.check(RunStart::resume); }), "--overwrite in place of --resume"));

  begin(RunStart::fresh, {{"lr", 1}});
  CHECK(read_json(run.config())["lr"] == 1);
  make_writable_folder(run.checkpoint().parent_path());
  for (const auto& path : {run.checkpoint(), run.metrics(), run.model(), run.report()}) write_file(path, "x");
  begin(RunStart::resume, {{"lr", 2}});
  CHECK(read_json(run.config())["lr"] == 2);
  CHECK(std::filesystem::exists(run.checkpoint()));
  CHECK(std::filesystem::exists(run.metrics()));
  CHECK(contains(error_of([&] { begin(RunStart::fresh, {{"lr", 3}}); }),
                 "holds the checkpoint of an earlier run; --resume goes on from it, --overwrite replaces the run"));
  CHECK(read_json(run.config())["lr"] == 2);
  CHECK(std::filesystem::exists(run.checkpoint()));
  begin(RunStart::overwrite, {{"lr", 3}});
  for (const auto& path : {run.checkpoint(), run.metrics(), run.model(), run.report()}) {
    CHECK_FALSE(std::filesystem::exists(path));
  }
  write_file(folder / "file", "x");
  CHECK(contains(error_of([&] { RunFolder{folder / "file"}.hold(RunStart::fresh); }), "cannot write to folder"));
}

TEST_CASE("a fresh run spares weights and metrics without a checkpoint too, and one that goes on") {
  const TemporaryFolder folder;
  const RunFolder run{folder.path()};
  for (const auto& file : {run.model(), run.metrics()}) {
    write_file(file, "x");
    CHECK(contains(error_of([&] { run.check(RunStart::fresh); }), "holds " + file.filename().string()));
    run.check(RunStart::overwrite);
    CHECK(run.replaces(folder / "../" / folder.path().filename() / file.filename()));
    std::filesystem::remove(file);
  }
  write_file(run.config(), "x");
  run.check(RunStart::fresh);
  CHECK_FALSE(run.replaces(run.config()));
  const FolderLock lock = run.hold(RunStart::fresh);
  for (const RunStart start : {RunStart::fresh, RunStart::overwrite}) {
    CHECK(contains(error_of([&] { run.check(start); }), "another program is at work in it"));
    CHECK(contains(error_of([&] { run.hold(start); }), "another program is at work in it"));
  }
}

TEST_CASE("the name of a run is that of its folder, however its path ends") {
  for (const char* path : {"runs/a", "runs/a/", "runs/a/.", "/runs/b/../a//"}) CHECK(RunFolder{path}.name() == "a");
  CHECK(RunFolder{"."}.name() == std::filesystem::current_path().filename());
}
