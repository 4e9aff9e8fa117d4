// classify: lists the likeliest classes of images, by a trained ViT.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>

#include "core/parallel.h"
#include "core/safetensors.h"
#include "data/image_formats.h"
#include "examples/models/saved.h"
#include "examples/support/format.h"
#include "examples/support/options.h"
#include "examples/support/program.h"
#include "examples/support/system.h"

namespace {

using namespace ashlar;
using namespace ashlar::support;

constexpr Dim kBatch = 64;

struct Settings {
  std::filesystem::path model;
  std::vector<std::string> images;
  std::int64_t top = 3;
  std::string device = "cpu", dtype = "f32";
  int threads = 0;
};

struct Guess {
  std::string name;
  double probability;
};

// The files that hold an image: one that does not spoils none of the others. What is wrong with them is added to `failures`.
std::vector<std::string> readable(const std::vector<std::string>& files, std::string& failures) {
  std::vector<std::string> result;
  for (const std::string& file : files) {
    try {
      data::decode_image(file);
      result.push_back(file);
    } catch (const InputError& error) {
      failures += (failures.empty() ? "" : "; ") + std::string(error.what());
    }
  }
  return result;
}

// The `top` likeliest classes by these logits.
std::vector<Guess> likeliest(const std::vector<float>& logits, const std::vector<std::string>& names, std::int64_t top) {
  std::vector<std::size_t> order(logits.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::stable_sort(order, [&](std::size_t a, std::size_t b) { return logits[a] > logits[b]; });
  std::vector<Guess> all;
  double sum = 0;
  for (const std::size_t of : order) {
    all.push_back({names[of], std::exp(static_cast<double>(logits[of]) - logits[order[0]])});
    sum += all.back().probability;
  }
  for (Guess& guess : all) guess.probability /= sum;
  if (top < static_cast<std::int64_t>(all.size())) all.resize(static_cast<std::size_t>(top));
  return all;
}

// A line an image: "ship.png   ship    71.32 %   truck   20.10 %".
void print(const std::vector<std::string>& images, const std::vector<std::vector<Guess>>& guesses) {
  std::size_t image_width = 0, name_width = 0;
  for (const std::string& image : images) image_width = std::max(image_width, columns_of(image));
  for (const auto& of_image : guesses) {
    for (const Guess& guess : of_image) name_width = std::max(name_width, columns_of(guess.name));
  }
  for (std::size_t i = 0; i < images.size(); ++i) {
    std::printf("%s", padded(images[i], image_width).c_str());
    for (const auto& [name, probability] : guesses[i]) {
      std::printf("   %s %6.2f %%", padded(name, name_width).c_str(), 100 * probability);
    }
    std::printf("\n");
  }
}

void run(int argc, char** argv) {
  Settings s;
  Options options("classify", "Lists the likeliest classes of images, by a trained ViT. IMAGE is a png, jpg or bmp file of any size: "
                              "its shorter side is scaled to that of the model's images, and the central square is taken.");
  options.positional("IMAGE", s.images);
  options.add("model", s.model, "folder with config.json and model.safetensors").value_name("DIR");
  options.add("top", s.top, "list the N likeliest classes").at_least(1);
  add_device_option(options, s.device);
  add_dtype_option(options, s.dtype);
  add_threads_option(options, s.threads);
  if (!options.parse(argc, argv)) return;
  check_model_folder(s.model, "train_vit");
  ASHLAR_CHECK(!s.images.empty(), "no images given; name the files of some, see --help");
  ASHLAR_CHECK(std::ranges::find(s.images, "") == s.images.end(), "IMAGE: the path is empty; give a PNG, JPEG or BMP file");
  set_num_threads(s.threads);

  const std::filesystem::path config_file = s.model / "config.json";
  const SafetensorsFile weights(s.model / "model.safetensors");
  const VitConfig config = read_vit_config(config_file, weights);
  const VitData data = read_vit_data(config_file, config.classes);
  Vit model(Scope::root(parse_dtype(s.dtype), 0, Device::parse(s.device)).for_loading(), config);
  import_weights(model, weights, model.timm());
  model.freeze();

  const NoGrad no_grad;
  std::vector<std::string> images = s.images;
  std::string failures;
  const auto read = [&] { return data::read_images({images.begin(), images.end()}, config.image); };
  Array pixels;
  try {
    pixels = read();
  } catch (const InputError&) {
    images = readable(s.images, failures);
    if (images.empty()) throw;
    pixels = read();
  }
  const data::ImageSplit split{pixels, Array::zeros({static_cast<Dim>(images.size())}, DType::i32)};
  const data::ImageEvaluation batches(split, kBatch, data.normalisation);
  std::vector<std::vector<Guess>> guesses;
  for (Dim index = 0; index < batches.batches(); ++index) {
    const auto logits = model(batches.at(index).images).value().to_vector<float>();
    check_logits(logits, weights.path());
    for (auto row = logits.begin(); row != logits.end(); row += config.classes) {
      guesses.push_back(likeliest({row, row + config.classes}, data.class_names, s.top));
    }
  }
  print(images, guesses);
  if (!failures.empty()) throw InputError(failures);
}

}  // namespace

int main(int argc, char** argv) { return ashlar::support::run_program(argc, argv, run); }
