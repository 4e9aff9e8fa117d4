// Whole-file reading, and writing that either finishes or leaves what was there.
#pragma once
#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

namespace ashlar {

// An open file for reading at any offset. Reading with pread rather than mapping: a file that another program
// shortens gives an error here instead of a signal.
class InputFile {
 public:
  // InputError naming the file and the reason.
  explicit InputFile(std::filesystem::path path);
  ~InputFile();
  InputFile(InputFile&& other) noexcept;
  InputFile& operator=(InputFile&&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::size_t size() const { return size_; }
  // InputError if the file has fewer than offset + bytes bytes.
  void read(std::size_t offset, void* target, std::size_t bytes) const;

 private:
  std::filesystem::path path_;
  int descriptor_ = -1;
  std::size_t size_ = 0;
};

// A file that appears at `path` only when commit() has succeeded: the bytes go to `path`.tmp in the same folder,
// which is flushed to the disk and renamed. Until then, whatever happens — an exception, a full disk, kill -9 — the
// old file stays. Every failure is an InputError naming the file and the reason, and removes the temporary file; one
// that a killed process left behind is replaced by the next writer.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path);
  ~AtomicFile();
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  void write(const void* data, std::size_t bytes);
  void write(std::string_view text) { write(text.data(), text.size()); }
  void commit();

 private:
  [[noreturn]] void fail(int error);

  std::filesystem::path path_, temporary_;
  int descriptor_ = -1;
};

std::string read_file(const std::filesystem::path& path);
void write_file(const std::filesystem::path& path, std::string_view text);  // atomically

// Makes the folder and its parents; InputError if it cannot be made or cannot be written to.
void make_writable_folder(const std::filesystem::path& folder);

}  // namespace ashlar
