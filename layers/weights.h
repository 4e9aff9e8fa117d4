// Weights of a model in a safetensors file: in its own names and layouts, or in those of other libraries (timm,
// transformers), so that files travel both ways.
#pragma once
#include <filesystem>
#include <functional>

#include "core/safetensors.h"
#include "layers/module.h"

namespace ashlar {

// The parameters and buffers of a model, or of a part of one, under their own names. The file is replaced atomically.
void save_weights(const std::filesystem::path& path, const Module& model);
// Copies the values of such a file into a model of the same names and shapes; InputError of check_weights(), and nothing has
// changed then. A model made in Scope::for_loading() draws no random numbers before.
void load_weights(const std::filesystem::path& path, const Module& model);

// How a parameter is called and laid out in the file.
struct ForeignTensor {
  std::string name;
  Shape shape;              // in the file, with the same values in the same order …
  bool transposed = false;  // … unless it is stored as (in, out)
};
using Exchange = std::function<ForeignTensor(const Parameter& parameter)>;
ForeignTensor as_it_is(const Parameter& parameter);  // the model's own names and layouts

// The parameters and buffers of a model as they stand in a file; copies nothing.
NamedArrays export_weights(const Module& model, const Exchange& exchange);
// The file must hold exactly the model's names and shapes, and floating or whole numbers where the model has them; otherwise one
// InputError lists what is missing, unexpected and different. Names in the file that `ignored` accepts may be missing on either
// side; the model keeps these tensors as they are.
void check_weights(const Module& model, const SafetensorsFile& file, const Exchange& exchange,
                   const std::function<bool(const std::string&)>& ignored = {});
// Copies the values of the file into the model, after check_weights(), the checks of the buffers' values, and read_finite().
void import_weights(const Module& model, const SafetensorsFile& file, const Exchange& exchange,
                    const std::function<bool(const std::string&)>& ignored = {});

// A tensor of the file; InputError also if one of its values is NaN or infinite.
Array read_finite(const SafetensorsFile& file, const std::string& name);

// A gradient, or anything else of a parameter's shape, in the layout of the file.
Array in_foreign_layout(const Array& value, const ForeignTensor& foreign);

}  // namespace ashlar
