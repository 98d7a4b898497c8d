package sim

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

// planMagic is the first line of a plan's text.
const planMagic = "sim plan 1"

// Check refuses a mistake that no world can make.
func (p Plant) Check() error {
	if p == "" || slices.Contains(Plants, p) {
		return nil
	}
	return fmt.Errorf("no mistake is named %q, these are: %v", p, Plants)
}

// ErrPlan is a text that is no plan; the error names the line.
var ErrPlan = errors.New("not a plan")

// itemsMax bounds what a text may ask for.
const itemsMax = 100_000

// flags is the table of parameters: names, values, and as defaults the simple
// ones.
func (p *Plan) flags() *flag.FlagSet {
	set := p.params
	p.params = simple()
	fs := flag.NewFlagSet("plan", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	fs.DurationVar(&p.duration, "duration", p.duration, "")
	fs.IntVar(&p.shards, "shards", p.shards, "")
	fs.IntVar(&p.siteCount, "sites", p.siteCount, "")
	fs.IntVar(&p.payloadMax, "payload-max", p.payloadMax, "")
	fs.Int64Var(&p.appendedMax, "appended-max", p.appendedMax, "")
	fs.BoolVar(&p.hostLog, "host-log", p.hostLog, "")
	fs.BoolVar(&p.retain, "retain", p.retain, "")
	fs.DurationVar(&p.verifyWait, "verify-wait", p.verifyWait, "")
	fs.Int64Var(&p.pendingBytes, "pending-bytes", p.pendingBytes, "")
	fs.DurationVar(&p.heartbeatEvery, "heartbeat-every", p.heartbeatEvery, "")
	fs.DurationVar(&p.heartbeatTimeout, "heartbeat-timeout", p.heartbeatTimeout, "")
	fs.DurationVar(&p.delayMin, "delay-min", p.delayMin, "")
	fs.DurationVar(&p.delayMean, "delay-mean", p.delayMean, "")
	fs.Int64Var(&p.bandwidth, "bandwidth", p.bandwidth, "")
	fs.BoolVar(&p.stalls, "cuts-hold-back", p.stalls, "")
	for i := range p.sites {
		s, name := &p.sites[i], siteNames[i]
		fs.Int64Var(&s.windowBytes, name+".window-bytes", s.windowBytes, "")
		fs.IntVar(&s.frameBytes, name+".frame-bytes", s.frameBytes, "")
		fs.IntVar(&s.feedBytes, name+".feed-bytes", s.feedBytes, "")
		fs.Int64Var(&s.recentBytes, name+".recent-bytes", s.recentBytes, "")
		fs.DurationVar(&s.storeSync, name+".store-sync", s.storeSync, "")
		fs.DurationVar(&s.flushMean, name+".flush-mean", s.flushMean, "")
		fs.BoolVar(&s.prepare, name+".prepare", s.prepare, "")
		fs.IntVar(&s.queueDepth, name+".queue-depth", s.queueDepth, "")
		fs.TextVar(&s.sometimes, name+".sometimes", s.sometimes, "")
		fs.Int64Var(&s.driftPPM, name+".drift-ppm", s.driftPPM, "")
		fs.DurationVar(&s.offset, name+".clock-offset", s.offset, "")
	}
	p.params = set
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
// one for each item. ParsePlan reads it.
func (p *Plan) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\nseed %d\n", planMagic, p.seed)
	if p.plant != "" {
		fmt.Fprintf(&b, "plant %s\n", p.plant)
	}
	fs := p.flags()
	for _, name := range p.special() {
		fmt.Fprintf(&b, "%s %s\n", name, fs.Lookup(name).Value)
	}
	for i := range p.items {
		fmt.Fprintln(&b, p.items[i].String())
	}
	return b.String()
}

// Lines is how many lines the text has.
func (p *Plan) Lines() int { return strings.Count(p.String(), "\n") }

// summary is the plan on a few lines, as a failure shows it.
func (p *Plan) summary() string {
	counts := [kindCount]int{}
	for i := range p.items {
		counts[p.items[i].kind]++
	}
	var b strings.Builder
	b.WriteString("plan:")
	for k, n := range counts {
		if n > 0 {
			fmt.Fprintf(&b, " %s=%d", itemKind(k), n)
		}
	}
	fs := p.flags()
	b.WriteString("\nparameters:")
	for _, name := range p.special() {
		fmt.Fprintf(&b, " %s=%s", name, fs.Lookup(name).Value)
	}
	return b.String() + "\n"
}

func (f *item) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s", f.at, f.kind)
	if f.kind != burst {
		fmt.Fprintf(&b, " %s", siteNames[f.site])
	}
	if f.count > 0 {
		fmt.Fprintf(&b, " count=%d", f.count)
	}
	if f.span > 0 {
		fmt.Fprintf(&b, " span=%s", f.span)
	}
	if f.phase != phaseAny {
		fmt.Fprintf(&b, " phase=%s", phaseNames[f.phase])
	}
	if f.draw != 0 {
		fmt.Fprintf(&b, " draw=%d", f.draw)
	}
	return b.String()
}

// ParsePlan reads what String printed, or what somebody wrote by hand: empty
// lines and what follows a # do not count, parameters left out are simple. The
// error names the line.
func ParsePlan(text string) (*Plan, error) {
	p := &Plan{params: simple()}
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
			if strings.Join(words, " ") != planMagic {
				err = fmt.Errorf("a plan begins with the line %q", planMagic)
			}
		case len(p.items) == itemsMax:
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
	slices.SortStableFunc(p.items, func(a, b item) int { return int(a.at - b.at) })
	return p, nil
}

func (p *Plan) parseLine(fs *flag.FlagSet, words []string) (err error) {
	switch {
	case words[0][0] >= '0' && words[0][0] <= '9':
		f, err := parseItem(words)
		p.items = append(p.items, f)
		return err
	case len(words) != 2:
		return fmt.Errorf("%q wants one value", words[0])
	case words[0] == "seed":
		p.seed, err = strconv.ParseUint(words[1], 10, 64)
		return err
	case words[0] == "plant":
		p.plant = Plant(words[1])
		return p.plant.Check()
	}
	return fs.Set(words[0], words[1])
}

func parseItem(words []string) (f item, err error) {
	if f.at, err = time.ParseDuration(words[0]); err != nil {
		return f, err
	}
	if len(words) < 2 {
		return f, errors.New("an item has a time and a kind")
	}
	k := slices.Index(kindNames[:], words[1])
	if k < 0 {
		return f, fmt.Errorf("no item is named %q", words[1])
	}
	f.kind = itemKind(k)
	for _, word := range words[2:] {
		key, value, named := strings.Cut(word, "=")
		switch {
		case !named && f.kind == burst:
			return f, fmt.Errorf("%q: a burst names no site, its appends go to the primary", word)
		case !named:
			if f.site = slices.Index(siteNames[:sitesMax], word); f.site < 0 {
				return f, fmt.Errorf("no site is named %q", word)
			}
		case key == "count":
			f.count, err = strconv.Atoi(value)
		case key == "span":
			f.span, err = time.ParseDuration(value)
		case key == "draw":
			f.draw, err = strconv.ParseUint(value, 10, 64)
		case key == "phase" && slices.Contains(phaseNames[:], value):
			f.phase = phase(slices.Index(phaseNames[:], value))
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
	if p.duration <= 0 || p.duration > 31*day {
		return fmt.Errorf("duration %s: a fault phase lasts up to 31 days", p.duration)
	}
	if p.shards < 1 || p.shards > 1<<16 {
		return fmt.Errorf("shards %d: 1 to 65536 are possible", p.shards)
	}
	if p.siteCount < 2 || p.siteCount > sitesMax {
		return fmt.Errorf("sites %d: 2 to %d are possible", p.siteCount, sitesMax)
	}
	if p.payloadMax < 0 || p.payloadMax > 1<<20 {
		return fmt.Errorf("payload-max %d: 0 to 1048576 are possible", p.payloadMax)
	}
	if p.verifyWait < 0 || p.heartbeatEvery < 0 || p.heartbeatTimeout < 0 || p.heartbeatTimeout > day {
		return errors.New(
			"verify-wait, heartbeat-every, heartbeat-timeout: times are not negative, a silence up to a day")
	}
	if p.appendedMax < 0 || p.pendingBytes < wire.BatchBytesMax {
		return fmt.Errorf("appended-max is not negative, pending-bytes at least %d: a batch", wire.BatchBytesMax)
	}
	if p.bandwidth < 1 || p.delayMin < 0 || p.delayMean < 0 {
		return errors.New("bandwidth, delay-min, delay-mean: a link carries something in time")
	}
	for i := range p.sites {
		if s := &p.sites[i]; s.windowBytes < 1 || s.frameBytes < 1 || s.feedBytes < 1 || s.recentBytes < 0 ||
			s.queueDepth < 1 || s.queueDepth > 64 || s.storeSync <= 0 || s.flushMean <= 0 ||
			s.driftPPM < -500 || s.driftPPM > 500 || s.offset < -day || s.offset > day {
			return fmt.Errorf("%s: sizes, depth and times are above 0, the depth up to 64, drift within 500 ppm, "+
				"the clock off by a day at most", siteNames[i])
		}
	}
	for i := range p.items {
		if f := &p.items[i]; f.site >= p.siteCount {
			return fmt.Errorf("item %q: the world has %d sites", f, p.siteCount)
		} else if f.at < 0 || f.span < 0 || f.span > 31*day || f.count < 0 || f.count > 1<<16 {
			return fmt.Errorf("item %q: times are not negative, a burst has up to 65536 appends", f)
		} else if f.site == 0 && (f.kind == lose || f.kind == cutOff) {
			return fmt.Errorf("item %q: the primary cannot be lost, nobody takes over", f)
		} else if f.site == 0 && f.kind == clone && (p.siteCount > 2 || p.hostLog) {
			return fmt.Errorf("item %q: of two sites only, without a log of the host, the primary is cloned", f)
		}
	}
	return nil
}
