// data/download.sh against a server on this machine; the steps are in download_test.sh.
#include <sys/wait.h>

#include <cstdlib>
#include <fstream>
#include <sstream>

#include "tests/data/support.h"
#include "tests/support/catch.h"

namespace ashlar::data {

TEST_CASE("download_fetches_checks_and_unpacks", "[data]") {
  TemporaryFolder folder;
  const auto log = folder.path() / "log";
  const std::string command = "bash '" ASHLAR_SOURCE_DIR "/tests/data/download_test.sh' '" +
                              folder.path().string() + "/work' >'" + log.string() + "' 2>&1";
  const int status = std::system(command.c_str());
  std::ifstream file(log);
  std::stringstream said;
  said << file.rdbuf();
  INFO(said.str());
  REQUIRE(WIFEXITED(status));
  constexpr int kSkipped = 77;
  if (WEXITSTATUS(status) == kSkipped) {
    WARN("skipped: " + said.str());
    return;
  }
  REQUIRE(WEXITSTATUS(status) == 0);
}

}  // namespace ashlar::data
