// What a config.json keeps of a ViT beside its shape, and what is said of one that does not.
#include "examples/models/saved.h"

#include <nlohmann/json.hpp>

#include "tests/support/catch.h"
#include "tests/support/errors.h"
#include "tests/support/temporary_folder.h"

namespace ashlar {
namespace {

using test::error_of;

TEST_CASE("how images are normalised and what classes are called comes back from a config to the last bit") {
  const test::TemporaryFolder folder;
  const auto file = folder / "config.json";
  const VitData data{{{0.1f, 0.2f, 1 / 3.f}, {0.4f, 0.5f, 0.6f}}, {"ant", "bée \"two\""}};
  OrderedJson config = {{"patch", 4}};
  config.update(vit_data_config(data));
  write_json(file, config);
  const VitData again = read_vit_data(file, 2);
  CHECK(again.normalisation.mean == data.normalisation.mean);
  CHECK(again.normalisation.std == data.normalisation.std);
  CHECK(again.class_names == data.class_names);
  CHECK(error_of([&] { read_vit_data(file, 3); }) ==
        file.string() + ": key 'class_names': has 2 names, and the weights are for 3 classes");
}

TEST_CASE("images are normalised as the config beside the weights tells, or else by those that are trained on") {
  const test::TemporaryFolder folder;
  const auto file = folder / "config.json";
  const data::ImageDataset images = data::procedural_images(1, 20, 10);
  const data::Normalisation own = data::channel_statistics(images.train);
  const auto mean = [&] { return normalisation_of({file}, images, true).mean; };
  CHECK(mean() == own.mean);
  write_json(file, {{"patch", 4}});
  CHECK(mean() == own.mean);
  const VitData other{{{0.1f, 0.2f, 0.3f}, {0.4f, 0.5f, 0.6f}}, {"ant", "bee"}};
  write_json(file, vit_data_config(other));
  CHECK(mean() == other.normalisation.mean);
  CHECK(normalisation_of({file}, images, false).std == other.normalisation.std);
}

TEST_CASE("a config that does not tell how images are normalised is refused by its key") {
  const test::TemporaryFolder folder;
  const auto file = folder / "config.json";
  const auto error = [&](const char* key, const Json& value) {
    OrderedJson config = vit_data_config({{}, {"ant"}});
    config[key] = value;
    write_json(file, config);
    return error_of([&] { read_vit_data(file, 1); });
  };
  const auto at = [&](const char* key) { return file.string() + ": key '" + key + "': "; };
  for (const char* key : {"image_mean", "image_std", "class_names"}) {
    CHECK(error(key, nullptr).starts_with(at(key) + "is missing, and images cannot be classified without it; train_vit --resume"));
  }
  CHECK(error("image_std", {0.5, 0.5}) == at("image_std") + "needs 3 numbers, of red, green and blue, got 2");
  CHECK(error("image_mean", 0.5) == at("image_mean") + "needs a list of numbers, got 0.5");
  CHECK(error("class_names", Json::array({1})) == at("class_names") + "needs a list of texts, got [1]");
}

}  // namespace
}  // namespace ashlar
