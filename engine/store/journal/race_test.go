//go:build race

package journal

// raceStride thins exhaustive enumerations under the race detector, which is
// about twenty times slower and learns nothing from single-threaded bit flips.
const raceStride = 61
