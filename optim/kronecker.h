// What the optimizers share that precondition a matrix from both of its sides (Shampoo, Gupta et al. 2018): averages of
// g gᵀ over the rows and of gᵀ g over the columns, and matrices of these sizes that are multiplied from that side. All
// for batches of matrices, each for itself.
#pragma once
#include "optim/matrix_optimizer.h"

namespace ashlar::optim {

enum class Side : std::uint8_t { left, right };
std::string side_key(Side side, const std::string& what);  // a name of state: "left_basis"

// The sides of a matrix (batch, rows, columns) that are preconditioned: those with at most max_dim rows or columns.
std::vector<Side> sides_of(const Shape& matrix, Dim max_dim);
// Which parameters are preconditioned: the hidden matrices with such a side.
std::function<bool(const Parameter&)> has_side(Dim max_dim);
// Adds states "left_<what>" and "right_<what>", (batch, n, n) with n the rows or the columns, for each of these sides.
void add_side_states(Slot& slot, Dim max_dim, std::initializer_list<const char*> whats);

// average <- beta average + (1 - beta) g gᵀ (left) or gᵀ g (right); g (batch, rows, columns).
void add_to_average(const Array& average, double beta, Side side, const Array& g);
// p x (left) or x pᵀ (right).
Array multiply_side(const Array& p, Side side, const Array& x);

}  // namespace ashlar::optim
