package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/claudefs/repl/engine"
)

func showVerify(w io.Writer, o *output, r *engine.VerifyReport) error {
	switch o.format {
	case FormatJSON:
		return o.object(r)
	case FormatJSONL:
		for i := range r.Peers {
			if err := o.object(&r.Peers[i]); err != nil {
				return err
			}
		}
		return nil
	}
	return verifyScreen(r, o).show(w)
}

// verifyListed is how many of a list's lines the table shows.
const verifyListed = 20

// verifyScreen is what people see: a block for each peer.
func verifyScreen(r *engine.VerifyReport, o *output) *screen {
	b := new(screen)
	list := func(count int, line func(k int) string) {
		for k := range count {
			if k == verifyListed && !o.wide() {
				b.line("  … and %d more: -o wide lists them", count-k)
				return
			}
			b.line("  %s", line(k))
		}
	}
	for i := range r.Peers {
		p := &r.Peers[i]
		b.line("%s and %s: %s", r.Site, p.Site, strings.ToUpper(p.Result))
		b.line("  state of %d of %s, %s; %s by chain%s; %s", p.ShardsCompared, plural(p.ShardsAsked, "shard", "shards"),
			plural(p.Keys, "key", "keys"), plural(p.LogsCompared, "log", "logs"), deepText(r.Deep),
			humanSeconds(r.Seconds))
		found := differenceTexts(p.Differences, o)
		list(len(found), func(k int) string { return "different: " + found[k] })
		if p.More {
			b.line("  … and more differences than are listed")
		}
		gaps := gapTexts(p.NotCompared)
		list(len(gaps), func(k int) string { return "not compared: " + gaps[k] })
		if p.MoreNot > 0 {
			b.line("  … and %d more than are listed", p.MoreNot)
		}
	}
	return b
}

// differenceTexts words what differs, each line once: a path may have several keys.
func differenceTexts(found []engine.VerifyDifference, o *output) (texts []string) {
	for k := range found {
		if text := differenceText(&found[k], o); !slices.Contains(texts, text) {
			texts = append(texts, text)
		}
	}
	return texts
}

func deepText(deep bool) string {
	if deep {
		return ", stored bytes read"
	}
	return ""
}

// gapTexts words what was not compared: one line where journals and state lack the
// same shards for the same reason.
func gapTexts(gaps []engine.VerifyGap) (texts []string) {
	told := make([]bool, len(gaps))
	for i := range gaps {
		if told[i] {
			continue
		}
		what := gaps[i].What
		for k := i + 1; k < len(gaps); k++ {
			same := gaps[k]
			if same.What = gaps[i].What; same == gaps[i] && !told[k] {
				what, told[k] = what+" and "+gaps[k].What, true
			}
		}
		texts = append(texts, what+" of "+shardsText(gaps[i].Shard, gaps[i].Count)+": "+gaps[i].Reason)
	}
	return texts
}

func shardsText(first, count int) string {
	if count == 1 {
		return fmt.Sprintf("shard %d", first)
	}
	return fmt.Sprintf("shards %d-%d", first, first+count-1) // as --shards takes it
}

func differenceText(d *engine.VerifyDifference, o *output) string {
	text := d.Detail
	if d.Path != "" {
		text = d.Path + ": " + text
	}
	if d.Shard >= 0 {
		text += fmt.Sprintf("  (shard %d, log of %s at seq %d)", d.Shard, d.Site, d.Seq)
	}
	if o.wide() && d.Key != "" {
		text += "  key " + d.Key
	}
	return text
}

// verifyMeter words how far a verification is, how fast it goes, and when it may end.
type verifyMeter struct {
	now   func() time.Time
	began time.Time
	first engine.VerifyProgress // of this peer and this kind of work
	last  engine.VerifyProgress
}

// take takes what the node reported.
func (m *verifyMeter) take(p engine.VerifyProgress) {
	if p.Peer != m.first.Peer || p.Phase != m.first.Phase {
		m.began, m.first = m.now(), p
	}
	m.last = p
}

func (m *verifyMeter) text() string {
	p := &m.last
	text := fmt.Sprintf("%s: %s of %d of %s", p.Peer, p.Phase, p.Shards, plural(p.ShardsTotal, "shard", "shards"))
	took, done := m.now().Sub(m.began).Seconds(), p.Shards-m.first.Shards
	if p.Keys > 0 {
		text += ", " + plural(p.Keys, "key", "keys")
	}
	if took < 1 || done == 0 {
		return text
	}
	if rate := float64(p.Keys-m.first.Keys) / took; rate >= 1 {
		text += fmt.Sprintf(", %s/s", humanCount(int64(rate)))
	}
	left := took * float64(p.ShardsTotal-p.Shards) / float64(done)
	return text + fmt.Sprintf(", %s left", time.Duration(left*float64(time.Second)).Round(time.Second))
}
