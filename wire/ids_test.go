package wire

import (
	"testing"
	"time"
)

// Ids are computed at every site for itself, so their values are part of the
// format.
func TestIDsAreThoseOfTheFormat(t *testing.T) {
	if got := ClusterIDOf("prod"); got != 0xde80920a9bacbf0b {
		t.Errorf("cluster id %#x", uint64(got))
	}
	if got := SiteIDOf("prod", "site-a"); got != 0x97375983 {
		t.Errorf("site id %#x", uint32(got))
	}
	if SiteIDOf("ab", "c") == SiteIDOf("a", "bc") || SiteIDOf("a", "c") == SiteIDOf("b", "c") {
		t.Error("sites of different clusters share an id")
	}
}

func TestStampKeepsItsMicrosecond(t *testing.T) {
	at := time.Date(2024, 2, 29, 12, 30, 0, 123456789, time.UTC)
	stamp := StampOf(at)
	if stamp&0xfff != 0 || !stamp.Time().Equal(at.Truncate(time.Microsecond)) {
		t.Errorf("stamp %#x is %s", uint64(stamp), stamp.Time().UTC())
	}
	if last := stamp | 0xfff; !last.Time().Equal(stamp.Time()) || !StampFits(stamp, last) {
		t.Errorf("the counter of %#x changes its time", uint64(last))
	}
	if StampFits(stamp, stamp-1) || !StampFits(stamp, stamp+1<<32-1) || StampFits(stamp, stamp+1<<32) {
		t.Error("a batch does not span 2^32 stamps")
	}
}

func TestLogsAreOrderedBySiteThenShard(t *testing.T) {
	logs := []LogID{{1, 0}, {1, 2}, {2, 1}, {1 << 31, 0}}
	for i, a := range logs {
		for j, b := range logs {
			want := 0
			if i < j {
				want = -1
			} else if i > j {
				want = 1
			}
			if got := a.Compare(b); got != want {
				t.Errorf("%s against %s: %d, want %d", a, b, got, want)
			}
		}
	}
}
