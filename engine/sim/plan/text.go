package plan

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/claudefs/repl/wire"
)

// PlanMagic is the first line of a plan's text.
const PlanMagic = "sim plan 1"

// Check refuses a mistake that no world can make.
func (p Plant) Check() error {
	if p == "" || slices.Contains(Plants, p) {
		return nil
	}
	return fmt.Errorf("no mistake is named %q, these are: %v", p, Plants)
}

// ErrPlan is a text that is not a plan; the error names the line.
var ErrPlan = errors.New("not a plan")

// itemsMax bounds what a text may ask for.
const itemsMax = 100_000

// flags is the table of parameters: names, values, and as defaults the simple
// ones.
func (p *Plan) flags() *flag.FlagSet {
	set := p.Params
	p.Params = Simple()
	fs := flag.NewFlagSet("plan", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.DurationVar(&p.Duration, "duration", p.Duration, "")
	fs.IntVar(&p.Shards, "shards", p.Shards, "")
	fs.IntVar(&p.SiteCount, "sites", p.SiteCount, "")
	fs.IntVar(&p.PayloadMax, "payload-max", p.PayloadMax, "")
	fs.Int64Var(&p.AppendedMax, "appended-max", p.AppendedMax, "")
	fs.BoolVar(&p.HostLog, "host-log", p.HostLog, "")
	fs.BoolVar(&p.Retain, "retain", p.Retain, "")
	fs.DurationVar(&p.VerifyWait, "verify-wait", p.VerifyWait, "")
	fs.Int64Var(&p.PendingBytes, "pending-bytes", p.PendingBytes, "")
	fs.DurationVar(&p.HeartbeatEvery, "heartbeat-every", p.HeartbeatEvery, "")
	fs.DurationVar(&p.HeartbeatTimeout, "heartbeat-timeout", p.HeartbeatTimeout, "")
	fs.DurationVar(&p.DelayMin, "delay-min", p.DelayMin, "")
	fs.DurationVar(&p.DelayMean, "delay-mean", p.DelayMean, "")
	fs.Int64Var(&p.Bandwidth, "bandwidth", p.Bandwidth, "")
	fs.BoolVar(&p.Stalls, "cuts-hold-back", p.Stalls, "")
	fs.BoolVar(&p.Moves, "moves", p.Moves, "")
	for i := range p.Sites {
		s, name := &p.Sites[i], SiteNames[i]
		fs.Int64Var(&s.WindowBytes, name+".window-bytes", s.WindowBytes, "")
		fs.IntVar(&s.FrameBytes, name+".frame-bytes", s.FrameBytes, "")
		fs.IntVar(&s.FeedBytes, name+".feed-bytes", s.FeedBytes, "")
		fs.Int64Var(&s.RecentBytes, name+".recent-bytes", s.RecentBytes, "")
		fs.DurationVar(&s.StoreSync, name+".store-sync", s.StoreSync, "")
		fs.DurationVar(&s.FlushMean, name+".flush-mean", s.FlushMean, "")
		fs.BoolVar(&s.Prepare, name+".prepare", s.Prepare, "")
		fs.IntVar(&s.QueueDepth, name+".queue-depth", s.QueueDepth, "")
		fs.TextVar(&s.Sometimes, name+".sometimes", s.Sometimes, "")
		fs.Int64Var(&s.DriftPPM, name+".drift-ppm", s.DriftPPM, "")
		fs.DurationVar(&s.Offset, name+".clock-offset", s.Offset, "")
	}
	p.Params = set
	return fs
}

// special returns the names of the parameters that are not simple, sorted.
func (p *Plan) special() (names []string) {
	p.flags().VisitAll(func(f *flag.Flag) {
		if f.Value.String() != f.DefValue {
			names = append(names, f.Name)
		}
	})
	return names
}

// String is the plan as text: a line for each parameter that is not simple, then
// one for each item. Parse reads it.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nseed %d\n", PlanMagic, p.Seed)
	if p.Plant != "" {
		fmt.Fprintf(&b, "plant %s\n", p.Plant)
	}
	fs := p.flags()
	for _, name := range p.special() {
		fmt.Fprintf(&b, "%s %s\n", name, fs.Lookup(name).Value)
	}
	for i := range p.Items {
		fmt.Fprintln(&b, p.Items[i].String())
	}
	return b.String()
}

// Lines is how many lines the text has.
func (p *Plan) Lines() int { return strings.Count(p.String(), "\n") }

// Summary is the plan on a few lines, as a failure shows it.
func (p *Plan) Summary() string {
	counts := [KindCount]int{}
	for i := range p.Items {
		counts[p.Items[i].Kind]++
	}
	var b strings.Builder
	b.WriteString("plan:")
	for k, n := range counts {
		if n > 0 {
			fmt.Fprintf(&b, " %s=%d", Kind(k), n)
		}
	}
	fs := p.flags()
	b.WriteString("\nparameters:")
	for _, name := range p.special() {
		fmt.Fprintf(&b, " %s=%s", name, fs.Lookup(name).Value)
	}
	return b.String() + "\n"
}

func (f *Item) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", f.At, f.Kind)
	if f.Kind != Burst {
		fmt.Fprintf(&b, " %s", SiteNames[f.Site])
	}
	if f.Count > 0 {
		fmt.Fprintf(&b, " count=%d", f.Count)
	}
	if f.Span > 0 {
		fmt.Fprintf(&b, " span=%s", f.Span)
	}
	if f.Phase != PhaseAny {
		fmt.Fprintf(&b, " phase=%s", phaseNames[f.Phase])
	}
	if f.Draw != 0 {
		fmt.Fprintf(&b, " draw=%d", f.Draw)
	}
	return b.String()
}

// Parse reads what String printed, or what somebody wrote by hand: empty
// lines and what follows a # do not count, parameters left out are simple. The
// error names the line.
func Parse(text string) (*Plan, error) {
	p := &Plan{Params: Simple()}
	fs := p.flags()
	begun := false
	for n, line := range strings.Split(text, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		var err error
		switch {
		case !begun:
			begun = true
			if strings.Join(words, " ") != PlanMagic {
				err = fmt.Errorf("a plan begins with the line %q", PlanMagic)
			}
		case len(p.Items) == itemsMax:
			err = fmt.Errorf("more than %d items", itemsMax)
		default:
			err = p.parseLine(fs, words)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: line %d: %w", ErrPlan, n+1, err)
		}
	}
	if !begun {
		return nil, fmt.Errorf("%w: the text is empty", ErrPlan)
	}
	if err := p.validate(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPlan, err)
	}
	slices.SortStableFunc(p.Items, func(a, b Item) int { return int(a.At - b.At) })
	return p, nil
}

func (p *Plan) parseLine(fs *flag.FlagSet, words []string) (err error) {
	switch {
	case words[0][0] >= '0' && words[0][0] <= '9':
		f, err := parseItem(words)
		p.Items = append(p.Items, f)
		return err
	case len(words) != 2:
		return fmt.Errorf("%q wants one value", words[0])
	case words[0] == "seed":
		p.Seed, err = strconv.ParseUint(words[1], 10, 64)
		return err
	case words[0] == "plant":
		p.Plant = Plant(words[1])
		return p.Plant.Check()
	}
	return fs.Set(words[0], words[1])
}

func parseItem(words []string) (f Item, err error) {
	if f.At, err = time.ParseDuration(words[0]); err != nil {
		return f, err
	}
	if len(words) < 2 {
		return f, errors.New("an item has a time and a kind")
	}
	k := named(words[1])
	if k < 0 {
		return f, fmt.Errorf("no item is named %q", words[1])
	}
	f.Kind = Kind(k)
	for _, word := range words[2:] {
		key, value, named := strings.Cut(word, "=")
		switch {
		case !named && f.Kind == Burst:
			return f, fmt.Errorf("%q: a burst names no site, its appends go to the primary", word)
		case !named:
			if f.Site = slices.Index(SiteNames[:SitesMax], word); f.Site < 0 {
				return f, fmt.Errorf("no site is named %q", word)
			}
		case key == "count":
			f.Count, err = strconv.Atoi(value)
		case key == "span":
			f.Span, err = time.ParseDuration(value)
		case key == "draw":
			f.Draw, err = strconv.ParseUint(value, 10, 64)
		case key == "phase" && slices.Contains(phaseNames[:], value):
			f.Phase = Phase(slices.Index(phaseNames[:], value))
		default:
			err = fmt.Errorf("%q says nothing about an item", word)
		}
		if err != nil {
			return f, err
		}
	}
	return f, nil
}

// validate refuses what no seed draws and no world could live.
func (p *Plan) validate() error {
	day := 24 * time.Hour
	if p.Duration <= 0 || p.Duration > 31*day {
		return fmt.Errorf("duration %s: a fault phase lasts up to 31 days", p.Duration)
	}
	if p.Shards < 1 || p.Shards > 1<<16 {
		return fmt.Errorf("shards %d: 1 to 65536 are possible", p.Shards)
	}
	if p.SiteCount < 2 || p.SiteCount > SitesMax {
		return fmt.Errorf("sites %d: 2 to %d are possible", p.SiteCount, SitesMax)
	}
	if p.PayloadMax < 0 || p.PayloadMax > 1<<20 {
		return fmt.Errorf("payload-max %d: 0 to 1048576 are possible", p.PayloadMax)
	}
	if p.VerifyWait < 0 || p.HeartbeatEvery < 0 || p.HeartbeatTimeout < 0 || p.HeartbeatTimeout > day {
		return errors.New(
			"verify-wait, heartbeat-every, heartbeat-timeout: times are not negative, a silence up to a day")
	}
	if p.AppendedMax < 0 || p.PendingBytes < wire.BatchBytesMax {
		return fmt.Errorf("appended-max is not negative, pending-bytes at least %d: a batch", wire.BatchBytesMax)
	}
	if p.Bandwidth < 1 || p.DelayMin < 0 || p.DelayMean < 0 {
		return errors.New("bandwidth, delay-min, delay-mean: a link carries something in time")
	}
	for i := range p.Sites {
		if s := &p.Sites[i]; s.WindowBytes < 1 || s.FrameBytes < 1 || s.FeedBytes < 1 || s.RecentBytes < 0 ||
			s.QueueDepth < 1 || s.QueueDepth > 64 || s.StoreSync <= 0 || s.FlushMean <= 0 ||
			s.DriftPPM < -500 || s.DriftPPM > 500 || s.Offset < -day || s.Offset > day {
			return fmt.Errorf("%s: sizes, depth and times are above 0, the depth up to 64, drift within 500 ppm, "+
				"the clock off by a day at most", SiteNames[i])
		}
	}
	for i := range p.Items {
		if f := &p.Items[i]; f.Site >= p.SiteCount {
			return fmt.Errorf("item %q: the world has %d sites", f, p.SiteCount)
		} else if f.At < 0 || f.Span < 0 || f.Span > 31*day || f.Count < 0 || f.Count > 1<<16 {
			return fmt.Errorf("item %q: times are not negative, a burst has up to 65536 appends", f)
		} else if f.Site == 0 && (f.Kind == Lose || f.Kind == CutOff) {
			return fmt.Errorf("item %q: the primary cannot be lost, nobody takes over", f)
		} else if f.Site != ThirdSite && (f.Kind == TakeIn || f.Kind == Dismiss) {
			return fmt.Errorf("item %q: only the third site, %s, joins and goes", f, SiteNames[ThirdSite])
		} else if f.Site == 0 && f.Kind == Clone && (p.SiteCount > 2 || p.HostLog) {
			return fmt.Errorf("item %q: of two sites only, without a log of the host, the primary is cloned", f)
		}
	}
	return nil
}
