package loadtest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/claudefs/repl/wire"
)

// ErrConfig is what Validate's faults wrap.
var ErrConfig = errors.New("bad configuration")

// Levels that an entry may be waited for.
const (
	LevelAsync   = "async"   // a place in the log
	LevelLocal   = "local"   // flushed here
	LevelDurable = "durable" // flushed here and at the far end
	LevelApplied = "applied" // and shown by the far end's Store
	LevelLink    = "link"    // no engine: a batch over the bare link, and the answer
)

// Levels are all of them, the weakest first.
var Levels = []string{LevelAsync, LevelLocal, LevelDurable, LevelApplied, LevelLink}

// Links are what may carry links and journals: the engine's Options.IO.
var Links = []string{"auto", linkRDMA, "io_uring", "portable"}

const linkRDMA = "rdma"

// What a configuration may ask for.
const (
	ClientsMax      = 4096
	RateMax         = 10_000_000
	DurationMin     = 100 * time.Millisecond
	DurationMax     = 24 * time.Hour
	WarmMax         = time.Hour
	RTTMax          = 10 * time.Second
	BandwidthMinBit = 64_000
)

// Config says what is run. Both ends have the same one.
type Config struct {
	Level     string  `json:"level"`
	Clients   int     `json:"clients_count"`   // closed loop; 0 = open loop
	Rate      float64 `json:"rate_per_second"` // open loop; 0 = closed loop
	SizeBytes int     `json:"size_bytes"`      // payload of an entry
	Shards    int     `json:"shards_count"`    // not for the link
	Duration  Seconds `json:"duration_seconds"`
	Warm      Seconds `json:"warmup_seconds"`
	Link      string  `json:"link"`
	RTT       Seconds `json:"rtt_seconds"`               // added by the proxy; 0 = none
	Bandwidth int64   `json:"bandwidth_bits_per_second"` // of the proxy, each way; 0 = no limit
	Memory    bool    `json:"memory"`                    // journals on a memory file system
}

// Open says whether the loop is open.
func (c *Config) Open() bool { return c.Rate > 0 }

// Loop names the loop.
func (c *Config) Loop() string {
	if c.Open() {
		return "open"
	}
	return "closed"
}

// distant says whether a proxy stands in the way.
func (c *Config) distant() bool { return c.RTT > 0 || c.Bandwidth > 0 }

// Validate reports all faults of c at once.
func (c *Config) Validate() error {
	var faults []error
	want := func(ok bool, format string, args ...any) {
		if !ok {
			faults = append(faults, fmt.Errorf("%w: "+format, append([]any{ErrConfig}, args...)...))
		}
	}
	want(slices.Contains(Levels, c.Level), "level %q is not async, local, durable, applied or link", c.Level)
	want(slices.Contains(Links, c.Link), "link %q is not auto, rdma, io_uring or portable", c.Link)
	want(c.Clients >= 0 && c.Clients <= ClientsMax, "%d clients: want 1 to %d", c.Clients, ClientsMax)
	want(c.Rate >= 0 && c.Rate <= RateMax, "rate %g: want more than 0 and at most %d entries/s", c.Rate, RateMax)
	want((c.Clients > 0) != (c.Rate > 0), "either clients (closed loop) or a rate (open loop)")
	want(c.SizeBytes >= 1 && c.SizeBytes <= wire.EntryPayloadBytesMax, "size %d: want 1 to %d bytes",
		c.SizeBytes, wire.EntryPayloadBytesMax)
	want(c.Shards >= 1 && c.Shards <= wire.ShardCountMax, "%d shards: want 1 to %d", c.Shards,
		wire.ShardCountMax)
	want(c.Duration.D() >= DurationMin && c.Duration.D() <= DurationMax, "duration %s: want %s to %s",
		c.Duration.D(), DurationMin, DurationMax)
	want(c.Warm >= 0 && c.Warm.D() <= WarmMax, "warm-up %s: want 0 to %s", c.Warm.D(), WarmMax)
	want(c.RTT >= 0 && c.RTT.D() <= RTTMax, "round trip %s: want 0 to %s", c.RTT.D(), RTTMax)
	want(c.Bandwidth == 0 || c.Bandwidth >= BandwidthMinBit, "bandwidth %d bit/s: at least %d", c.Bandwidth,
		BandwidthMinBit)
	want(c.Link != linkRDMA || !c.distant(), "link rdma has no round trip or bandwidth of a proxy, which carries TCP")
	return errors.Join(faults...)
}

// Seconds is a duration that is a number of seconds in JSON.
type Seconds time.Duration

// D is s as the standard library knows it.
func (s Seconds) D() time.Duration { return time.Duration(s) }

// MarshalJSON implements json.Marshaler.
func (s Seconds) MarshalJSON() ([]byte, error) { return json.Marshal(s.D().Seconds()) }

// UnmarshalJSON implements json.Unmarshaler.
func (s *Seconds) UnmarshalJSON(text []byte) error {
	var f float64
	if err := json.Unmarshal(text, &f); err != nil {
		return err
	}
	ns := math.Round(f * 1e9)
	if math.Abs(ns) > math.MaxInt64/2 {
		return fmt.Errorf("%w: %g seconds", ErrConfig, f)
	}
	*s = Seconds(ns)
	return nil
}
