package engine

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/claudefs/repl/engine/event"
	"github.com/claudefs/repl/engine/store/vfs"
	"github.com/claudefs/repl/wire"
	"github.com/zeebo/xxh3"
)

// identityName is the file that says whose directory it is. Text, so that an
// operator can read it: one key=value per line, the checksum last.
const (
	identityName     = "IDENTITY"
	identityTemp     = "IDENTITY.new"
	identityFormat   = "1"
	identityBytesMax = 4096
	lockName         = "LOCK"
	ownName          = "own"
	mirrorName       = "mirror"
)

// identity is what a directory is bound to for life.
type identity struct {
	clusterName string
	siteName    string
	shards      int
	cluster     wire.ClusterID // follow from the names
	site        wire.SiteID
}

func identityOf(o *Options) identity {
	return identity{
		clusterName: o.Cluster, siteName: o.Site, shards: o.Shards,
		cluster: wire.ClusterIDOf(o.Cluster), site: wire.SiteIDOf(o.Cluster, o.Site),
	}
}

// encode is the content of the file.
func (id *identity) encode() []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "format=%s\ncluster=%s\nsite=%s\nshards=%d\n",
		identityFormat, id.clusterName, id.siteName, id.shards)
	fmt.Fprintf(&b, "checksum=%016x\n", xxh3.Hash(b.Bytes()))
	return b.Bytes()
}

// decodeIdentity reads the file's content back; a second way to write the same
// identity is refused, so encode decides.
func decodeIdentity(b []byte) (identity, error) {
	fields := make(map[string]string)
	for line := range strings.Lines(string(b)) {
		key, value, found := strings.Cut(strings.TrimSuffix(line, "\n"), "=")
		if !found {
			return identity{}, fmt.Errorf("line %q has no '=': %w", line, wire.ErrCorrupt)
		}
		fields[key] = value
	}
	if fields["format"] != identityFormat {
		return identity{}, fmt.Errorf("format %q, this release reads %s: %w",
			fields["format"], identityFormat, wire.ErrVersion)
	}
	shards, err := strconv.Atoi(fields["shards"])
	if err != nil {
		return identity{}, fmt.Errorf("shards %q: %w", fields["shards"], wire.ErrCorrupt)
	}
	id := identityOf(&Options{Cluster: fields["cluster"], Site: fields["site"], Shards: shards})
	if !bytes.Equal(id.encode(), b) {
		return identity{}, fmt.Errorf("checksum %q does not hold: %w", fields["checksum"], wire.ErrCorrupt)
	}
	return id, nil
}

// bindDir ties a directory to its identity the first time, and afterwards
// refuses any other. The lock is held.
func bindDir(files vfs.FS, dir string, id *identity) error {
	name := dir + "/" + identityName
	held, err := readIdentity(files, name)
	if err == nil {
		err = files.SyncDir(dir)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return createIdentity(files, dir, id)
	}
	if errors.Is(err, wire.ErrCorrupt) {
		return fmt.Errorf("%s: %w; restore it from a copy, or start with an empty directory", name, err)
	}
	if err != nil {
		return fmt.Errorf("identity of %s: %w", dir, err)
	}
	switch {
	case held.clusterName != id.clusterName:
		return fmt.Errorf("%s: the directory belongs to cluster %q, not %q: "+
			"give this engine a directory of its own: %w", name, held.clusterName, id.clusterName, ErrOptions)
	case held.siteName != id.siteName:
		return fmt.Errorf("%s: the directory belongs to site %q, not %q: "+
			"give this engine a directory of its own: %w", name, held.siteName, id.siteName, ErrOptions)
	case held.shards != id.shards:
		return fmt.Errorf("%s: the directory has %d shards, not %d: "+
			"the number is fixed at creation; open it with %d: %w",
			name, held.shards, id.shards, held.shards, ErrOptions)
	}
	return nil
}

// readIdentity reads the file, and flushes it: a copy of the directory may not have been.
func readIdentity(files vfs.FS, name string) (identity, error) {
	f, err := files.Open(name)
	if err != nil {
		return identity{}, err
	}
	defer f.Close()
	size, err := f.Size()
	if err != nil {
		return identity{}, err
	}
	if size > identityBytesMax {
		return identity{}, fmt.Errorf("%d bytes, limit %d: %w", size, identityBytesMax, wire.ErrCorrupt)
	}
	b := make([]byte, size)
	if n, err := f.ReadAt(b, 0); n < len(b) {
		return identity{}, err
	}
	if err := f.Sync(); err != nil {
		return identity{}, err
	}
	return decodeIdentity(b)
}

// createIdentity writes the file whole or not at all. Journals without one are
// somebody's, and nobody can say whose.
func createIdentity(files vfs.FS, dir string, id *identity) error {
	names, err := files.List(dir)
	if err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	for _, name := range names {
		if name == ownName || name == mirrorName {
			return fmt.Errorf("%s: has journals but no %s: "+
				"restore that file from a copy of the directory, or use an empty one: %w",
				dir, identityName, ErrOptions)
		}
	}
	temp := dir + "/" + identityTemp
	if err := files.Remove(temp); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", temp, err)
	}
	f, err := files.Create(temp)
	if err != nil {
		return fmt.Errorf("%s: %w", temp, err)
	}
	err = f.WriteAt([][]byte{id.encode()}, 0)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", temp, err)
	}
	if err := files.Rename(temp, dir+"/"+identityName); err != nil {
		return fmt.Errorf("%s: %w", temp, err)
	}
	if err := files.SyncDir(dir); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// signLock writes into the lock file who holds it, for the one who finds it taken.
func signLock(files vfs.FS, name string) error {
	f, err := files.Open(name)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	err = f.Truncate(0)
	if err == nil {
		err = f.WriteAt([][]byte{fmt.Appendf(nil, "pid=%d\n", os.Getpid())}, 0)
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// lockRemoved says once why the lock of the directory has changed; nil = it has not.
// What was removed gave nothing away, but whoever removes locks may do worse.
func (e *Engine) lockRemoved() error {
	held, ok := e.lock.(vfs.HeldLock)
	if !ok || e.closing.Load() {
		return nil
	}
	err := held.Held()
	if err == nil || e.closing.Load() {
		return nil
	}
	err = fmt.Errorf("lock: %w while this engine runs, which holds the directory all the same: "+
		"see to it that nothing removes locks, then restart this engine", err)
	if e.lockTold.CompareAndSwap(false, true) {
		e.tell(&event.Failed{What: event.KindLockRemoved, Err: err})
	}
	return err
}

// lockHolder is what the holder of a lock wrote into it.
func lockHolder(files vfs.FS, name string) string {
	f, err := files.Open(name)
	if err != nil {
		return "pid unknown"
	}
	defer f.Close()
	b := make([]byte, 32)
	n, _ := f.ReadAt(b, 0) // The file is shorter: that is not an error here.
	if n == 0 {
		return "pid unknown"
	}
	return strings.TrimSpace(string(b[:n]))
}
