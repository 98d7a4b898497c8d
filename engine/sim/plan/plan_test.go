package plan

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// TestPlanThatIsNoneIsRefusedByLine: the error names the line and what is
// wrong with it.
func TestPlanThatIsNoneIsRefusedByLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                                              "the text is empty",
		"sim plan 2\n":                                  `line 1: a plan begins with the line "sim plan 1"`,
		"sim plan 1\nshard 3":                           "line 2: no such flag -shard",
		"sim plan 1\nshards":                            `line 2: "shards" wants one value`,
		"sim plan 1\n\n# x\nshards x":                   "line 4: parse error",
		"sim plan 1\n1s":                                "line 2: an item has a time and a kind",
		"sim plan 1\n1s jump":                           `line 2: no item is named "jump"`,
		"sim plan 1\n1s kill site-z":                    `line 2: no site is named "site-z"`,
		"sim plan 1\n1s burst site-b":                   `line 2: "site-b": a burst names no site`,
		"sim plan 1\n1s kill size=3":                    `line 2: "size=3" says nothing about an item`,
		"sim plan 1\n1s kill phase=hm":                  `line 2: "phase=hm" says nothing`,
		"sim plan 1\nshards 0":                          "shards 0: 1 to 65536 are possible",
		"sim plan 1\n1s burst count=-1":                 "times are not negative",
		"sim plan 1\nverify-wait -1s":                   "times are not negative",
		"sim plan 1\npending-bytes 0":                   "pending-bytes at least",
		"sim plan 1\nsites 3\n1s clone site-a":          "the primary is cloned",
		"sim plan 1\nsite-a.clock-offset 100h":          "the clock off by a day at most",
		"sim plan 1\nseed 99999999999999999999":         "line 2: ",
		"sim plan 1\n99999999999999999999h kill site-a": "line 2: ",
	} {
		_, err := Parse(text)
		require.ErrorIs(t, err, ErrPlan, text)
		require.ErrorContains(t, err, want, text)
	}
}

// TestKindsAreNamedOnce: a plan is read back by these names.
func TestKindsAreNamedOnce(t *testing.T) {
	for k := range Kind(KindCount) {
		require.NotEmpty(t, k.String(), "kind %d", k)
		require.Equal(t, int(k), named(k.String()))
	}
	require.Negative(t, named("no such kind"))
}
