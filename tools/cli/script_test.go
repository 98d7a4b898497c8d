package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/sys/unix"

	"github.com/claudefs/repl/engine/store/journal"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/uring"
	"github.com/claudefs/repl/wire"
)

// TestMain makes this binary cfs when a script, or cfs itself, starts it under
// that name.
func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"cfs": func() { os.Exit(Main(os.Args[1:], os.Stdin, os.Stdout, heardStderr())) },
	})
}

// Scripts read like a manual: what is typed, what is printed, which exit code.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		UpdateScripts:       *rewrite,
		RequireExplicitExec: true,
		Condition:           condition(t),
		Setup:               func(env *testscript.Env) error { return hearChains(t, env) },
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"reserve":    reserve,
			"addrs":      readAddrs,
			"wait-for":   waitFor,
			"exits":      exits,
			"again":      again,
			"flip":       flip,
			"tamper":     tamper,
			"largest":    largest,
			"newest":     newest,
			"hello":      hello,
			"small-disk": smallDisk,
			"make-tree":  makeTree,
			"odd-times":  oddTimes,
			"get":        get,
		},
	})
}

// scriptWait bounds what a script waits for.
const scriptWait = 60 * time.Second

// reserve finds a free loopback address for each variable: reserve A B.
func reserve(ts *testscript.TestScript, neg bool, args []string) {
	var held []net.Listener
	for _, name := range args {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		ts.Check(err)
		held = append(held, l)
		ts.Setenv(name, l.Addr().String())
	}
	for _, l := range held {
		ts.Check(l.Close())
	}
}

// readAddrs waits for a server's --addr-file and puts its addresses into
// variables: addrs FILE A sets A_ADMIN and A_LISTEN.
func readAddrs(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	var v addrs
	until(ts, "the address file "+args[0], func() bool {
		text, err := os.ReadFile(path)
		return err == nil && json.Unmarshal(text, &v) == nil
	})
	ts.Setenv(args[1]+"_ADMIN", v.Admin)
	ts.Setenv(args[1]+"_LISTEN", v.Listen)
}

// waitFor runs a command until its output matches: wait-for PATTERN cfs …, or
// is that of a file: wait-for @FILE cfs ….
func waitFor(ts *testscript.TestScript, neg bool, args []string) {
	pattern := regexp.MustCompile("(?m)" + args[0])
	if name, ok := strings.CutPrefix(args[0], "@"); ok {
		pattern = regexp.MustCompile("^" + regexp.QuoteMeta(ts.ReadFile(name)) + "$")
	}
	var last []byte
	until(ts, "output like "+args[0], func() bool {
		var stdout bytes.Buffer
		code := command(ts, args[1:], &stdout, io.Discard)
		last = stdout.Bytes()
		return code == 0 && pattern.Match(last)
	})
	_, err := ts.Stdout().Write(last)
	ts.Check(err)
}

// exits runs a command that must end with this code: exits 2 cfs ….
func exits(ts *testscript.TestScript, neg bool, args []string) {
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	if got := command(ts, args[1:], ts.Stdout(), ts.Stderr()); got != want {
		ts.Fatalf("%s: exit code %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

// again runs a command so many times; each must end with this code: again 20 0 cfs ….
func again(ts *testscript.TestScript, neg bool, args []string) {
	times, err := strconv.Atoi(args[0])
	ts.Check(err)
	for range times {
		exits(ts, neg, args[1:])
	}
}

// get prints a page: get URL.
func get(ts *testscript.TestScript, neg bool, args []string) {
	client := http.Client{Timeout: scriptWait}
	answer, err := client.Get(args[0])
	ts.Check(err)
	defer answer.Body.Close()
	_, err = io.Copy(ts.Stdout(), answer.Body)
	ts.Check(err)
	if answer.StatusCode != http.StatusOK {
		ts.Fatalf("%s: %s", args[0], answer.Status)
	}
}

// command runs args in the script's directory and environment.
func command(ts *testscript.TestScript, args []string, stdout, stderr io.Writer) int {
	path := ""
	for _, dir := range filepath.SplitList(ts.Getenv("PATH")) {
		if found, err := exec.LookPath(filepath.Join(dir, args[0])); err == nil {
			path = found
			break
		}
	}
	c := exec.Command(path, args[1:]...)
	c.Args[0] = args[0]
	c.Dir = ts.MkAbs(".")
	c.Stdout, c.Stderr = stdout, stderr
	for _, name := range []string{"HOME", "PATH", "TMPDIR", "WORK", adminEnv} {
		c.Env = append(c.Env, name+"="+ts.Getenv(name))
	}
	err := c.Run()
	if e, ok := errors.AsType[*exec.ExitError](err); ok {
		return e.ExitCode()
	}
	ts.Check(err)
	return 0
}

// until polls done up to scriptWait.
func until(ts *testscript.TestScript, what string, done func() bool) {
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(scriptWait)
	for !done() {
		select {
		case <-ticker.C:
		case <-deadline:
			ts.Fatalf("%s did not come within %s", what, scriptWait)
		}
	}
}

// flip inverts one bit of a file: flip FILE OFFSET, or flip SEGMENT batch for one
// that hits entries wherever those lie this time.
func flip(ts *testscript.TestScript, neg bool, args []string) {
	path := ts.MkAbs(args[0])
	data, err := os.ReadFile(path)
	ts.Check(err)
	at := inBatch(ts, path)
	if args[1] != "batch" {
		at, err = strconv.Atoi(args[1])
		ts.Check(err)
	}
	if at >= len(data) {
		ts.Fatalf("%s has %d bytes, no offset %d", args[0], len(data), at)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	ts.Check(err)
	_, err = f.WriteAt([]byte{data[at] ^ 0x10}, int64(at)) // only it: a server may have the file
	ts.Check(errors.Join(err, f.Close()))
}

// inBatch is an offset in the middle of a segment's largest data batch, or 0.
func inBatch(ts *testscript.TestScript, path string) int {
	at, most := 0, 0
	_ = journal.Inspect(vfs.OS{}, path, func(i journal.Item) error { // Other files have no batches.
		if b := i.Batch; b != nil && b.Kind == wire.BatchData && b.Bytes() > most {
			at, most = int(i.Offset)+b.Bytes()/2, b.Bytes()
		}
		return nil
	})
	return at
}

// largest puts the path of the file below DIR with the most bytes in use whose
// name matches PATTERN into a variable: largest DIR PATTERN NAME.
func largest(ts *testscript.TestScript, neg bool, args []string) {
	var best string
	var most int64 = -1
	ts.Check(filepath.WalkDir(ts.MkAbs(args[0]), func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if ok, _ := filepath.Match(args[1], d.Name()); !ok {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Size() > most {
			best, most = path, info.Size()
		}
		return nil
	}))
	if best == "" {
		ts.Fatalf("no file %s below %s", args[1], args[0])
	}
	ts.Setenv(args[2], best)
}

// newest puts the path of the file in DIR whose name matches PATTERN and comes last
// into a variable: newest DIR PATTERN NAME.
func newest(ts *testscript.TestScript, neg bool, args []string) {
	found, err := filepath.Glob(filepath.Join(ts.MkAbs(args[0]), args[1]))
	ts.Check(err)
	if len(found) == 0 {
		ts.Fatalf("no file %s in %s", args[1], args[0])
	}
	ts.Setenv(args[2], found[len(found)-1])
}

// hello sends a doctored greeting to a listener and prints the refusal:
// hello ADDR cluster=NAME site=NAME peer=NAME shards=N version=N primary=NAME.
func hello(ts *testscript.TestScript, neg bool, args []string) {
	h, version := doctoredHello(ts, args[1:])
	frame := h.AppendTo(nil, 0)
	if version != 0 {
		frame[1] = version
	}
	c, err := net.Dial("tcp", args[0])
	ts.Check(err)
	defer c.Close()
	ts.Check(c.SetDeadline(time.Now().Add(scriptWait)))
	_, err = c.Write(frame)
	ts.Check(err)
	answer, err := io.ReadAll(c)
	if err != nil && len(answer) == 0 {
		ts.Fatalf("no answer to the hello: %v", err)
	}
	for len(answer) > 0 {
		row, err := readFrame(answer)
		if err != nil {
			ts.Fatalf("answer: %v", err)
		}
		fmt.Fprintf(ts.Stdout(), "%s: %s\n", row.Kind, row.Text)
		answer = answer[row.Bytes:]
	}
}

// doctoredHello is a valid hello with some fields changed.
func doctoredHello(ts *testscript.TestScript, fields []string) (h wire.Hello, version byte) {
	v := map[string]string{"cluster": "try", "site": "site-b", "peer": "site-a", "shards": "256", "primary": "site-a"}
	for _, field := range fields {
		name, value, _ := strings.Cut(field, "=")
		v[name] = value
	}
	shards, err := strconv.Atoi(v["shards"])
	ts.Check(err)
	h = wire.Hello{
		VersionMin: wire.Version, VersionMax: wire.Version, DigestKind: wire.DigestXXH3, Term: 1, Counter: 1, Epoch: 1,
		Cluster: wire.ClusterIDOf(v["cluster"]), Site: wire.SiteIDOf(v["cluster"], v["site"]),
		Peer: wire.SiteIDOf(v["cluster"], v["peer"]), Primary: wire.SiteIDOf(v["cluster"], v["primary"]),
		Shards: uint32(shards), ClusterName: v["cluster"], SiteName: v["site"], PeerName: v["peer"],
	}
	if text, ok := v["versions"]; ok {
		n, err := strconv.ParseUint(text, 10, 8)
		ts.Check(err)
		h.VersionMin, h.VersionMax = uint8(n), uint8(n)
	}
	if text, ok := v["envelope"]; ok {
		n, err := strconv.ParseUint(text, 10, 8)
		ts.Check(err)
		version = byte(n)
	}
	return h, version
}

// smallDisk mounts a file system that is soon full: small-disk DIR BYTES.
func smallDisk(ts *testscript.TestScript, neg bool, args []string) {
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(mount(dir, args[1]))
	ts.Defer(func() { _ = exec.Command("umount", "-l", dir).Run() })
}

func mount(dir, size string) error {
	out, err := exec.Command("mount", "-t", "tmpfs", "-o", "size="+size, "tmpfs", dir).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mount: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// condition knows [io_uring]: the kernel gives us rings; and [small-disk]: this
// machine lets the test mount one. As root in CI it must.
func condition(t *testing.T) func(string) (bool, error) {
	return func(name string) (bool, error) {
		if name == "io_uring" {
			err := uring.Supported()
			if err != nil {
				t.Log("left out: what needs io_uring: ", err)
				if os.Getenv("CI") == "true" {
					return false, err
				}
			}
			return err == nil, nil
		}
		if name != "small-disk" {
			return false, fmt.Errorf("no condition %q", name)
		}
		dir := t.TempDir()
		err := mount(dir, "64k")
		switch {
		case err == nil:
			return true, exec.Command("umount", "-l", dir).Run()
		case os.Getenv("CI") != "" && os.Geteuid() == 0:
			return false, err
		}
		t.Logf("no small disk: %v", err)
		return false, nil
	}
}

// makeTree writes a small tree with everything that an import meets:
// make-tree DIR FILES.
func makeTree(ts *testscript.TestScript, neg bool, args []string) {
	count, err := strconv.Atoi(args[1])
	ts.Check(err)
	dir := ts.MkAbs(args[0])
	for i := range count {
		sub := filepath.Join(dir, fmt.Sprintf("top%02d", i%7), fmt.Sprintf("sub%d", i%3))
		ts.Check(os.MkdirAll(sub, 0o755))
		text := strings.Repeat(fmt.Sprintf("line %d of file %d\n", i, i), 1+i%50)
		ts.Check(os.WriteFile(filepath.Join(sub, fmt.Sprintf("file%04d", i)), []byte(text), 0o640))
	}
	link := filepath.Join(dir, "top00", "sub0", "link")
	ts.Check(os.Symlink("file0000", link))
	late := unix.Timespec{Sec: 2_200_000_000} // an access time to come: reading does not move it
	ts.Check(unix.UtimesNanoAt(unix.AT_FDCWD, link, []unix.Timespec{late, {Sec: 1e9}}, unix.AT_SYMLINK_NOFOLLOW))
	ts.Check(os.Link(filepath.Join(dir, "top00", "sub0", "file0000"), filepath.Join(dir, "top00", "sub0", "hard")))
	ts.Check(os.MkdirAll(filepath.Join(dir, "top00", "empty"), 0o700))
}

// oddTimes puts a file of the year 2300 into a directory: odd-times DIR.
func oddTimes(ts *testscript.TestScript, neg bool, args []string) {
	path := filepath.Join(ts.MkAbs(args[0]), "late")
	ts.Check(os.WriteFile(path, nil, 0o644))
	late := unix.Timespec{Sec: 10_413_792_000}
	ts.Check(unix.UtimesNanoAt(unix.AT_FDCWD, path, []unix.Timespec{late, late}, 0))
}
