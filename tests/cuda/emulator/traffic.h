// What kernels move, counted warp by warp in a build with ASHLAR_EMULATED_WATCH: what profilers call sectors of device memory
// and wavefronts of shared memory. A request is what a warp asks for with one instruction; lanes that come to an instruction
// equally often come there together. g++ decides what is one access: it may split what nvcc loads at once, and the other way
// round.
#pragma once
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

namespace ashlar::emulated::traffic {

struct Counts {
  std::size_t requests = 0;
  // Device memory, bytes: what the launches touch at all, what the lanes ask for, and the sectors of 32 bytes in which the
  // requests take it.
  std::size_t touched = 0, asked = 0, sectors = 0;
  // Shared memory: turns of 128 bytes that the requests take, and how many they would take if banks were never in conflict.
  std::size_t turns = 0, least_turns = 0;

  Counts& operator+=(const Counts& other);
};

struct Instruction {
  std::string place;  // source lines, from where it was inlined outwards
  bool writes;
  Counts counts;
};

// What `work` moves on the device, by kernel; nothing in builds that do not watch.
std::map<std::string, std::vector<Instruction>> traffic_of(const std::function<void()>& work);

// The course of a launch, from watch.cpp.
struct Access {
  std::size_t thread;
  std::uint32_t code;  // the instruction's place in the program
  bool writes, shared;
  std::uintptr_t address;
  std::size_t bytes, fresh;  // of device memory, those that the launch had not touched so before
};
bool counting();
void begin_launch(const char* kernel);
void note(const Access& access);
void end_block();

}  // namespace ashlar::emulated::traffic
