package demo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/claudefs/repl/tools/cli/progress"
)

// ErrNoScenario: no scenario of a drill has that name.
var ErrNoScenario = errors.New("no such scenario")

// DrillOptions of a run of Drill.
type DrillOptions struct {
	Binary   string   // of cfs
	Only     []string // names of scenarios; none = all
	IO       string   // of the servers, as cfs server --io
	Dir      string   // "" = a temporary one
	Keep     bool     // leave Dir as it is
	Seed     uint64   // of operations and ports; 0 = random
	StallMax time.Duration
	Progress io.Writer
	Each     func(*DrillLine) // is called with each scenario's line as it ends; may be nil
}

// DrillLine is how one scenario ended.
type DrillLine struct {
	Scenario string `json:"scenario"`
	OK       bool   `json:"ok"`
	// RTOMs is the longest time in which no client got an acknowledgement, from the disaster until
	// every site had settled; -1 where the scenario has no load.
	RTOMs   int64 `json:"rto_ms"`
	Acked   int   `json:"acked"`   // operations, at any site
	Lost    int   `json:"lost"`    // acknowledged and durable at every site, and gone at one
	Orphans int   `json:"orphans"` // entries that a journal had, and that did not survive
	// OrphansAcked of the orphans were acknowledged: at Local, by a site that was alone.
	OrphansAcked int     `json:"orphans_acknowledged"`
	Mended       int64   `json:"lost_by_mending"` // of the orphans: which the Store of a mended site had
	Twice        int     `json:"requests_twice"`
	Failpoints   int     `json:"failpoints"` // at which a server ended
	Writers      int     `json:"writers"`    // sites that say they write
	Equal        bool    `json:"equal"`      // verify and digests of all sites, and what they decided
	Difference   string  `json:"first_difference"`
	Seconds      float64 `json:"seconds"`
}

// Line is the scenario's line of text.
func (l *DrillLine) Line() string {
	equal := "equal"
	if !l.Equal {
		equal = "different"
	}
	text := fmt.Sprintf("failover: scenario=%s rto_ms=%d lost=%d orphans=%d writers=%d %s",
		l.Scenario, l.RTOMs, l.Lost, l.Orphans, l.Writers, equal)
	if l.OK {
		return text + " ok"
	}
	return text + fmt.Sprintf(" FAILED difference=%q", l.Difference)
}

// note keeps the first thing that is not as it must be.
func (l *DrillLine) note(format string, args ...any) {
	l.Difference = cmp.Or(l.Difference, fmt.Sprintf(format, args...))
}

// DrillVerdict is how a run of Drill ended: "cfs failover-drill --json".
type DrillVerdict struct {
	Schema    int         `json:"schema"`
	Kind      string      `json:"kind"` // "failover-drill"
	OK        bool        `json:"ok"`
	Scenarios int         `json:"scenarios"`
	Passed    int         `json:"scenarios_ok"`
	Lines     []DrillLine `json:"lines"`
	Seed      uint64      `json:"seed"`
	Seconds   float64     `json:"seconds"`
	Dir       string      `json:"dir"` // "" = removed
}

// Line is the one line that closes a run.
func (v *DrillVerdict) Line() string {
	return fmt.Sprintf("failover: scenarios=%d ok=%d", v.Scenarios, v.Passed)
}

// drillScenario is a disaster and what the operator does about it.
type drillScenario struct {
	name  string
	sites int
	data  int // bytes of a write, at most
	play  func(*drillScene, context.Context) error
}

// scenarios in the order of a run.
var scenarios = []drillScenario{
	{"switchover", 2, writeMax, (*drillScene).switchover},
	{"writer-killed", 2, writeMax, (*drillScene).writerKilled},
	{"writer-frozen", 2, writeMax, (*drillScene).writerFrozen},
	{"link-cut", 2, writeMax, (*drillScene).linkCut},
	{"writer-with-tail", 2, writeMax, (*drillScene).writerWithTail},
	{"writer-wiped", 2, writeMax, (*drillScene).writerWiped},
	{"standby-wiped", 2, largeWrite, (*drillScene).standbyWiped},
	{"old-copy", 2, writeMax, (*drillScene).oldCopy},
	{"third-past-end", 3, writeMax, (*drillScene).thirdPastEnd},
	{"third-added", 3, writeMax, (*drillScene).thirdAdded},
	{"site-renamed", 2, writeMax, (*drillScene).siteRenamed},
	{"kill-each-step", 2, writeMax, (*drillScene).killEachStep},
}

// DrillScenarios are the names of all scenarios.
func DrillScenarios() []string {
	var names []string
	for _, s := range scenarios {
		names = append(names, s.name)
	}
	return names
}

// chosenScenarios are those that were named.
func chosenScenarios(only []string) ([]drillScenario, error) {
	if len(only) == 0 {
		return scenarios, nil
	}
	var chosen []drillScenario
	for _, name := range only {
		at := slices.IndexFunc(scenarios, func(s drillScenario) bool { return s.name == name })
		if at < 0 {
			return nil, fmt.Errorf("%q: %w; there are %s", name, ErrNoScenario, strings.Join(DrillScenarios(), ", "))
		}
		chosen = append(chosen, scenarios[at])
	}
	return chosen, nil
}

// drillScene is one scenario under way.
type drillScene struct {
	*drillSites
	load   *drillLoad
	result *DrillLine
	line   *progress.Line
	o      *DrillOptions
	random *rand.Rand
	writer int                 // where it is to be in the end
	seen   map[seqKey]struct{} // entries that a journal had
	closed map[seqKey]struct{} // the entries of the ended epochs that survive; nil = not looked at
}

// Drill plays disasters with real processes, each on sites of its own, and lets an operator's
// verbs end them. An error means that the run could not be finished; a difference that was
// found is in the DrillVerdict.
func Drill(ctx context.Context, o DrillOptions) (*DrillVerdict, error) {
	chosen, err := chosenScenarios(o.Only)
	if err != nil {
		return nil, err
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	w, err := openWorkspace(o.Dir)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	v := &DrillVerdict{Schema: 1, Kind: "failover-drill", Scenarios: len(chosen), Lines: []DrillLine{}, Seed: o.Seed}
	line := progress.New(o.Progress)
	line.Say("failover: %d scenarios; data in %s; seed %d", len(chosen), w.dir, o.Seed)
	for i := range chosen {
		if err = ctx.Err(); err != nil {
			break
		}
		result := playScenario(ctx, &o, line, w, &chosen[i])
		if result.OK {
			v.Passed++
		}
		v.Lines = append(v.Lines, *result)
		if o.Each != nil {
			line.Clear()
			o.Each(result)
		}
	}
	v.OK, v.Seconds = v.Passed == v.Scenarios, time.Since(began).Seconds()
	if v.Dir, err = w.tidy(v.OK, o.Keep, err); v.Dir != "" {
		line.Say("failover: data and logs are left in %s", v.Dir)
	}
	return v, err
}

// playScenario plays one scenario on sites of its own. What keeps it from its end is its
// difference.
func playScenario(ctx context.Context, o *DrillOptions, line *progress.Line, w workspace,
	scenario *drillScenario) *DrillLine {
	began := time.Now()
	result := &DrillLine{Scenario: scenario.name, RTOMs: -1}
	err := playOn(ctx, o, line, workspace{dir: filepath.Join(w.dir, scenario.name)}, scenario, result)
	if err != nil {
		result.note("%v", err)
	}
	result.Seconds, result.OK = time.Since(began).Seconds(), result.Difference == ""
	return result
}

func playOn(ctx context.Context, o *DrillOptions, line *progress.Line, w workspace, scenario *drillScenario,
	result *DrillLine) error {
	w, err := openWorkspace(w.dir)
	if err != nil {
		return err
	}
	random := rand.New(rand.NewPCG(o.Seed, 0))
	sites, err := newDrillSites(o.Binary, w, random, scenario.sites, ioFlag(o.IO))
	if err != nil {
		return err
	}
	defer sites.stop()
	s := &drillScene{
		drillSites: sites, result: result, line: line, o: o, random: random, seen: map[seqKey]struct{}{},
	}
	s.say("starting")
	first := sites.all()
	if scenario.name == "third-added" {
		first = first[:2]
	}
	if err := sites.startAmong(ctx, first, first...); err != nil {
		return err
	}
	if s.load, err = startDrillLoad(ctx, sites, o.Seed, scenario.data); err != nil {
		return err
	}
	defer s.load.stop()
	if err := s.settle(ctx); err != nil {
		return err
	}
	if err := scenario.play(s, ctx); err != nil {
		return err
	}
	s.say("comparing")
	return s.judge(ctx)
}

// say shows what the scenario is doing.
func (s *drillScene) say(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	s.line.Show(func() string { return fmt.Sprintf("failover: %s: %s", s.result.Scenario, text) })
}
