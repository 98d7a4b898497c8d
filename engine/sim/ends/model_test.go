package ends

import (
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const noLimit = 1 << 30

// whole are worlds small enough to be visited whole in every run.
var whole = []struct {
	name string
	Bound
}{
	{"two sites, a promotion, two crashes", Bound{Sites: 2, Appends: 1, Promotions: 1, Crashes: 2}},
	{"two sites, two promotions", Bound{Sites: 2, Appends: 1, Promotions: 2}},
	{"two sites, batches given back", Bound{Sites: 2, Appends: 2, Promotions: 1, Releases: 2}},
	{"two sites, a wiped disk", Bound{Sites: 2, Appends: 1, Promotions: 1, Wipes: 1, Releases: 1}},
	{"two sites, an older image", Bound{Sites: 2, Appends: 1, Promotions: 1, Images: 1}},
}

// large are those of make model.
var large = []struct {
	name string
	Bound
}{
	{"two sites, two promotions, two appends", Bound{Sites: 2, Appends: 2, Promotions: 2}},
	{"two sites, two promotions, two crashes", Bound{Sites: 2, Appends: 1, Promotions: 2, Crashes: 2}},
	{"two sites, two appends, an older image",
		Bound{Sites: 2, Appends: 2, Promotions: 1, Images: 1, Releases: 1}},
	{"three sites, a promotion", Bound{Sites: 3, Appends: 1, Promotions: 1}},
	{"three sites, a promotion, a crash", Bound{Sites: 3, Appends: 1, Promotions: 1, Crashes: 1}},
}

// walked are those too large to be visited whole.
var walked = []struct {
	name string
	Bound
}{
	{"three sites, crashes", Bound{Sites: 3, Appends: 2, Promotions: 2, Crashes: 2}},
	{"three sites, three promotions", Bound{Sites: 3, Appends: 2, Promotions: 3, Crashes: 1, Releases: 2}},
	{"three sites, wiped disks",
		Bound{Sites: 3, Appends: 2, Promotions: 2, Crashes: 1, Releases: 2, Wipes: 2, Accepts: 1}},
	{"three sites, an older image", Bound{Sites: 3, Appends: 2, Promotions: 2, Releases: 1, Images: 1}},
	{"three sites, image and wipe",
		Bound{Sites: 3, Appends: 1, Promotions: 2, Crashes: 1, Releases: 2, Images: 1, Wipes: 1}},
	{"three sites, a discarded epoch",
		Bound{Sites: 3, Appends: 1, Promotions: 3, Crashes: 1, Releases: 2, Discards: 1}},
}

func TestEndsHoldInSmallWorlds(t *testing.T) {
	worlds := whole
	if os.Getenv("CLAUDEFS_MODEL") != "" {
		worlds = append(worlds, large...)
	}
	for _, w := range worlds {
		t.Run(w.name, func(t *testing.T) {
			start := time.Now()
			r := Explore(w.Bound, noLimit)
			t.Logf("states=%d depth=%d quiet=%d seconds=%.1f",
				r.States, r.Depth, r.Quiet, time.Since(start).Seconds())
			require.Empty(t, r.Found)
			require.True(t, r.Whole)
			require.Positive(t, r.Quiet)
		})
	}
}

func TestEndsHoldOnRandomWalks(t *testing.T) {
	walks, seeds := 200, uint64(1)
	if os.Getenv("CLAUDEFS_MODEL") != "" {
		walks, seeds = 20_000, 3
	}
	for _, w := range walked {
		t.Run(w.name, func(t *testing.T) {
			for seed := range seeds {
				start := time.Now()
				r := Walk(w.Bound, seed, walks, 60)
				t.Logf("seed=%d walks=%d steps=%d seconds=%.1f", seed, r.Quiet, r.States, time.Since(start).Seconds())
				require.Empty(t, r.Found)
			}
		})
	}
}

// without names, per rule, a world whose exploration shows what the rule is for.
var without = []struct {
	name  string
	hole  string
	world Bound
	seed  uint64 // of 600 walks; 0: breadth-first
	want  string
}{
	{"Starts", "H1",
		Bound{Sites: 2, Appends: 1, Promotions: 1, Images: 1, Without: Starts}, 0, "compute other ends"},
	{"HoldOwn", "H2",
		Bound{Sites: 2, Appends: 1, Promotions: 1, Without: HoldOwn}, 0, "applied an own entry after the raise"},
	{"Verify", "H4",
		Bound{Sites: 2, Appends: 1, Promotions: 1, Images: 1, Without: Verify}, 0, "two incarnations"},
	{"Spool", "H5",
		Bound{Sites: 3, Appends: 2, Promotions: 2, Crashes: 1, Releases: 2, Wipes: 1, Without: Spool},
		3, "waits permanently"},
	{"Cover", "H7", Bound{Sites: 3, Appends: 1, Promotions: 1, Wipes: 2, Without: Cover}, 7, "waits permanently"},
	{"SkipClosed", "H8",
		Bound{Sites: 2, Appends: 1, Promotions: 1, Crashes: 1, Without: SkipClosed}, 0, "beyond its end was applied"},
	{"KeepRows", "H13",
		Bound{Sites: 2, Appends: 1, Promotions: 3, Releases: 4, Without: KeepRows}, 3, "no cursor shows it"},
	{"RowsOfReleased", "H13",
		Bound{Sites: 2, Appends: 2, Promotions: 1, Releases: 1, Without: RowsOfReleased}, 0, "not at its ends"},
	{"Downwards", "", Bound{Sites: 2, Appends: 1, Promotions: 2, Without: Downwards}, 0, "Stores differ"},
	{"StartOnPage", "", Bound{Sites: 2, Appends: 1, Promotions: 1, Without: StartOnPage}, 0, "not at its ends"},
	{"SaveFirst", "",
		Bound{Sites: 2, Appends: 1, Promotions: 1, Releases: 1, Without: SaveFirst}, 0, "had been given back"},
	{"AdoptRows", "",
		Bound{Sites: 2, Appends: 1, Promotions: 1, Releases: 2, Wipes: 1, Without: AdoptRows}, 0, "without an end"},
	{"Rise", "",
		Bound{Sites: 3, Appends: 1, Promotions: 2, Crashes: 1, Releases: 2, Images: 1, Without: Rise},
		2, "names what survived"},
	{"Provisional", "", Bound{Sites: 2, Appends: 1, Promotions: 2, Literal: Provisional}, 0, "Stores differ"},
	{"ViewCounts", "",
		Bound{Sites: 2, Appends: 1, Promotions: 1, Wipes: 1, Literal: ViewCounts}, 0, "written twice"},
	{"EmptyView", "",
		Bound{Sites: 3, Appends: 1, Promotions: 2, Crashes: 1, Wipes: 1, Literal: EmptyView}, 6, "past an end"},
	{"DiscardAbove", "",
		Bound{Sites: 3, Appends: 1, Promotions: 2, Discards: 1, Literal: DiscardAbove}, 3, "waits permanently"},
}

func TestEachRuleLeftOutIsFound(t *testing.T) {
	var named Rule
	for _, w := range without {
		named |= w.world.Without
		t.Run(w.name, func(t *testing.T) {
			r := Result{}
			if w.seed == 0 {
				r = Explore(w.world, 150_000)
			} else {
				r = Walk(w.world, w.seed, 600, 60)
			}
			t.Logf("%s states=%d depth=%d\n%s", w.hole, r.States, r.Depth, r.Found)
			require.Contains(t, r.Found, w.want)
		})
	}
	require.Equal(t, Rise<<1-1, named|Persist|Drain, "these two are in stories")
}

// stories are counterexamples of many steps: each breaks a promise without its rule, and holds with it.
var stories = []struct {
	name  string
	world Bound
	steps string
	want  string
}{
	{"Persist", Bound{Sites: 3, Appends: 1, Promotions: 1, Crashes: 1, Without: Persist},
		"append A, promote B A, raise C B, filled B C, open B, restart C, push A C, flush C, " +
			"raise A B, open-page B A",
		"acknowledged as durable"},
	{"Drain", Bound{Sites: 3, Appends: 1, Promotions: 1, Without: Drain},
		"append A, push A B, promote C A, raise B C, filled C B, flush B, open C",
		"acknowledged as durable"},
	{"ClockEpoch", Bound{Sites: 3, Appends: 1, Promotions: 2, Images: 1, Literal: ClockEpoch},
		"image C, append A, promote C A, open C, raise A C, open-page C A, push C A, flush A, restore C, " +
			"promote C B, open C, append C",
		"two incarnations"},
	{"ViewRows", Bound{Sites: 3, Appends: 1, Promotions: 2, Images: 1, Literal: ViewRows},
		"image B, append A, promote C A, push A B, apply A 1A, open C, promote B C, apply B 1A, " +
			"open B, append C, " +
			"raise A B, push B A, flush A, raise C A, apply A 3B, append B, push B A, restore B, " +
			"flush A, apply A 3B, " +
			"raise B C, pull B C 2C, apply B 2C, pull B A 1A, pull B A 3B, spool B A, mend B, mend B, verify B",
		"Stores differ"},
	{"FloorBinds", Bound{Sites: 3, Appends: 1, Promotions: 3, Releases: 1, Literal: FloorBinds},
		"append A, push A B, flush B, promote C A, promote B A, apply B 1A, raise A B, " +
			"promote A A, open B, apply A 1A, " +
			"raise B A, open C, pull A B 2B, append C, raise C B, pull C B 1A, pull C A 2B, " +
			"release A 1A, pull A C 2C, save A 1A",
		"had been given back"},
}

func TestStoriesHoldOnlyWithTheirRules(t *testing.T) {
	for _, s := range stories {
		t.Run(s.name, func(t *testing.T) {
			m := newModel(s.world)
			steps := m.read(t, s.steps)
			bad, all := m.play(steps)
			t.Log(m.tell(all, bad))
			require.Contains(t, bad, s.want)
			m.Without, m.Literal = 0, 0
			bad, _ = m.play(steps)
			require.Empty(t, bad)
		})
	}
}

// read parses the steps of a story: rule, site, and the other site and the log if it reads them.
func (m *model) read(t *testing.T, text string) (steps []Step) {
	w := m.first()
	for _, line := range strings.Split(text, ", ") {
		f := strings.Fields(line)
		s := Step{X: f[1][0] - 'A'}
		for int(s.Rule) < len(rules)-1 && rules[s.Rule].name != f[0] {
			s.Rule++
		}
		if rules[s.Rule].y {
			s.Y = f[2][0] - 'A'
		}
		for rules[s.Rule].l && s.L < w.nLogs && m.logName(w, int(s.L)) != f[len(f)-1] {
			s.L++
		}
		m.prepare(w)
		require.True(t, rules[s.Rule].try(m, w, int(s.X), int(s.Y), int(s.L)), line)
		steps = append(steps, s)
	}
	return steps
}

func TestStatesHaveCanonicalBytes(t *testing.T) {
	m := newModel(Bound{Sites: 2, Appends: 1, Promotions: 1})
	a, b := m.first(), m.first()
	for _, s := range m.read(t, "append A, promote B A, append A") {
		m.take(a, s)
	}
	for _, s := range m.read(t, "append A, append A, promote B A") {
		m.take(b, s)
	}
	require.Equal(t, a.encode(nil, 2), b.encode(nil, 2))
	m.take(a, m.read(t, "append A, promote B A, raise A B")[2])
	require.NotEqual(t, a.encode(nil, 2), b.encode(nil, 2))
}
