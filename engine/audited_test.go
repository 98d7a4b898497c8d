package engine_test

import (
	"testing"
	"time"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/stretchr/testify/require"
)

// trail returns a site's audit trail.
func (s *site) trail() (all []engine.AuditRecord) {
	s.t.Helper()
	require.NoError(s.t, s.AuditTrail(time.Time{}, func(r *engine.AuditRecord) error {
		all = append(all, *r)
		return nil
	}))
	return all
}

func TestAuditTrailKeepsRefusals(t *testing.T) {
	a, b := pair(t)
	b.options.Cluster = "other"
	a.start()
	require.Empty(t, a.trail())
	require.Empty(t, a.disk.Names("/data/audit/"), "no line, no file")
	b.start()
	a.awaitEvent("refused")
	a.end()
	all := a.trail()
	require.NotEmpty(t, all)
	require.Equal(t, []any{"refused", "site-a", "observed", uint64(1)},
		[]any{all[0].Kind, all[0].Site, string(all[0].Outcome), all[0].Seq})
	report, err := a.CheckAudit()
	require.NoError(t, err)
	require.Empty(t, report.Places)

	a.disk.Kill() // another life continues the chain
	before := len(all)
	a.mu.Lock()
	a.events = nil
	a.mu.Unlock()
	a.start()
	a.awaitEvent("refused")
	a.end()
	all = a.trail()
	require.Greater(t, len(all), before)
	require.Equal(t, all[before-1].Hash, all[before].Prev)
}

func TestAuditFailureIsAnEventAndStopsNothing(t *testing.T) {
	a, b := pair(t)
	b.options.Cluster = "other"
	a.options.FS = vfs.WithFaults(a.disk, vfs.Fault{Op: vfs.OpWrite, Match: "000001.jsonl", Call: 1})
	a.start()
	b.start()
	require.Contains(t, a.awaitEvent("audit-failed").Text, "audit trail cannot be written")
	a.put(1, "key", "value", engine.Local)
	b.end() // refused again
	b.start()
	a.awaitEvent("audit-works")
	a.end()
	require.NotEmpty(t, a.trail())
}

func TestForgetIsAuditedBeforeItActs(t *testing.T) {
	a, b := pair(t)
	a.options.Peers = append(a.options.Peers, engine.Peer{Site: "site-bb", Addrs: []string{"nowhere"}})
	a.options.FS = vfs.WithFaults(a.disk, vfs.Fault{Op: vfs.OpCreate, Match: "000001.jsonl", Call: 1, Forever: true})
	b.start()
	a.start()
	a.put(1, "key", "value", engine.Durable(1))
	_, err := a.Forget("site-bb", engine.ForgetOptions{By: "10.0.0.9:1"})
	require.ErrorIs(t, err, engine.ErrAudit)
	require.Len(t, a.Status().Peers, 2, "not done")
	require.Empty(t, a.trail())
	a.end()
	a.options.FS = a.disk
	a.start()
	a.put(1, "key", "another", engine.Durable(1))

	_, err = a.Forget("site-b", engine.ForgetOptions{Gone: true})
	require.ErrorIs(t, err, engine.ErrLinked)
	_, err = a.Forget("site-bb", engine.ForgetOptions{By: "10.0.0.9:1"})
	require.NoError(t, err)
	require.Len(t, a.Status().Peers, 1)
	var lines []string
	for _, r := range a.trail() {
		if r.Actor == nil {
			continue // an event
		}
		lines = append(lines, r.Kind+" "+r.Peer+" "+string(r.Outcome)+" "+r.Actor.How+" "+r.Actor.Name)
	}
	require.Equal(t, []string{
		"forget site-b begun engine ", "forget site-b refused engine ",
		"forget site-bb begun admin 10.0.0.9:1", "forget site-bb done admin 10.0.0.9:1",
	}, lines)
}
