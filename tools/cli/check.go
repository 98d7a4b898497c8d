package cli

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/claudefs/repl/engine"
	"github.com/claudefs/repl/tools/cli/remote"
	"github.com/claudefs/repl/tools/cli/tty"
)

// What a check says: the words and exit codes of monitoring, of this verb alone.
const (
	checkOK = iota
	checkWarn
	checkCritical
	checkUnknown
)

var checkWords = [...]string{"ok", "warning", "critical", "unknown"}

// checkLimits are what turns a fact into a warning.
type checkLimits struct {
	lagWarn, lagCrit   time.Duration
	diskWarn, diskCrit int // percent free
	fullWarn, fullCrit time.Duration
}

func (l *checkLimits) validate() error {
	if l.lagWarn < 0 || l.lagCrit < l.lagWarn {
		return usage("give --lag-warn at most --lag-crit", "--lag-warn %s, --lag-crit %s", l.lagWarn, l.lagCrit)
	}
	if l.diskCrit < 0 || l.diskWarn < l.diskCrit || l.diskWarn > 100 {
		return usage("give percents that are free, --disk-crit at most --disk-warn",
			"--disk-warn %d, --disk-crit %d", l.diskWarn, l.diskCrit)
	}
	if l.fullCrit < 0 || l.fullWarn < l.fullCrit {
		return usage("give --full-crit at most --full-warn", "--full-warn %s, --full-crit %s", l.fullWarn, l.fullCrit)
	}
	return nil
}

// checkItem is one fact and what it means.
type checkItem struct {
	Name  string   `json:"name"` // "health", "appends", "lag", "disk", "disk_full"
	Peer  string   `json:"peer,omitempty"`
	Level string   `json:"level,omitempty"` // of a lag
	State string   `json:"state"`
	Text  string   `json:"text"`
	Value *float64 `json:"value"` // seconds, or the share that is free; null = unknown
	Warn  float64  `json:"warn"`
	Crit  float64  `json:"crit"`

	code int
}

// checkReport is "cfs admin replication check -o json".
type checkReport struct {
	Schema int         `json:"schema"`
	Kind   string      `json:"kind"`
	Site   string      `json:"site"`
	At     time.Time   `json:"at"`
	State  string      `json:"state"`
	Code   int         `json:"code"`
	Text   string      `json:"text"`
	Checks []checkItem `json:"checks"`
}

// add enters a fact; the report is as bad as its worst.
func (r *checkReport) add(code int, item checkItem) {
	item.code, item.State = code, checkWords[code]
	if len(r.Checks) == 0 || worse(code, r.Code) {
		r.Code, r.State, r.Text = code, item.State, item.Text
	}
	r.Checks = append(r.Checks, item)
}

// worse orders codes: ok, unknown, warning, critical.
func worse(a, b int) bool {
	rank := [...]int{checkOK: 0, checkUnknown: 1, checkWarn: 2, checkCritical: 3}
	return rank[a] > rank[b]
}

// checkOf judges a status.
func checkOf(s *engine.Status, l *checkLimits) *checkReport {
	r := &checkReport{Schema: 1, Kind: "check", Site: s.Site, At: s.At}
	health := map[string]int{"OK": checkOK, "DEGRADED": checkWarn, "FAILED": checkCritical}
	code, known := health[s.Health]
	if !known {
		code = checkUnknown
	}
	text := s.Site + " is " + s.Health
	if s.Reason != "" {
		text += ": " + s.Reason
	}
	r.add(code, checkItem{Name: "health", Text: text})
	if s.Appends.State == engine.AppendsRefused {
		r.add(checkCritical, checkItem{Name: "appends", Text: "appends are refused: " + s.Appends.Reason})
	}
	if s.Role == "primary" {
		for i := range s.Peers {
			p := &s.Peers[i]
			r.lag(s, p, "durable", &p.Durable, l)
			r.lag(s, p, "applied", &p.Applied, l)
		}
	}
	r.disk(s, l)
	return r
}

func (r *checkReport) lag(s *engine.Status, p *engine.PeerStatus, level string, g *engine.LagStatus, l *checkLimits) {
	item := checkItem{
		Name: "lag", Peer: p.Site, Level: level, Value: g.Seconds,
		Warn: l.lagWarn.Seconds(), Crit: l.lagCrit.Seconds(),
		Text: fmt.Sprintf("%s lag of %s %s", level, p.Site, lagText(s, p, g)),
	}
	seconds, code := 0.0, checkOK
	if g.State != engine.LagKnown || g.Seconds == nil { // never better than a warning
		code = checkWarn
		if g.AtLeastSeconds != nil {
			seconds = *g.AtLeastSeconds
		}
		if p.HeardAt != nil {
			seconds = max(seconds, s.At.Sub(*p.HeardAt).Seconds())
		}
	} else {
		seconds = *g.Seconds
	}
	switch {
	case seconds >= item.Crit && seconds > 0:
		code = checkCritical
	case seconds >= item.Warn && seconds > 0:
		code = checkWarn
	}
	r.add(code, item)
}

func (r *checkReport) disk(s *engine.Status, l *checkLimits) {
	d := &s.Disk
	if d.FreeBytes == nil || d.SizeBytes == nil || *d.SizeBytes <= 0 {
		return
	}
	free := 100 * float64(*d.FreeBytes) / float64(*d.SizeBytes)
	code := checkOK
	switch {
	case free <= float64(l.diskCrit):
		code = checkCritical
	case free <= float64(l.diskWarn):
		code = checkWarn
	}
	r.add(code, checkItem{
		Name: "disk", Value: &free, Warn: float64(l.diskWarn), Crit: float64(l.diskCrit),
		Text: fmt.Sprintf("disk of the journals %s free, %.1f %%", humanBytes(*d.FreeBytes), free),
	})
	if d.FullSeconds == nil {
		return
	}
	code = checkOK
	switch {
	case *d.FullSeconds <= l.fullCrit.Seconds():
		code = checkCritical
	case *d.FullSeconds <= l.fullWarn.Seconds():
		code = checkWarn
	}
	r.add(code, checkItem{
		Name: "disk_full", Value: d.FullSeconds, Warn: l.fullWarn.Seconds(), Crit: l.fullCrit.Seconds(),
		Text: "disk of the journals full in " + humanSeconds(*d.FullSeconds) + " as they grow now",
	})
}

func (a *app) replicationCheck() *cobra.Command {
	var (
		l      checkLimits
		format string
		addr   func() (string, error)
	)
	c := verb("check [--admin ADDR] [-o FORMAT]", "for monitoring: exits 0 ok, 1 warning, 2 critical, 3 unknown",
		Read, 0, 0, func(c *cobra.Command, _ []string) error {
			at, err := addr()
			if err == nil {
				err = l.validate()
			}
			if err == nil && checkPrinters[format] == nil {
				err = usage("write -o text, json, nagios or prometheus", "-o %q is not a format of check", format)
			}
			if err != nil {
				return failure(checkUnknown, err, nextOf(err))
			}
			r := a.checkNode(c.Context(), at, &l)
			if err := checkPrinters[format](a.stdout, r); err != nil {
				return failure(checkUnknown, err, "")
			}
			if r.Code != checkOK {
				return &Failure{Code: r.Code}
			}
			return nil
		})
	c.Annotations[monitorKey] = "yes"
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return failure(checkUnknown, err, "see --help") })
	counted := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if err := counted(c, args); err != nil {
			return failure(checkUnknown, err, nextOf(err))
		}
		return nil
	}
	addr = adminFlag(c)
	f := c.Flags()
	f.StringVarP(&format, "output", "o", "text", "`FORMAT`: text, json, nagios or prometheus")
	f.DurationVar(&l.lagWarn, "lag-warn", 5*time.Second, "a peer this far behind is a warning; an unknown lag is")
	f.DurationVar(&l.lagCrit, "lag-crit", 30*time.Second, "a peer this far behind, or silent for so long, is critical")
	f.IntVar(&l.diskWarn, "disk-warn", 20, "at most this `PERCENT` of the journals' disk free is a warning")
	f.IntVar(&l.diskCrit, "disk-crit", 5, "at most this `PERCENT` free is critical")
	f.DurationVar(&l.fullWarn, "full-warn", 24*time.Hour, "a disk that is full this soon is a warning")
	f.DurationVar(&l.fullCrit, "full-crit", 2*time.Hour, "a disk that is full this soon is critical")
	return c
}

func nextOf(err error) string { return classify(err).Next }

// checkNode asks a node. One that does not answer is unknown.
func (a *app) checkNode(ctx context.Context, addr string, l *checkLimits) *checkReport {
	s, err := remote.Status(ctx, addr)
	if err != nil {
		r := &checkReport{Schema: 1, Kind: "check", At: time.Now().UTC()}
		r.add(checkUnknown, checkItem{Name: "health", Text: oneLine(err.Error())})
		return r
	}
	return checkOf(s, l)
}

var checkPrinters = map[string]func(io.Writer, *checkReport) error{
	"text": checkText, "json": checkJSON, "nagios": checkNagios, "prometheus": checkPrometheus,
}

func checkText(w io.Writer, r *checkReport) error {
	var b strings.Builder
	for i := range r.Checks {
		fmt.Fprintf(&b, "%-8s  %s\n", strings.ToUpper(r.Checks[i].State), tty.Plain(r.Checks[i].Text))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func checkJSON(w io.Writer, r *checkReport) error {
	return (&output{format: FormatJSON, stdout: w}).object(r)
}

// checkNagios is one line: state, the worst fact, and performance data.
func checkNagios(w io.Writer, r *checkReport) error {
	var perf strings.Builder
	for i := range r.Checks {
		switch c := &r.Checks[i]; {
		case c.Value == nil:
		case c.Name == "lag":
			fmt.Fprintf(&perf, " 'lag_%s_%s'=%gs;%g;%g;0", c.Level, c.Peer, *c.Value, c.Warn, c.Crit)
		case c.Name == "disk":
			fmt.Fprintf(&perf, " 'disk_free'=%.1f%%;%g:;%g:;0;100", *c.Value, c.Warn, c.Crit)
		case c.Name == "disk_full":
			fmt.Fprintf(&perf, " 'disk_full'=%.0fs;%g:;%g:;0", *c.Value, c.Warn, c.Crit)
		}
	}
	text := strings.ReplaceAll(r.Text, "|", "/") // the bar ends the text
	line := fmt.Sprintf("REPLICATION %s - %s", strings.ToUpper(r.State), text)
	if perf.Len() > 0 {
		line += " |" + perf.String()
	}
	_, err := io.WriteString(w, tty.Plain(line)+"\n")
	return err
}

// checkPrometheus is a page for the textfile collector.
func checkPrometheus(w io.Writer, r *checkReport) error {
	var b strings.Builder
	b.WriteString("# HELP claudefs_repl_check What a check found: 0 ok, 1 warning, 2 critical, 3 unknown.\n" +
		"# TYPE claudefs_repl_check gauge\n")
	fmt.Fprintf(&b, "claudefs_repl_check{check=\"all\",level=\"\",peer=\"\",site=%q} %d\n", r.Site, r.Code)
	for i := range r.Checks {
		c := &r.Checks[i]
		fmt.Fprintf(&b, "claudefs_repl_check{check=%q,level=%q,peer=%q,site=%q} %d\n",
			c.Name, c.Level, c.Peer, r.Site, c.code)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
