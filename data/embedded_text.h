// The text of the project's own sources and documentation, compiled into the library: the default of
// train_gpt. data/embedded_text.cmake gathers it at build time.
#pragma once
#include <string_view>

namespace ashlar::data {

// The files one after the other, each below a line that names it.
std::string_view embedded_sources();
// The folder the library was built from.
std::string_view source_folder();

}  // namespace ashlar::data
