// What permissions forbid, which no superuser notices.
#pragma once
#include <unistd.h>

#include "tests/support/catch.h"

namespace ashlar::test {

// Calls it without the rights of the superuser: a test run that has them becomes nobody for a moment. False where there is no
// nobody to become, as in a user namespace of one id.
template <class Call>
bool as_nobody(Call&& call) {
  const bool superuser = ::geteuid() == 0;
  if (superuser && ::seteuid(65534) != 0) {
    WARN("skipped: the superuser cannot become nobody here");
    return false;
  }
  call();
  if (superuser) REQUIRE(::seteuid(0) == 0);
  return true;
}

}  // namespace ashlar::test
