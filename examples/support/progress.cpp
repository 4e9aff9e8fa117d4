#include "examples/support/progress.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <limits>

#include "core/error.h"
#include "examples/support/format.h"

namespace ashlar::support {
namespace {

constexpr double kRedrawSeconds = 0.1, kLineSeconds = 5;

// "left  [=====     ] right" in at most `columns`; the bar only if there is room for one.
std::string with_bar(const std::string& left, double fraction, const std::string& right, int columns) {
  const int room = columns - static_cast<int>(left.size() + right.size()) - 5;
  std::string line = left + "  ";
  if (room >= 4) {
    const int width = std::min(room, 30);
    const auto filled = static_cast<int>(std::lround(std::clamp(fraction, 0.0, 1.0) * width));
    const auto times = [](int count, char c) { return std::string(static_cast<std::size_t>(count), c); };
    line = concat(line, '[', times(filled, '='), times(width - filled, ' '), "] ");
  }
  line += right;
  return line.substr(0, static_cast<std::size_t>(std::max(columns, 0)));
}

// What fits with `left` in a line, with two spaces between.
bool fits(const std::string& left, const std::string& right, int columns) {
  return static_cast<int>(left.size() + 2 + right.size()) <= columns;
}

}  // namespace

int terminal_columns() {
  winsize size{};
  return ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 ? size.ws_col : 80;
}

StatusLine::StatusLine(std::ostream& out, bool terminal, int columns, Clock clock)
    : out_(out), terminal_(terminal), columns_(columns), clock_(std::move(clock)) {}

StatusLine::~StatusLine() { clear(); }

int StatusLine::columns() const { return (columns_ > 0 ? columns_ : terminal_columns()) - 1; }

void StatusLine::clear() {
  if (drawn_) out_ << "\r\x1b[K" << std::flush;
  drawn_ = false;
}

void StatusLine::message(const std::string& text) {
  clear();
  out_ << text << '\n' << std::flush;
  if (terminal_) next_ = 0;
}

bool StatusLine::due() {
  const double now = clock_();
  if (started_ && now < next_) return false;
  started_ = true;
  next_ = now + (terminal_ ? kRedrawSeconds : kLineSeconds);
  return true;
}

void StatusLine::show(const std::string& line) {
  if (terminal_) {
    out_ << '\r' << line << "\x1b[K" << std::flush;
    drawn_ = true;
  } else {
    out_ << line << '\n' << std::flush;
  }
}

Progress::Progress(Unit unit) : Progress(std::cout, ::isatty(STDOUT_FILENO) == 1, 0, unit) {}

Progress::Progress(std::ostream& out, bool terminal, int columns, Unit unit, Clock clock)
    : line_(out, terminal, columns, std::move(clock)), unit_(unit) {}

void Progress::update(const ProgressState& state) {
  not_shown_ = state;
  if (line_.due()) last();
}

void Progress::last() {
  if (!not_shown_) return;
  line_.show(line_.terminal() ? bar(*not_shown_) : plain(*not_shown_));
  not_shown_.reset();
}

void Progress::evaluating(std::int64_t done, std::int64_t count) {
  const bool begins = done == 0;
  if (begins) evaluation_began_ = line_.now();
  const double fraction = static_cast<double>(done) / static_cast<double>(count);
  const std::string percent = printed("%.0f %%", 100 * fraction);
  if (line_.terminal()) {
    if (begins || line_.due()) line_.show(with_bar("evaluating", fraction, percent, line_.columns()));
  } else if (line_.now() - evaluation_began_ >= kLineSeconds && line_.due()) {
    line_.show("evaluating " + percent);
  }
}

std::string Progress::bar(const ProgressState& s) const {
  const std::string step = concat("step ", s.step, "/", s.total_steps);
  const std::string percent = printed("%3.0f%%  ", 100 * s.fraction), loss = printed("loss %.4f", s.loss);
  const std::string left = concat("  ", format_duration(s.seconds_left), " left");
  const int columns = line_.columns();
  for (const std::string& rest : {percent + loss + rate(s) + left, percent + loss + left, loss + left}) {
    if (fits(step, rest, columns)) return with_bar(step, s.fraction, rest, columns);
  }
  return with_bar(step, s.fraction, loss, columns);
}

std::string Progress::plain(const ProgressState& s) const {
  return concat("step ", s.step, "/", s.total_steps, "  loss ", printed("%.4f", s.loss), "  lr ", printed("%.3g", s.lr),
                rate(s), "  elapsed ", format_duration(s.elapsed), "  left ", format_duration(s.seconds_left));
}

std::string Progress::rate(const ProgressState& s) const {
  return std::isnan(s.rate) ? "" : concat("  ", format_count(s.rate), " ", name_of(unit_), "s/s");
}

ItemProgress::ItemProgress() : ItemProgress(std::cout, ::isatty(STDOUT_FILENO) == 1, 0) {}

ItemProgress::ItemProgress(std::ostream& out, bool terminal, int columns, Clock clock)
    : line_(out, terminal, columns, std::move(clock)), began_(line_.now()) {}

void ItemProgress::update(std::int64_t done, std::int64_t count, const std::string& what) {
  if (!line_.terminal() || !line_.due()) return;
  const double fraction = static_cast<double>(done) / static_cast<double>(count);
  const double left = done > 0 ? (line_.now() - began_) * (1 / fraction - 1) : std::numeric_limits<double>::quiet_NaN();
  const std::string counted = concat(done, "/", count), time = concat("  ", format_duration(left), " left");
  // Of a long name the beginning.
  const int columns = line_.columns(), room = columns - static_cast<int>(counted.size() + 2 + time.size());
  line_.show(with_bar(counted, fraction, what.substr(0, static_cast<std::size_t>(std::max(room, 0))) + time, columns));
}

}  // namespace ashlar::support
