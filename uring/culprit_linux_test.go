package uring

import (
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// The sysctl is the whole machine's, so no test may set it: its value is given.
func TestRefusalNamesItsCulprit(t *testing.T) {
	for _, test := range []struct{ sysctl, status, want string }{
		{"2\n", "Name:\tx\nSeccomp:\t2\n", "kernel.io_uring_disabled=2"},
		{"1\n", "", "kernel.io_uring_disabled=1"},
		{"0\n", "Name:\tx\nSeccomp:\t2\n", "seccomp"},
		{"", "Name:\tx\nSeccomp:\t2\n", "seccomp"},
		{"0\n", "Name:\tx\nSeccomp:\t0\n", "security module"},
	} {
		require.Contains(t, culprit(test.sysctl, test.status), test.want)
	}
}

func TestLastingRefusalsDifferFromPassing(t *testing.T) {
	for errno, want := range map[unix.Errno]string{
		unix.ENOSYS: "has no io_uring",
		unix.EPERM:  "",
		unix.EACCES: "",
		unix.ENOMEM: "RLIMIT_MEMLOCK",
		unix.EINVAL: "smallest setup",
	} {
		err := explain(errno)
		require.ErrorIs(t, err, ErrUnsupported)
		require.ErrorIs(t, err, errno)
		require.ErrorContains(t, err, want)
	}
	require.NotErrorIs(t, explain(unix.EMFILE), ErrUnsupported)
}
