//go:build plant

package sim

import (
	"cmp"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine/internal/plant"
	"github.com/claudefs/repl/engine/sim/plan"
)

var (
	museumSeedsMax = flag.Int("museum-seeds", 2000, "seeds that each planted bug is given")
	museumQuick    = flag.Bool("museum-quick", false, "leave out those that want many seeds")
	museumShrink   = flag.Int("museum-shrink", 0, "steps that shrinking a found plan may take; 0 = leave it long")
	museumPlans    = flag.String("museum-plans", "", "where shrunk plans go; \"\" = nowhere that lasts")
)

// slow are those that want many seeds: they need a coincidence, not just a fault.
var slow = []string{
	"ack-over-refusal", "answers-misplaced", "append-unproven", "back-untold", "claims-uncounted", "early-welcome",
	"leaving-untold", "mark-ahead", "mirror-stuck", "retain-by-sent", "retain-past-store", "stale-session",
	"stale-unit", "torn-middle",
}

// byTest are mistakes in what the simulator has in its own way or not at all: the test
// that must fail with each.
var byTest = map[string][2]string{
	"durable-by-received": {"..", "TestEachLevelComesWithItsCauseOnly"},
	"fill-skipped":        {"../node", "TestPromotedSiteFillsBeforeItOpens"},
	"old-epoch-welcome":   {"../role", "TestHigherEpochIsTakenOver"},
	"own-not-held":        {"../apply", "TestFencedWriterHoldsOwnEntries"},
	"start-uncovered":     {"../node", "TestStartBeyondItsPastIsRefused"},
	"store-ignored":       {"../node", "TestConversations"},
}

// twice are mistakes in what engine and simulator decide by the same function: a seed must
// show each, and this test of the engine as well.
var twice = map[string][2]string{
	"answers-misplaced": {"..", "TestRestoreReadsJournalFewTimes"},
	"bound-once":        {"..", "TestDurableClockBoundCoversStamps"},
	"tail-untold":       {"..", "TestBothSitesResumeAfterRestartsExactlyOnce"},
	"learner-counts":    {"..", "TestLearnerCountsInNoLevel"},
	"hole-unseen":       {"..", "TestDamageInTheMirrorIsFetchedFromThePeer"},
	"tail-unlisted":     {"..", "TestBothSitesResumeAfterRestartsExactlyOnce"},
	"wait-kept":         {"..", "TestApplierThatMeetsRotGoesOnBehindItsRepair"},
}

// byChecker is what counts: a promise that a checker found broken. A panic, a
// world that cannot go on, or two traces of one seed are no proof of a checker.
var byChecker = regexp.MustCompile(`^I[0-9]+$`)

// TestMuseum tests the simulator: it must find each mistake that this build can
// make, by an invariant, within -museum-seeds seeds. Each lives in a process of
// its own, because a process chooses its mistake when it starts.
func TestMuseum(t *testing.T) {
	if plant.Name != "" {
		t.Skip("this process is one of the museum's own, see TestPlantedBugIsFound")
	}
	self, err := os.Executable()
	require.NoError(t, err)
	if *museumPlans == "" {
		*museumPlans = t.TempDir()
	}
	names := slices.Sorted(slices.Values(plant.Names()))
	if *museumQuick {
		names = slices.DeleteFunc(names, func(name string) bool { return slices.Contains(slow, name) })
	}
	lines := make([]string, len(names))
	var visitors sync.WaitGroup
	next := make(chan int)
	for range 2 {
		visitors.Go(func() { // ends when no name is left
			for i := range next {
				lines[i] = visit(self, names[i])
			}
		})
	}
	for i := range names {
		next <- i
	}
	close(next)
	visitors.Wait()
	found, sound := 0, map[uint64]bool{}
	for i, line := range lines {
		fmt.Println(line)
		// They hang until they give up: the whole museum has the time.
		if test, there := twice[names[i]]; there && !*museumQuick {
			line := visitTest(names[i], test[0], test[1])
			fmt.Println(line)
			require.Contains(t, line, " found test=")
		}
		if _, there := byTest[names[i]]; there && strings.Contains(line, " found test=") {
			found++
			continue
		}
		var seed uint64
		if n, _ := fmt.Sscanf(line, "museum: plant="+names[i]+" found seed=%d", &seed); n != 1 {
			t.Errorf("plant %s: not found by a checker", names[i])
			continue
		}
		if !sound[seed] { // else it was the seed that broke, and not the mistake that was seen
			b := Run(Options{Seed: seed}).Breach
			require.Nil(t, b, "seed %d breaks without plant %s as well", seed, names[i])
			sound[seed] = true
		}
		if *museumShrink > 0 {
			judgePlan(t, names[i])
		}
		found++
	}
	fmt.Printf("museum: planted=%d found=%d\n", len(names), found)
}

// visit looks for one mistake in a process that makes it, and returns its line.
func visit(self, name string) string {
	if test, there := byTest[name]; there {
		return visitTest(name, test[0], test[1])
	}
	cmd := exec.Command(self, "-test.run", "^TestPlantedBugIsFound$",
		fmt.Sprintf("-museum-seeds=%d", *museumSeedsMax), fmt.Sprintf("-museum-shrink=%d", *museumShrink),
		"-museum-plans="+*museumPlans)
	cmd.Env = append(os.Environ(), "CLAUDEFS_PLANT="+name)
	out, err := cmd.CombinedOutput()
	for line := range strings.Lines(string(out)) {
		if strings.HasPrefix(line, "museum: ") {
			return strings.TrimSpace(line)
		}
	}
	return fmt.Sprintf("museum: plant=%s no answer: %v\n%s", name, err, out)
}

// visitTest runs the test of another package that must see a mistake.
func visitTest(name, dir, test string) string {
	cmd := exec.Command("go", "test", "-count=1", "-tags", "plant", "-run", "^"+test+"$", ".")
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "CLAUDEFS_PLANT="+name)
	if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "--- FAIL: "+test) {
		return fmt.Sprintf("museum: plant=%s not found by %s: %v\n%s", name, test, err, out)
	}
	return fmt.Sprintf("museum: plant=%s found test=%s", name, test)
}

// TestPlantedBugIsFound lives worlds with the mistake that CLAUDEFS_PLANT names
// until a checker sees it.
func TestPlantedBugIsFound(t *testing.T) {
	if plant.Name == "" {
		t.Skip("CLAUDEFS_PLANT names no mistake")
	}
	require.Contains(t, plant.Names(), plant.Name, "CLAUDEFS_PLANT")
	other := map[string]int{}
	for seed := uint64(1); seed <= uint64(*museumSeedsMax); seed++ {
		b := Run(Options{Seed: seed}).Breach
		if b == nil {
			continue
		}
		if !byChecker.MatchString(b.Invariant) {
			other[b.Invariant]++
			if other[b.Invariant] == 1 {
				t.Log(b)
			}
			continue
		}
		require.Equal(t, plant.Name, b.Mistake, "its command makes the mistake again")
		fmt.Printf("museum: plant=%s found seed=%d invariant=%s steps=%d%s\n", plant.Name, seed, b.Invariant, b.Step,
			shrunk(t, seed))
		t.Log(b)
		return
	}
	fmt.Printf("museum: plant=%s not found in %d seeds, other endings: %s\n", plant.Name, *museumSeedsMax,
		cmp.Or(strings.TrimSpace(counts(other)), "none"))
	t.Fail()
}

// shrunk makes the plan of a seed as short as a reader wants it, if that is asked
// for, and says how many lines are left. What it saves breaks the same promise when
// it is read back.
func shrunk(t *testing.T, seed uint64) string {
	if *museumShrink == 0 {
		return ""
	}
	short, b := Shrinking{Steps: *museumShrink}.Run(t.Context(), plan.Of(seed))
	require.NotNil(t, b)
	text := fmt.Sprintf("%s# CLAUDEFS_PLANT=%s: %s\n", short, plant.Name, strings.ReplaceAll(b.Head(), "\n", "\n# "))
	read, err := plan.Parse(text)
	require.NoError(t, err)
	again := Run(Options{Plan: read}).Breach
	require.NotNil(t, again, "the saved plan breaks nothing")
	require.Equal(t, b.Head(), again.Head())
	if *museumPlans == "" { // this test was run by itself
		*museumPlans = t.TempDir()
	}
	require.NoError(t, os.WriteFile(planFile(plant.Name), []byte(text), 0o644))
	t.Logf("%s: %s\n%s", plant.Name, b.Head(), short)
	return fmt.Sprintf(" lines=%d", short.Lines())
}

func planFile(name string) string { return filepath.Join(*museumPlans, name+".txt") }

// judgePlan wants a mistake's plan short, and a world without the mistake to hold.
func judgePlan(t *testing.T, name string) {
	text, err := os.ReadFile(planFile(name))
	if err != nil {
		t.Errorf("plant %s: its plan was not shrunk, or does not break when it is read back: %v", name, err)
		return
	}
	plan, err := plan.Parse(string(text))
	require.NoError(t, err)
	if n := plan.Lines(); n > shrunkLinesMax {
		t.Errorf("plant %s: shrunk to %d lines, wanted are %d at most", name, n, shrunkLinesMax)
	}
	if b := Run(Options{Plan: plan}).Breach; b != nil {
		t.Errorf("plant %s: its plan breaks without it as well: %v", name, b)
	}
}
