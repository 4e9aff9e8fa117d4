#include "examples/support/setting_help.h"

#include <map>
#include <vector>

#include "core/error.h"
#include "core/text.h"
#include "optim/make_optimizer.h"

namespace ashlar::support {
namespace {

const std::map<std::string, std::string> kSentences{
    {"lr", "peak learning rate"},
    {"weight_decay", "weight decay of matrices, decoupled except for sgd"},
    {"adamw_lr", "learning rate of everything but hidden matrices, which gets AdamW"},
    {"beta1", "decay of the mean of the gradients"},
    {"beta2", "decay of the mean of their squares"},
    {"damping", "added to eigenvalues before they are inverted, as a share of the largest (shampoo) or of their mean"},
    {"eps", "added to the root of the mean of squares, by which a step is divided"},
    {"error_feedback", "1: what a step leaves out of the gradient is added to the next"},
    {"graft", "1: steps are as long as Adam's"},
    {"max_precond_dim", "longest side of a matrix that is preconditioned"},
    {"momentum", "decay of the sum of the gradients"},
    {"nesterov", "1: Nesterov momentum"},
    {"ns_bf16", "1: Newton-Schulz multiplies bf16 where the processor does"},
    {"ns_steps", "rounds of Newton-Schulz"},
    {"rank", "directions in which Adam works; matrices with a shorter side get AdamW"},
    {"refresh_every", "steps between updates of bases, roots, Gram matrices or directions"},
    {"rms", "root mean square of the entries of a step before the learning rate; 0: as it comes"},
    {"scale", "factor of the steps besides the learning rate"},
};

}  // namespace

std::string setting_help(const std::string& key) {
  const auto sentence = kSentences.find(key);
  if (sentence == kSentences.end()) throw Error(concat("the setting ", key, " of an optimizer has no sentence for --help"));
  std::map<double, std::vector<std::string>> owners;
  for (const std::string& name : optim::optimizer_names()) {
    const optim::Settings defaults = optim::default_settings(name);
    if (const auto own = defaults.find(key); own != defaults.end()) owners[own->second].push_back(name);
  }
  std::string text;
  for (const auto& [value, names] : owners) text += concat(text.empty() ? "" : "; ", value, ": ", join(names));
  return concat(sentence->second, " (", text, ")");
}

}  // namespace ashlar::support
