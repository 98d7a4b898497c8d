//go:build race

package sim

// raceEnabled says that the race detector slows everything down about tenfold. A
// world is one goroutine: what the detector can find here, a few worlds show.
const raceEnabled = true
