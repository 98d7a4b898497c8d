package powerloss

import (
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// target is a device-mapper table of one line over a whole device.
type target struct {
	kind, params string
}

// mapped is a device of the device mapper.
type mapped struct {
	name    string
	path    string
	sectors uint64
	control *os.File
}

// createMapped makes a device of so many bytes whose table is t.
func createMapped(name string, bytes int64, t target) (*mapped, error) {
	m, err := openMapped(name)
	if err != nil {
		return nil, err
	}
	m.sectors = uint64(bytes) / sectorBytes
	dev, err := m.call(unix.DM_DEV_CREATE, 0, 0, nil)
	if err == nil {
		m.path = fmt.Sprintf("/dev/dm-%d", unix.Minor(dev))
		if err = m.load(t); err != nil {
			err = errors.Join(err, m.remove())
		}
	}
	if err != nil {
		return nil, errors.Join(err, m.control.Close())
	}
	return m, nil
}

// openMapped is for messages to a device that somebody else made.
func openMapped(name string) (*mapped, error) {
	control, err := os.OpenFile("/dev/mapper/control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("device mapper: %w: load the module dm_mod", err)
	}
	return &mapped{name: name, control: control}, nil
}

// load puts another table in the place of the device's, between two writes: those
// under way end first. A mounted file system is not asked and does not notice.
func (m *mapped) load(t target) error {
	params := append([]byte(t.params), 0)
	line := make([]byte, unix.SizeofDmTargetSpec, unix.SizeofDmTargetSpec+len(params))
	spec := (*unix.DmTargetSpec)(unsafe.Pointer(&line[0]))
	spec.Length = m.sectors
	copy(spec.Target_type[:], t.kind)
	if _, err := m.call(unix.DM_TABLE_LOAD, 0, 1, append(line, params...)); err != nil {
		return fmt.Errorf("%w: table %s %s", err, t.kind, t.params)
	}
	_, err := m.call(unix.DM_DEV_SUSPEND, unix.DM_SKIP_LOCKFS_FLAG, 0, nil)
	return err
}

// message sends text to the device's target.
func (m *mapped) message(text string) error {
	sector := make([]byte, 8, 8+len(text)+1)
	_, err := m.call(unix.DM_TARGET_MSG, 0, 0, append(append(sector, text...), 0))
	return err
}

// remove takes the device away; nobody may use it any more.
func (m *mapped) remove() error {
	_, err := m.call(unix.DM_DEV_REMOVE, 0, 0, nil)
	return err
}

// close removes the device and forgets it.
func (m *mapped) close() error { return errors.Join(m.remove(), m.control.Close()) }

// call is one ioctl on the device of m's name; it returns the device's number.
func (m *mapped) call(request uint, flags, targets uint32, payload []byte) (uint64, error) {
	const head = int(unsafe.Sizeof(unix.DmIoctl{}))
	// Words, so that the header is aligned; zeros behind the payload are harmless.
	words := make([]uint64, (max(head, unix.SizeofDmIoctl)+len(payload)+7)/8)
	buf := unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)
	h := (*unix.DmIoctl)(unsafe.Pointer(&words[0]))
	h.Version = [3]uint32{4, 0, 0}
	h.Data_size, h.Data_start = uint32(len(buf)), unix.SizeofDmIoctl
	h.Flags, h.Target_count = flags, targets
	copy(h.Name[:], m.name)
	copy(buf[unix.SizeofDmIoctl:], payload)
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, m.control.Fd(), uintptr(request),
		uintptr(unsafe.Pointer(&words[0]))); errno != 0 {
		return 0, fmt.Errorf("device mapper: %s: request %#x: %w", m.name, request, errno)
	}
	return h.Dev, nil
}

// loop is a block device over a file.
type loop struct {
	path string
	dev  *os.File
}

// attach makes a block device of a file, of the file's present size.
func attach(file string) (*loop, error) {
	backing, err := os.OpenFile(file, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer backing.Close()
	control, err := os.OpenFile("/dev/loop-control", os.O_RDWR, 0)
	if err != nil {
		return nil, fmt.Errorf("%w: load the module loop", err)
	}
	defer control.Close()
	n, err := unix.IoctlRetInt(int(control.Fd()), unix.LOOP_CTL_GET_FREE)
	if err != nil {
		return nil, fmt.Errorf("a free loop device: %w", err)
	}
	path := fmt.Sprintf("/dev/loop%d", n)
	dev, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	if err := unix.IoctlLoopConfigure(int(dev.Fd()), &unix.LoopConfig{Fd: uint32(backing.Fd())}); err != nil {
		return nil, errors.Join(fmt.Errorf("%s over %s: %w", path, file, err), dev.Close())
	}
	return &loop{path, dev}, nil
}

// close gives the block device back; the file stays.
func (l *loop) close() error {
	_, err := unix.IoctlRetInt(int(l.dev.Fd()), unix.LOOP_CLR_FD)
	return errors.Join(err, l.dev.Close())
}

// mount mounts a device; the kernel recovers the file system from its journal.
func mount(device, dir, fsType string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if err := unix.Mount(device, dir, fsType, unix.MS_NOATIME, ""); err != nil {
		return fmt.Errorf("mount of %s (%s) at %s: %w", device, fsType, dir, err)
	}
	return nil
}

// unmountTime is how long a killed process may hold its files: the kernel ends
// what its rings had under way behind its end.
const unmountTime = 30 * time.Second

// unmount waits until nobody uses the directory any more, for unmountTime at most.
func unmount(dir string) error {
	for until := time.Now().Add(unmountTime); ; time.Sleep(20 * time.Millisecond) {
		err := unix.Unmount(dir, 0)
		if err == nil {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(until) {
			return fmt.Errorf("unmount of %s: %w", dir, err)
		}
	}
}
