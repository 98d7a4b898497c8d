package cli

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// sizeUnits are tried from the largest down.
var sizeUnits = []struct {
	name  string
	bytes int64
}{{"TiB", 1 << 40}, {"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}}

// humanBytes writes a size for people.
func humanBytes(n int64) string {
	for _, u := range sizeUnits {
		if n >= u.bytes {
			return strconv.FormatFloat(float64(n)/float64(u.bytes), 'f', 1, 64) + " " + u.name
		}
	}
	return strconv.FormatInt(n, 10) + " B"
}

// humanSeconds writes a time span for people.
func humanSeconds(s float64) string {
	switch {
	case s == 0:
		return "0s"
	case s < 0.001:
		return fmt.Sprintf("%.0fµs", s*1e6)
	case s < 0.1:
		return fmt.Sprintf("%.1fms", s*1e3)
	case s < 60:
		return fmt.Sprintf("%.1fs", s)
	}
	return time.Duration(s * float64(time.Second)).Round(time.Second).String()
}

// humanCount groups the digits of n.
func humanCount[N int | int64 | uint64](n N) string {
	s := strconv.FormatInt(int64(n), 10)
	for at := len(s) - 3; at > 0 && s[at-1] != '-'; at -= 3 {
		s = s[:at] + "," + s[at:]
	}
	return s
}

// plural writes n and its noun.
func plural[N int | int64 | uint64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return humanCount(n) + " " + many
}

// size is a flag that takes bytes, plain or with a unit.
type size int64

// String is pflag.Value's.
func (s *size) String() string { return strconv.FormatInt(int64(*s), 10) }

// Type is pflag.Value's.
func (s *size) Type() string { return "BYTES" }

// Set is pflag.Value's.
func (s *size) Set(text string) error {
	factor, digits := int64(1), text
	for _, u := range sizeUnits {
		if before, ok := strings.CutSuffix(text, u.name); ok {
			factor, digits = u.bytes, strings.TrimSpace(before)
			break
		}
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 || n > (1<<62)/factor {
		return fmt.Errorf("%q is not a size: write 67108864 or 64MiB", text)
	}
	*s = size(n * factor)
	return nil
}
