package cli

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
)

// verifyReport is one of a site with 256 shards and one peer.
func verifyReport(result string, change func(r *engine.VerifyReport, p *engine.VerifyPeer)) *engine.VerifyReport {
	r := &engine.VerifyReport{
		Schema: 1, Kind: "verify", At: at, Site: "site-a", Seconds: 12.25, Result: result,
		Peers: []engine.VerifyPeer{{
			Site: "site-b", Result: result, ShardsAsked: 256, ShardsCompared: 256, LogsCompared: 256, Keys: 1_716_204,
			Differences: []engine.VerifyDifference{}, NotCompared: []engine.VerifyGap{},
		}},
	}
	if change != nil {
		change(r, &r.Peers[0])
	}
	return r
}

// verifyReports are one of each kind, with the exit code that belongs to it.
func verifyReports() map[string]struct {
	code   int
	report *engine.VerifyReport
} {
	type told = struct {
		code   int
		report *engine.VerifyReport
	}
	const down = "site site-b is not asked: no link: connection refused"
	different := func(d engine.VerifyDifference) *engine.VerifyReport {
		return verifyReport(engine.VerifyDifferent, func(r *engine.VerifyReport, p *engine.VerifyPeer) {
			r.Deep = d.What == "damage"
			p.Differences = []engine.VerifyDifference{d}
			p.Reason = strings.TrimPrefix(d.Path+": "+d.Detail, ": ")
		})
	}
	cutShort := func(ended, reason string) *engine.VerifyReport {
		return verifyReport(engine.VerifyPartly, func(r *engine.VerifyReport, p *engine.VerifyPeer) {
			r.Ended, p.Reason, p.ShardsCompared, p.Keys = ended, reason, 118, 791_003
			p.NotCompared = []engine.VerifyGap{{What: "state", Shard: 118, Count: 138, Reason: reason}}
		})
	}
	return map[string]told{
		"equal": {ExitDone, verifyReport(engine.VerifyEqual, nil)},
		"state": {ExitDifference, different(engine.VerifyDifference{What: "state", Shard: 7,
			Path: "/home/eva/letter", Key: "69000000000000002a", Site: "site-a", Seq: 4711,
			Detail: "differs between site site-a and site site-b"})},
		"history": {ExitDifference, different(engine.VerifyDifference{What: "history", Shard: 12, Site: "site-a",
			Seq: 4690, Detail: "the log of site site-a has 8f3a:4690:c01d here, 8f3a:4690:77b2 at site site-b"})},
		"damage": {ExitDifference, different(engine.VerifyDifference{What: "damage", Shard: 200, Site: "site-a",
			Seq: 91, Detail: "the stored log of site site-a at site site-b does not hold from seq 91 on"})},
		"partly": {ExitPartly, verifyReport(engine.VerifyPartly, func(_ *engine.VerifyReport, p *engine.VerifyPeer) {
			p.Reason = "site site-b: log 1f2e/2 stopped at seq 811: op 900: unknown operation"
			p.ShardsCompared = 255
			p.NotCompared = []engine.VerifyGap{{What: "state", Shard: 2, Count: 1, Reason: p.Reason, Lasting: true}}
		})},
		"unreachable": {ExitUnreachable, verifyReport(engine.VerifyUnreachable,
			func(r *engine.VerifyReport, p *engine.VerifyPeer) {
				r.Seconds, p.Reason, p.ShardsCompared, p.LogsCompared, p.Keys = 0.002, down, 0, 0, 0
				p.NotCompared = []engine.VerifyGap{
					{What: "journals", Shard: 0, Count: 256, Reason: down},
					{What: "state", Shard: 0, Count: 256, Reason: down},
				}
			})},
		"timeout":     {ExitTimeout, cutShort(engine.VerifyTimeout, "time ran out")},
		"interrupted": {ExitFailed, cutShort(engine.VerifyInterrupted, "interrupted")},
	}
}

// What people and scripts read of each kind of report, and the error line under it.
func TestVerifyReportsAreGoldenInEveryFormat(t *testing.T) {
	for name, v := range verifyReports() {
		for _, format := range []Format{FormatTable, FormatWide, FormatJSON, FormatJSONL} {
			t.Run(name+"/"+string(format), func(t *testing.T) {
				var out, errs bytes.Buffer
				o := &output{format: format, stdout: &out}
				require.NoError(t, showVerify(&out, o, v.report))
				file := "json/verify-" + name + "." + string(format)
				if o.people() {
					report(&errs, verifyVerdict(v.report, time.Minute))
					out.WriteString(errs.String())
					file = "screen/verify-" + name + "-" + string(format) + ".txt"
				}
				golden(t, file, out.String())
			})
		}
	}
}

func TestVerificationsExitCodeIsItsWorstFinding(t *testing.T) {
	for name, v := range verifyReports() {
		code := ExitDone
		if f, ok := errors.AsType[*Failure](verifyVerdict(v.report, time.Minute)); ok {
			code = f.Code
		}
		require.Equal(t, v.code, code, name)
	}
	late := verifyReports()["state"].report
	late.Ended = engine.VerifyTimeout
	f, _ := errors.AsType[*Failure](verifyVerdict(late, time.Minute))
	require.Equal(t, ExitDifference, f.Code, "a difference was found before time ran out")
}

func TestWhyNothingWasComparedDecidesTheExitCode(t *testing.T) {
	for err, want := range map[error]int{
		remote.ErrQuestion: ExitUsage, remote.ErrRefused: ExitRefused, remote.ErrFailed: ExitFailed,
		remote.ErrUnreachable: ExitUnreachable, remote.ErrAnswer: ExitFailed,
	} {
		f := classify(verifyFailure(fmt.Errorf("admin: %w", err)))
		require.Equal(t, want, f.Code, err)
		require.NotEmpty(t, f.Next, err)
	}
}

// Also where the report names no shards that are left.
func TestNextStepAfterATimeoutIsAWholeSentence(t *testing.T) {
	next := func(r *engine.VerifyReport) string {
		f, _ := errors.AsType[*Failure](verifyVerdict(r, time.Minute))
		return f.Next
	}
	late := verifyReports()["timeout"].report
	require.Equal(t, "run it again with more --timeout, or with --shards 118-255", next(late))
	late.Peers[0].NotCompared = nil
	require.Equal(t, "run it again with more --timeout", next(late))
}

func TestVerifyProgressShowsRateAndEnd(t *testing.T) {
	now := at
	m := &verifyMeter{now: func() time.Time { return now }}
	state := func(shards int, keys uint64) engine.VerifyProgress {
		return engine.VerifyProgress{Peer: "site-b", Phase: "state", Shards: shards, ShardsTotal: 256, Keys: keys}
	}
	m.take(engine.VerifyProgress{Kind: "progress", Peer: "site-b", Phase: "journals", ShardsTotal: 256})
	require.Equal(t, "site-b: journals of 0 of 256 shards", m.text())
	now = now.Add(time.Minute) // which is not the state's
	m.take(state(0, 0))
	require.Equal(t, "site-b: state of 0 of 256 shards", m.text())
	now = now.Add(10 * time.Second)
	m.take(state(64, 120_000))
	require.Equal(t, "site-b: state of 64 of 256 shards, 120,000 keys, 12,000/s, 30s left", m.text())
}
