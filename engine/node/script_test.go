package node

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/claudefs/repl/wire"
)

var rewrite = flag.Bool("rewrite", false, "write what happened into the scripts of testdata")

// TestConversations plays the scripts of testdata: blocks of commands, a line
// "----", and what was said while they ran.
func TestConversations(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	require.NoError(t, err)
	require.NotEmpty(t, files)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			text, err := os.ReadFile(file)
			require.NoError(t, err)
			got := play(t, string(text))
			if *rewrite {
				require.NoError(t, os.WriteFile(file, []byte(got), 0o644))
				return
			}
			require.Equal(t, string(text), got)
		})
	}
}

// play runs a script and returns it with the transcripts that came out.
func play(t *testing.T, text string) string {
	var out bytes.Buffer
	w := newWorld()
	commands, expected := []string(nil), false
	var sessions sessionNames
	for line := range strings.Lines(text) {
		switch line = strings.TrimRight(line, "\n"); {
		case expected && line != "":
			continue // the old transcript
		case line == "----":
			fmt.Fprintln(&out, line)
			for _, c := range commands {
				w.command(t, c)
			}
			out.WriteString(sessions.name(w.take()))
			require.NoError(t, w.fault, "after %q", commands)
			commands, expected = nil, true
			continue
		case line != "" && !strings.HasPrefix(line, "#"):
			commands = append(commands, line)
		}
		expected = false
		fmt.Fprintln(&out, line)
	}
	return out.String()
}

// sessionNames calls the sessions of each life by a letter and their order, instead of by
// the number at which that life begins to count.
type sessionNames []int

var sessionNumber = regexp.MustCompile(`(session |[0-9]/)[0-9]{7,10}\b`)

func (lives *sessionNames) name(said string) string {
	return sessionNumber.ReplaceAllStringFunc(said, func(match string) string {
		at := strings.LastIndexAny(match, " /") + 1
		n, err := strconv.Atoi(match[at:])
		if err != nil {
			return match
		}
		life := slices.IndexFunc(*lives, func(first int) bool { return first <= n && n < first+1000 })
		if life < 0 {
			life = len(*lives)
			*lives = append(*lives, n)
		}
		return fmt.Sprintf("%s%c%d", match[:at], 'a'+life, n-(*lives)[life]+1)
	})
}

// options splits the words of a command into plain ones and key=value.
func options(line string) (words []string, values map[string]string) {
	values = make(map[string]string)
	for word := range strings.FieldsSeq(line) {
		if k, v, ok := strings.Cut(word, "="); ok {
			values[k] = v
		} else {
			words = append(words, word)
		}
	}
	return words, values
}

func number(t *testing.T, s string) int {
	n, err := strconv.Atoi(s)
	require.NoError(t, err)
	return n
}

func (w *world) command(t *testing.T, line string) {
	words, values := options(line)
	var s *site
	if len(words) > 1 && words[0] != "site" && words[0] != "pass" && words[0] != "trace" {
		s = w.site(words[1])
	}
	shard := func(i int) wire.Shard { return wire.Shard(number(t, words[i])) }
	switch words[0] {
	case "site":
		s = w.addSite(words[1], uint32(number(t, values["shards"])), values["primary"],
			strings.FieldsFunc(values["peers"], func(r rune) bool { return r == ',' })...)
		if c := values["cluster"]; c != "" {
			s.c.Cluster, s.c.ClusterName = wire.ClusterIDOf(c), c
		}
		s.quiet = values["quiet"] != ""
		s.c.PrimaryNamed = values["named"] != "no"
	case "open":
		s.open()
	case "crash":
		s.crash()
	case "append":
		s.append(shard(2), uint32(number(t, words[3])))
	case "pass":
		d, err := time.ParseDuration(words[1])
		require.NoError(t, err)
		w.pass(d)
	case "trace":
		w.trace = words[1] == "on"
	case "cut":
		for _, p := range w.pipes {
			p.cut(errors.New("connection reset"))
		}
	case "set":
		s.noFlush, s.noApply = values["flush"] == "off", values["apply"] == "off"
		s.noDial, s.mute = values["dial"] == "off", values["mute"] != ""
		s.moving = values["mute"] == "moving"
		s.answers = values["answer"]
	case "image":
		s.image = s.copyDisks()
	case "restore":
		s.crash()
		d := s.image
		s.own, s.mirror, s.peers, s.applied = d.own, d.mirror, d.peers, d.applied
		s.image = s.copyDisks()
	default:
		w.rareCommand(t, s, words, values)
	}
}

func (w *world) rareCommand(t *testing.T, s *site, words []string, values map[string]string) {
	shard := func(i int) wire.Shard { return wire.Shard(number(t, words[i])) }
	switch words[0] {
	case "lose": // the last N own batches, as a lying disk would
		s.own.batches = s.own.batches[:len(s.own.batches)-number(t, words[2])]
	case "loselast": // the last batch of one own log
		last := s.own.tail(wire.LogID{Site: s.c.Site, Shard: shard(2)}).Position
		s.own.batches = slices.DeleteFunc(s.own.batches, func(h wire.BatchHeader) bool { return h.End() == last })
	case "forget": // the Store goes back to nothing
		s.applied = nil
	case "incarnation": // appends to a new incarnation of a log
		s.own.batches = slices.DeleteFunc(s.own.batches, func(h wire.BatchHeader) bool { return h.Shard == shard(2) })
		s.appendAs(shard(2), 1, incarnation("other", shard(2)))
	case "clock": // the next batch of shard 0 is stamped before what it follows
		s.backwards = true
	case "suspect":
		j, site := Own, s.c.Site
		if words[2] == "mirror" {
			j, site = Mirror, s.c.Peers[0].Site
		}
		s.suspect[j] = append(s.suspect[j], wire.LogID{Site: site, Shard: shard(3)})
	case "drop": // the own journal keeps only what lies behind batch N
		s.own.base = number(t, words[2])
	case "damage":
		log := wire.LogID{Site: s.c.Peers[0].Site, Shard: shard(2)}
		at := wire.Position{}
		for i := range s.mirror.batches {
			if h := &s.mirror.batches[i]; h.Log() == log && h.LastSeq() == wire.Seq(number(t, words[3])) {
				at = h.End()
			}
		}
		to := wire.Position{Incarnation: at.Incarnation, Seq: wire.Seq(number(t, words[4]))}
		s.step(&LogDamaged{Log: log, From: at, To: to})
	case "flip": // the next batches frame to arrive does not hold
		s.flip = true
	case "down":
		j, name := Own, "own"
		if words[2] == "mirror" {
			j, name = Mirror, "mirror"
		}
		s.step(&JournalDown{Journal: j, Err: errors.New(name + " journal stopped: disk: input/output error")})
	case "register":
		s.peers = append(s.peers, wire.RegisteredPeer{Site: wire.SiteIDOf("prod", words[2]), Name: words[2]})
	case "alone": // its configuration names no peer
		s.c.Peers = nil
	case "primary":
		s.c.Primary = wire.SiteIDOf("prod", words[2])
	case "hello":
		w.rawHello(t, s, values)
	case "again": // the current accepted link says hello once more
		w.rawAgain(s)
	case "lag":
		w.sayLag(s)
	case "logs":
		for _, j := range []*disk{&s.own, &s.mirror} {
			for _, l := range j.logs() {
				w.say("%s: shard %d ends at seq %d", s.node.SiteName(l.ID.Site), l.ID.Shard, l.Tail.Seq)
			}
		}
	case "floor":
		j, site := Own, s.c.Site
		if words[2] == "mirror" {
			j, site = Mirror, s.c.Peers[0].Site
		}
		w.say("floor of shard %s: seq %d, asked to retain %d times", words[3],
			s.node.Floor(j, wire.LogID{Site: site, Shard: shard(3)}).Seq, s.retains[j])
	case "status":
		w.sayStatus(s)
	default:
		t.Fatalf("unknown command %q", words[0])
	}
}

func (w *world) sayLag(s *site) {
	for _, p := range s.node.Status(w.now()).Peers {
		w.say("%s: durable known %v, %s, %d bytes, %d entries; applied known %v, %s, %d entries; waiting on %s",
			p.Name, p.Durable.Known, p.Durable.Time.Round(10*time.Millisecond), p.Durable.Bytes, p.Durable.Entries,
			p.Applied.Known, p.Applied.Time.Round(10*time.Millisecond), p.Applied.Entries, p.WaitingOn)
	}
}

func (w *world) sayStatus(s *site) {
	st := s.node.Status(w.now())
	w.say("waiting %d, verified %d, unverified %d, refused %d, standby %d", st.Admission[AdmitWaiting],
		st.Admission[AdmitVerified], st.Admission[AdmitUnverified], st.Admission[AdmitRefused],
		st.Admission[AdmitStandby])
	if st.Withheld != "" {
		w.say("withheld: %s", st.Withheld)
	}
	for _, l := range st.Stopped {
		w.say("stopped shard %d, code %d: %s", l.Log.Shard, l.Code, l.Reason)
	}
	for _, p := range st.Peers {
		w.say("peer %s: %s, session %d, waiting on %s, reason %q", p.Name, p.Link, p.Session, p.WaitingOn, p.Reason)
		for _, l := range p.Stopped {
			w.say("peer %s stopped shard %d, code %d: %s", p.Name, l.Log.Shard, l.Code, l.Reason)
		}
		if p.LeftOut > 0 {
			w.say("peer %s leaves out %d of its logs", p.Name, p.LeftOut)
		}
	}
}

// rawHello connects to a site and says a hello that is right but for the
// values given.
func (w *world) rawHello(t *testing.T, s *site, values map[string]string) {
	from := w.bySite(s.c.Peers[0].Site)
	h := wire.Hello{
		VersionMin: wire.Version, VersionMax: wire.Version, Cluster: s.c.Cluster, Site: from.c.Site, Peer: s.c.Site,
		Term: 9, Counter: 1, Shards: s.c.Shards, DigestKind: wire.DigestXXH3, Primary: s.c.Primary,
		ClusterName: s.c.ClusterName, SiteName: from.name, PeerName: s.name,
	}
	for k, v := range values {
		switch k {
		case "version":
			h.VersionMin = uint8(number(t, v))
			h.VersionMax = h.VersionMin
		case "cluster":
			h.Cluster, h.ClusterName = wire.ClusterIDOf(v), v
		case "site":
			h.Site, h.SiteName = wire.SiteIDOf("prod", v), v
		case "peer":
			h.Peer, h.PeerName = wire.SiteIDOf("prod", v), v
		case "sitename":
			h.SiteName = v
		case "peername":
			h.PeerName = v
		case "shards":
			h.Shards = uint32(number(t, v))
		case "digest":
			h.DigestKind = uint8(number(t, v))
		case "features":
			h.Features = uint64(number(t, v))
		case "primary":
			h.Primary = wire.SiteIDOf("prod", v)
		case "term":
			h.Term = wire.Term(number(t, v))
		case "counter":
			h.Counter = uint32(number(t, v))
		}
	}
	raw := &site{w: w, name: "raw"}
	p := w.connect(raw, s)
	w.settle()
	p.ends[0].sendControl(h.AppendTo(nil, 0))
	for len(w.moves()) > 0 {
		for _, in := range p.ends[0].queue {
			w.say("answer: %s", describe(&in.Envelope, in.Body))
		}
		p.ends[0].queue = nil
		for _, m := range w.moves() {
			m()
		}
	}
}

func (w *world) rawAgain(s *site) {
	for _, p := range w.pipes {
		if e := p.ends[1]; e.site == s && !e.down {
			h := wire.Hello{
				VersionMin: 1, VersionMax: 1, Cluster: s.c.Cluster, Site: s.c.Peers[0].Site, Peer: s.c.Site, Term: 99,
				Counter: 1, Shards: s.c.Shards, DigestKind: 1, Primary: s.c.Primary,
			}
			e.far.sendControl(h.AppendTo(nil, 0))
			return
		}
	}
}

// disks is an image of everything that a site keeps.
type disks struct {
	own, mirror disk
	peers       []wire.RegisteredPeer
	applied     []wire.Cursor
}

func (s *site) copyDisks() disks {
	d := disks{own: s.own, mirror: s.mirror, peers: slices.Clone(s.peers), applied: slices.Clone(s.applied)}
	d.own.batches, d.mirror.batches = slices.Clone(s.own.batches), slices.Clone(s.mirror.batches)
	for i := range d.peers {
		d.peers[i].Cursors = slices.Clone(d.peers[i].Cursors)
	}
	return d
}
