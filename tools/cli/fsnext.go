package cli

import (
	"errors"
	"syscall"

	"github.com/claudefs/repl/tools/fsclient"
)

// pathSteps is what to do about what a file system refuses.
type pathSteps map[syscall.Errno]string

// pathNext is what to do about a path that a verb cannot be done with; a verb may know
// better.
var pathNext = pathSteps{
	syscall.ENOENT:       "check the path with cfs fs ls",
	syscall.EEXIST:       "remove what is there first, or name another path",
	syscall.ENOTDIR:      "cfs fs stat tells what the path is",
	syscall.EISDIR:       "a directory is there: name a path in it, or another one",
	syscall.ENOTEMPTY:    "empty the directory first, or name another path",
	syscall.ELOOP:        "symlinks are not followed: name the path that it leads to",
	syscall.EXDEV:        "name a place below the same top-level directory: a key stays in its shard",
	syscall.EINVAL:       "a path begins with / and has no name . or .., as /dir/name",
	syscall.ENAMETOOLONG: "a name has at most 255 bytes, a path 4096",
	syscall.EPERM:        "/ has fixed attributes, and a directory one name only: name another path",
	syscall.EBUSY:        "/ stays: name a path below it",
	syscall.EFBIG:        "a file has at most 8 TiB",
	syscall.ENODATA:      "cfs fs xattr ls names the attributes that are there",
	syscall.E2BIG:        "an attribute's value has at most 65,535 bytes",
	syscall.ERANGE:       "an attribute's name has at most 255 bytes",
}

const laterNext = "`cfs admin replication status` names what is awaited; then try again"

const refusedNext = "`cfs admin replication status` there names the primary, and the log that is stopped and why"

const elsewhereNext = "add the admin address of the site that writes: a further --admin ADDR"

// explain gives a client's error its exit code and next step; verb: what this verb
// knows better than pathNext.
func explain(err error, verb pathSteps) error {
	if _, ok := errors.AsType[*Failure](err); ok || err == nil {
		return err
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		for _, steps := range []pathSteps{verb, pathNext} {
			if steps[errno] != "" {
				if e, ok := errors.AsType[*fsclient.AnswerError](err); ok {
					err = errors.New(e.Body.Text) // which has a next step of its own
				}
				return failure(ExitFailed, err, steps[errno])
			}
		}
	}
	if e, ok := errors.AsType[*fsclient.AnswerError](err); ok {
		code := ExitFailed
		if e.Refused() {
			code = ExitRefused
		}
		return failure(code, errors.New(e.Body.Text), e.Body.Next)
	}
	switch {
	case errors.Is(err, fsclient.ErrUnreachable):
		return failure(ExitUnreachable, err, unreachableNext)
	case errors.Is(err, fsclient.ErrAnswer):
		return failure(ExitFailed, err, answerNext)
	case errors.Is(err, fsclient.ErrLater):
		return failure(ExitFailed, err, laterNext)
	case errors.Is(err, fsclient.ErrElsewhere):
		return failure(ExitRefused, err, elsewhereNext)
	case errors.Is(err, fsclient.ErrRefused):
		return failure(ExitRefused, err, refusedNext)
	}
	return err
}
