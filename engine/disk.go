package engine

import (
	"sync"
	"time"
)

// Samples of how the journals grow are taken when a status is: not closer than
// filledGap, and no older than filledMax.
const (
	filledGap = 5 * time.Second
	filledMax = 10 * time.Minute
)

// DiskStatus is the file system of the journals; null where it is not told, as on a
// memory disk.
type DiskStatus struct {
	FreeBytes *int64 `json:"free_bytes"` // for an ordinary user
	SizeBytes *int64 `json:"size_bytes"`
	// FullSeconds is when it is full if the journals go on growing as they did in the last
	// ten minutes at most; null while they do not grow, or too little was seen.
	FullSeconds *float64 `json:"time_to_full_seconds"`
}

// filling remembers how large the journals were. Invariant: at most filledMax/filledGap+1
// samples, oldest first.
type filling struct {
	mu      sync.Mutex
	samples []filled
}

type filled struct {
	at    time.Time
	bytes int64
}

// rate is how many bytes a second the journals have grown by; 0 = not, or not known.
func (f *filling) rate(now time.Time, bytes int64) float64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.samples) > 0 && now.Sub(f.samples[0].at) > filledMax {
		f.samples = f.samples[1:]
	}
	if n := len(f.samples); n == 0 || now.Sub(f.samples[n-1].at) >= filledGap {
		f.samples = append(f.samples, filled{now, bytes})
	}
	took := now.Sub(f.samples[0].at)
	if took < filledGap {
		return 0
	}
	return max(0, float64(bytes-f.samples[0].bytes)/took.Seconds())
}

// diskStatus is asked once per status.
func (e *Engine) diskStatus(journals []JournalStatus) (s DiskStatus) {
	free, size := diskRoom(e.o.Dir)
	if size == 0 {
		return s
	}
	s.FreeBytes, s.SizeBytes = &free, &size
	bytes := int64(0)
	for i := range journals {
		bytes += journals[i].Bytes
	}
	if rate := e.filling.rate(time.Now(), bytes); rate > 0 {
		full := float64(free) / rate
		s.FullSeconds = &full
	}
	return s
}
